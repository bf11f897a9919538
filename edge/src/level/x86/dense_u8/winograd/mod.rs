//! Convolutions of 3 x 3 of bytes by Winograd's minimal filtering, F(4 x 4, 3 x 3) (Lavin and Gray, *Fast Algorithms for
//! Convolutional Neural Networks*, 2016), in whole numbers: 36 products of 16 bits for 16 pixels of a channel instead of 144.
//!
//! It is exact. In `Y = Aᵀ ((G g Gᵀ) ⊙ (Bᵀ d B)) A`, with points 0, ±1, ±2 and infinity, the rows of `G` times 12, 6, 6, 24, 24
//! and 3 are whole, and so are the columns of `Aᵀ` times 24 over these: they make `576 Y`. Points of bytes are within
//! `255 * 68` and points of weights within `49 * 128`, 16 bits both. Sums of their products are kept modulo `2^32`, which
//! multiplication by the inverse of 9 and an arithmetic shift by 6 bring back to `Y` where it is within `2^25` ([`exact`]).
//!
//! Packed is the layout of a layer that has the 36 points for a kernel. The products of a point are those of a linear layer
//! with a tile a pixel.

mod transforms;

use core::arch::x86_64::{_mm_load_si128, _mm_storeu_si128};
use core::ops::Range;

use self::transforms::{Products, Sums, input, output};
use super::layout::{HEADER, Layout};
use super::ymm::{Vector, finish};
use super::{Ends, Place, Tile};
use crate::layer::{ByteConstants, ByteLayer, ByteTail, Shape};

/// Points of a tile: 6 along each axis, as many as the pixels that it reads.
const POINTS: usize = 36;

/// Pixels of a tile of the output along each axis.
const EDGE: usize = 4;

/// Pixels of a tile of the output.
const PIXELS: usize = EDGE * EDGE;

/// Tiles whose products with a panel are in registers together.
const TOGETHER: usize = 6;

const LAYOUT: Layout = Layout { lanes: 8, word: 2, narrow: false };

/// Channels of a panel.
const PANEL: usize = 2 * LAYOUT.lanes;

/// Bytes of a vector.
const VECTOR: usize = size_of::<Vector>();

/// Bytes that the points of a panel's products have for a tile.
const SUMS: usize = 2 * VECTOR;

/// The shape whose layout is packed.
fn of_points(shape: &Shape) -> Shape {
    // With a dilation a tap is a run of its own.
    Shape { kernel: [6, 6], dilation: [2, 2], ..*shape }
}

/// Whether a shape can be computed so and is the quicker for it: points of weights, 4 times as many bytes as weights of 16
/// bits, are read for a few tiles only, and tiles that the image does not fill cost as much as others.
pub(super) fn wanted(shape: &Shape) -> bool {
    const BYTES: usize = 5 << 20;
    let square = shape.kernel == [3, 3] && shape.stride == [1, 1] && shape.dilation == [1, 1] && shape.groups == 1;
    let tiles = shape.size[0].div_ceil(EDGE) * shape.size[1].div_ceil(EDGE);
    let filled = tiles >= 4 && 3 * POINTS * tiles <= 2 * 9 * shape.size[0] * shape.size[1];
    let channels = shape.inputs >= 12 && shape.outputs.is_multiple_of(PANEL);
    square && filled && channels && 2 * POINTS * shape.inputs * shape.outputs <= BYTES
}

/// Whether no sum of products, the bias not counted, leaves `-2^25..2^25`.
pub(super) fn exact(shape: &Shape, weights: &[u8]) -> bool {
    weights.chunks_exact(shape.depth()).all(|weights| {
        let (mut least, mut most) = (0, 0);
        for &weight in weights {
            let product = 255 * i64::from(weight as i8);
            (least, most) = (least + product.min(0), most + product.max(0));
        }
        least >= -(1 << 25) && most < 1 << 25
    })
}

/// Bytes that [`pack`] writes.
pub(super) fn packed(shape: &Shape) -> usize {
    LAYOUT.bytes(&of_points(shape))
}

/// `G g Gᵀ`, rows and columns times 12, 6, 6, 24, 24 and 3.
fn points(g: [[i16; 3]; 3]) -> [[i16; 6]; 6] {
    let evaluated = |[a, b, c]: [i16; 3]| {
        let (even, odd) = (a + c, a + 4 * c);
        [3 * a, -(even + b), b - even, odd + 2 * b, odd - 2 * b, 3 * c]
    };
    let rows = g.map(evaluated);
    let mut all = [[0; 6]; 6];
    for j in 0..6 {
        let column = evaluated([rows[0][j], rows[1][j], rows[2][j]]);
        (0..6).for_each(|i| all[i][j] = column[i]);
    }
    all
}

/// Lays constants out.
pub(super) fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
    let (depth, inputs) = (shape.depth(), shape.inputs);
    let shape = of_points(shape);
    LAYOUT.pack_with(&shape, (constants, depth), out, |channel, place, panel| {
        for word in 0..inputs.div_ceil(2) {
            let [even, odd] = [2 * word, 2 * word + 1].map(|input| {
                let weight = |tap: usize| i16::from(constants.weight(channel, depth, tap * inputs + input));
                let kernel = |y: usize| [weight(3 * y), weight(3 * y + 1), weight(3 * y + 2)];
                if input < inputs { points([kernel(0), kernel(1), kernel(2)]) } else { [[0; 6]; 6] }
            });
            for (point, (even, odd)) in even.as_flattened().iter().zip(odd.as_flattened()).enumerate() {
                let [[a, b], [c, d]] = [even.to_le_bytes(), odd.to_le_bytes()];
                LAYOUT.put_word(&shape, place, (point, word), [a, b, c, d], panel);
            }
        }
    });
}

/// Where memory is and how large.
struct Plan {
    /// Tiles along the rows of the image.
    columns: usize,
    /// Tiles that are computed together, a multiple of [`TOGETHER`].
    tiles: usize,
    /// Bytes of a tile's inputs at a point, whole vectors.
    input: usize,
    /// Bytes from a point of the input's tiles to the next: not a multiple of 4 KiB, as all points of a tile are written
    /// together.
    input_point: usize,
    /// The same of the products with a panel.
    output_point: usize,
}

/// Beginnings of the parts of the scratch: the places of a tile's pixels; those of the residual's other value; their bytes;
/// half-way transforms; then a pixel that stands for those outside of the image, points of inputs, points of products.
const OTHERS: usize = size_of::<Place>() * PIXELS;
const STAGE: usize = OTHERS + size_of::<*const u8>() * PIXELS;
const HALF: usize = STAGE + PANEL * PIXELS;
const SPARE: usize = HALF + 2 * EDGE * 6 * VECTOR;

impl Plan {
    fn new(shape: &Shape) -> Self {
        let input = 2 * shape.inputs.next_multiple_of(16);
        let (rows, columns) = (shape.size[0].div_ceil(EDGE), shape.size[1].div_ceil(EDGE));
        // The more weights there are, the more tiles should share them.
        let bytes = if packed(shape) > 1 << 20 { 1 << 20 } else { 96 << 10 };
        let tiles = (bytes / (POINTS * input) / TOGETHER * TOGETHER).max(TOGETHER);
        let tiles = tiles.min((rows * columns).next_multiple_of(TOGETHER));
        let (input_point, output_point) = (tiles * input + VECTOR, tiles * SUMS + VECTOR);
        Self { columns, tiles, input, input_point, output_point }
    }

    /// Where the points of inputs begin in the scratch, and those of products.
    fn begin(&self, shape: &Shape) -> [usize; 2] {
        let inputs = SPARE + shape.outputs.next_multiple_of(64);
        [inputs, inputs + (POINTS * self.input_point).next_multiple_of(64)]
    }
}

/// Bytes of scratch.
pub(super) fn scratch(shape: &Shape) -> usize {
    let plan = Plan::new(shape);
    (plan.begin(shape)[1] + POINTS * plan.output_point).next_multiple_of(64)
}

/// Computes rows of the output.
///
/// # Safety
/// As of `ByteKernel::run`, of a layer that is [`wanted`] and [`exact`] and packed by [`pack`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(layer: &ByteLayer<'_>, rows: Range<usize>) {
    let shape = layer.shape;
    let plan = Plan::new(shape);
    // SAFETY: `scratch` has room for both.
    let [inputs, outputs] = plan.begin(shape).map(|at| unsafe { layer.scratch.add(at) });
    // SAFETY: as above.
    let half = unsafe { layer.scratch.add(HALF).cast() };
    let points = of_points(shape);
    let ends = Ends::new(&layer.tail);
    let place = |tile: usize| [rows.start + tile / plan.columns * EDGE, tile % plan.columns * EDGE];
    let total = rows.len().div_ceil(EDGE) * plan.columns;
    let slabs = total.div_ceil(plan.tiles).max(1);
    for slab in 0..slabs {
        let tiles = total * slab / slabs..total * (slab + 1) / slabs;
        for (at, tile) in tiles.clone().enumerate() {
            // SAFETY: the pixels are within the image; `inputs` has room for so many tiles.
            unsafe {
                input(
                    &windows(layer, place(tile)),
                    plan.input / VECTOR,
                    inputs.add(at * plan.input),
                    plan.input_point,
                    half,
                );
            }
        }
        // As many blocks as it takes, of one size; what is computed beyond the tiles is not used.
        let blocks = tiles.len().div_ceil(TOGETHER).max(1);
        let size = tiles.len().div_ceil(blocks);
        // SAFETY: `pack` wrote a header.
        let (mut panel, careful) = unsafe { (layer.packed.add(HEADER), *layer.packed != 0) };
        for of_layout in LAYOUT.panels(&points) {
            let products = Products {
                panel,
                words: shape.inputs.div_ceil(2),
                blocks,
                inputs,
                input: plan.input,
                input_point: plan.input_point,
                outputs,
                output_point: plan.output_point,
            };
            // SAFETY: the panel is as `pack` wrote it; there are inputs of so many tiles, and room for their products.
            unsafe { products.of(size) };
            for (at, tile) in tiles.clone().enumerate() {
                // SAFETY: these are pixels of the output, and the products that they are made of.
                unsafe {
                    let sums = Sums { panel, points: outputs.add(at * SUMS), point: plan.output_point, careful, half };
                    let stage = layer.scratch.add(STAGE);
                    output(&sums, &ends, stage);
                    finished(layer, (place(tile), rows.end), (panel, of_layout.channel), &ends);
                }
            }
            // SAFETY: `pack` wrote as much.
            panel = unsafe { panel.add(of_layout.bytes) };
        }
    }
}

/// The rows of pixels that a tile reads, which begins at pixel `y, x` of the output, and where its columns lie in them. What
/// lies outside of the image makes no difference to pixels within, so that the last row or column stands for it.
///
/// # Safety
/// The layer is as [`ByteLayer`] says and one that is [`wanted`]; the rows and columns are of its output.
unsafe fn windows(layer: &ByteLayer<'_>, [y, x]: [usize; 2]) -> ([*const u8; 6], [usize; 6]) {
    let [height, width] = layer.shape.size;
    let (mut rows, mut columns) = ([core::ptr::null(); 6], [0; 6]);
    for (i, (row, column)) in rows.iter_mut().zip(&mut columns).enumerate() {
        // SAFETY: a kernel of 3 x 3 reads two rows more than the output has, and two columns.
        *row = unsafe { layer.source.pixel((y + i).min(height + 1), 0) };
        *column = (x + i).min(width + 1) * layer.source.pixel;
    }
    (rows, columns)
}

/// Stores a tile's staged bytes, after the table and the residual.
///
/// # Safety
/// As of [`run`]; the tile begins at pixel `y, x` of the output, of which rows from `end` on are not to be touched; the
/// stage has its bytes of the panel.
#[target_feature(enable = "avx2,fma")]
unsafe fn finished(
    layer: &ByteLayer<'_>,
    ([y, x], end): ([usize; 2], usize),
    (panel, channel): (*const u8, usize),
    ends: &Ends,
) {
    let ByteTail { table, residual, .. } = &layer.tail;
    let (scratch, width) = (layer.scratch, layer.shape.size[1]);
    // SAFETY: `scratch` has room for all parts.
    let stage = unsafe { scratch.add(STAGE) };
    if table.is_none() && residual.is_none() {
        let inside = (width - x).min(EDGE);
        for i in 0..(end - y).min(EDGE) {
            // SAFETY: these pixels are within the image.
            unsafe {
                let row = layer.target.pixel(y + i, x).add(channel);
                for j in 0..inside {
                    let bytes = _mm_load_si128(stage.add(PANEL * (EDGE * i + j)).cast());
                    _mm_storeu_si128(row.add(j * layer.target.pixel).cast(), bytes);
                }
            }
        }
        return;
    }
    // SAFETY: pixels outside of the image are written to the spare one, and their other value is that of a pixel within.
    unsafe {
        let (places, others) = (scratch.cast::<Place>(), scratch.add(OTHERS).cast::<*const u8>());
        for pixel in 0..PIXELS {
            let [y, x] = [y + pixel / EDGE, x + pixel % EDGE];
            let inside = y < end && x < width;
            let target = if inside { layer.target.pixel(y, x) } else { scratch.add(SPARE) };
            places.add(pixel).write(Place { source: core::ptr::null(), target });
            if let Some(residual) = residual {
                others.add(pixel).write(residual.other.pixel(y.min(end - 1), x.min(width - 1)));
            }
        }
        let (words, ahead, channels, careful) = (&[][..], panel, PANEL, false);
        let tile = Tile { places, words, panel, ahead, channel, channels, careful, ends, stage, others };
        finish(&tile, &layer.tail, PIXELS);
    }
}
