//! Convolutions of 3 x 3 by Winograd's minimal filtering, F(4 x 4, 3 x 3): an output tile of 16 pixels from 36 products a
//! channel instead of 144 (Lavin and Gray 2016). The products of a point are those of a linear layer with a tile a pixel.
//!
//! Packed are the biases, `[vectors][lanes]`, two vectors of zeros, and the points of weights,
//! `[panels][points][inputs][vectors of the panel][lanes]`.

mod transforms;

use core::ops::Range;

use super::dense_f32::{Job, Kit, Spots, chosen, ends, places};
use crate::layer::{FloatConstants, FloatFunction, FloatLayer, Shape, Source, Target};
pub(super) use transforms::{POINTS, Pixels, Transforms, narrow, wide};

/// Pixels of a tile of the output along each axis.
pub(super) const TILE: usize = 4;

/// Whether a layer is computed so. Its points of weights must stay in a near cache, as all of them are read for a few tiles;
/// the limit is fixed, so that the same plan has the same bits on every machine of a level.
pub(super) fn wanted(shape: &Shape) -> bool {
    const BYTES: usize = 9 << 18;
    let square = shape.kernel == [3, 3] && shape.stride == [1, 1] && shape.dilation == [1, 1] && shape.groups == 1;
    let small = 4 * POINTS * shape.inputs * shape.outputs <= BYTES;
    square && small && shape.inputs >= 16 && shape.outputs >= 16 && shape.size[0] >= 8 && shape.size[1] >= 8
}

/// Elements of a half-way transform, of the widest vectors.
const HALF: usize = POINTS * 16;

/// Where memory is and how large, in elements.
struct Plan {
    /// Vectors of channels of the output.
    vectors: usize,
    /// Channels of the input, up to whole vectors.
    inputs: usize,
    /// Tiles along the rows of the image.
    columns: usize,
    /// Tiles that are computed together.
    tiles: usize,
    /// From a point of the input's tiles to the next: not a multiple of 4 KiB, as all points of a tile are written together.
    input_point: usize,
    /// The same of the products with a panel.
    output_point: usize,
}

impl Plan {
    fn new(kit: &Kit, shape: &Shape) -> Self {
        let (lanes, most) = (kit.lanes, kit.most());
        let (inputs, vectors) = (shape.inputs.next_multiple_of(lanes), shape.outputs.div_ceil(lanes));
        let (rows, columns) = (shape.size[0].div_ceil(TILE), shape.size[1].div_ceil(TILE));
        // The more weights there are, the more tiles should share them.
        let bytes = if 4 * POINTS * inputs * vectors * lanes > 1 << 20 { 1 << 20 } else { 384 << 10 };
        let tiles = (bytes / (4 * POINTS * inputs) / most * most).max(most);
        let tiles = tiles.min((rows * columns).next_multiple_of(most));
        let (input_point, output_point) = (tiles * inputs + 16, tiles * 2 * lanes + 16);
        Self { vectors, inputs, columns, tiles, input_point, output_point }
    }

    /// Elements of scratch: zeros for a pixel outside of the image, half-way transforms, points of inputs, points of products.
    fn scratch(&self) -> usize {
        self.inputs.next_multiple_of(16) + HALF + POINTS * (self.input_point + self.output_point)
    }
}

/// Bytes that [`pack`] writes.
pub(super) fn packed(kit: &Kit, shape: &Shape) -> usize {
    let vectors = shape.outputs.div_ceil(kit.lanes);
    (4 * kit.lanes * (vectors + 2 + vectors * POINTS * shape.inputs)).next_multiple_of(64)
}

/// Bytes of scratch.
pub(super) fn scratch(kit: &Kit, shape: &Shape) -> usize {
    (4 * Plan::new(kit, shape).scratch()).next_multiple_of(64)
}

/// `G g Gᵀ`.
fn points(g: [[f64; 3]; 3]) -> [[f64; 6]; 6] {
    let evaluated = |[a, b, c]: [f64; 3]| {
        let (even, odd) = (a + c, a + 4.0 * c);
        [a / 4.0, -(even + b) / 6.0, -(even - b) / 6.0, (odd + 2.0 * b) / 24.0, (odd - 2.0 * b) / 24.0, c]
    };
    let rows = g.map(evaluated);
    let mut all = [[0.0; 6]; 6];
    for j in 0..6 {
        let column = evaluated([rows[0][j], rows[1][j], rows[2][j]]);
        (0..6).for_each(|i| all[i][j] = column[i]);
    }
    all
}

/// Lays constants out.
pub(super) fn pack(kit: &Kit, shape: &Shape, constants: FloatConstants<'_>, out: &mut [u8]) {
    let (lanes, inputs) = (kit.lanes, shape.inputs);
    let vectors = shape.outputs.div_ceil(lanes);
    let put = |out: &mut [u8], at: usize, x: f32| out[4 * at..][..4].copy_from_slice(&x.to_le_bytes());
    for channel in 0..vectors * lanes {
        put(out, channel, if channel < shape.outputs { constants.bias(channel) } else { 0.0 });
    }
    let zeros = vectors * lanes;
    (0..2 * lanes).for_each(|at| put(out, zeros + at, 0.0));
    let weights = &mut out[4 * (zeros + 2 * lanes)..];
    for channel in 0..vectors * lanes {
        let vector = channel / lanes;
        let panel = panel(vector / 2 * 2, vectors);
        let start = vector / 2 * 2 * POINTS * inputs * lanes + vector % 2 * lanes + channel % lanes;
        for input in 0..inputs {
            let weight = |tap: usize| f64::from(constants.weight(channel, shape.depth(), tap * inputs + input));
            let kernel = |y: usize| [weight(3 * y), weight(3 * y + 1), weight(3 * y + 2)];
            let all = if channel < shape.outputs { points([kernel(0), kernel(1), kernel(2)]) } else { [[0.0; 6]; 6] };
            for (point, &x) in all.as_flattened().iter().enumerate() {
                put(weights, start + (point * inputs + input) * panel * lanes, x as f32);
            }
        }
    }
}

/// Vectors of the panel that begins at vector `at`.
fn panel(at: usize, vectors: usize) -> usize {
    (vectors - at).min(2)
}

/// Computes rows of the output.
///
/// # Safety
/// As `FloatKernel::run`.
pub(super) unsafe fn run(kit: &Kit, layer: &FloatLayer<'_>, rows: Range<usize>) {
    let shape = layer.shape;
    if rows.is_empty() {
        return;
    }
    let plan = Plan::new(kit, shape);
    let zeros = layer.scratch.cast::<f32>();
    // SAFETY: `scratch` has room for all of them.
    let (half, inputs, outputs) = unsafe {
        zeros.write_bytes(0, plan.inputs);
        let half = zeros.add(plan.inputs.next_multiple_of(16));
        let inputs = half.add(HALF);
        (half, inputs, inputs.add(POINTS * plan.input_point))
    };
    let (first, end) = (rows.start / TILE * plan.columns, rows.end.div_ceil(TILE) * plan.columns);
    let mut start = first;
    while start < end {
        let tiles = start..(start + plan.tiles).min(end);
        for (at, tile) in tiles.clone().enumerate() {
            // SAFETY: the pixels are within the image, or the zeros that stand for what is outside of it.
            unsafe {
                let pixels = windows(layer, [tile / plan.columns * TILE, tile % plan.columns * TILE], zeros);
                let place = inputs.add(at * plan.inputs);
                (kit.transforms.input)(&pixels, plan.inputs / kit.lanes, (half, place), plan.input_point);
            }
        }
        let mut vector = 0;
        while vector < plan.vectors {
            // SAFETY: the tiles' points were just written.
            unsafe {
                multiply(kit, &plan, layer, vector, tiles.len(), (inputs, outputs));
                finish(kit, &plan, layer, vector, tiles.clone(), (half, outputs));
            }
            vector += panel(vector, plan.vectors);
        }
        start = tiles.end;
    }
}

/// The pixels that a tile reads, which begin at `y, x`; `zeros` for those outside of the image.
///
/// # Safety
/// The layer is as [`FloatLayer`] says and one that is [`wanted`]; `y, x` is a pixel of its output.
unsafe fn windows(layer: &FloatLayer<'_>, [y, x]: [usize; 2], zeros: *const f32) -> [*const f32; POINTS] {
    let [height, width] = layer.shape.size;
    let mut pixels = [zeros; POINTS];
    let [rows, columns] = [(height + 2 - y).min(6), (width + 2 - x).min(6)];
    for i in 0..rows {
        // SAFETY: a kernel of 3 x 3 reads two rows and columns more than the output has.
        let mut pixel = unsafe { layer.source.pixel(y + i, x) };
        for place in &mut pixels[6 * i..][..columns] {
            *place = pixel;
            pixel = pixel.wrapping_add(layer.source.pixel);
        }
    }
    pixels
}

/// The products of all points of `tiles` tiles with the panel at `vector`. What is computed beyond the tiles is not used.
///
/// # Safety
/// As of `run`; `vector` begins a panel. `inputs` and `outputs` are those parts of the scratch, and the first `tiles`
/// tiles, no more than the plan has, are written to `inputs`.
unsafe fn multiply(
    kit: &Kit,
    plan: &Plan,
    layer: &FloatLayer<'_>,
    vector: usize,
    tiles: usize,
    (inputs, outputs): (*mut f32, *mut f32),
) {
    let (lanes, depth) = (kit.lanes, layer.shape.inputs);
    let panel = panel(vector, plan.vectors);
    let packed = layer.packed.cast::<f32>();
    let size = panel * lanes * depth;
    // SAFETY: `pack` wrote all panels; `scratch` has room for as many tiles as are computed beyond the last.
    unsafe {
        let zeros = packed.add(plan.vectors * lanes);
        let weights = zeros.add((2 + vector * POINTS * depth) * lanes);
        let far = 4 * POINTS * plan.vectors * lanes * depth > 1 << 20;
        let ahead = if far { (panel * lanes * kit.most()).div_ceil(tiles.max(kit.most())) } else { 0 };
        let mut job = Job {
            weights,
            ahead: (weights.add(POINTS * size), ahead),
            bias: zeros,
            runs: [1, 1],
            first: 0,
            channel: 0,
            steps: [0, 0],
            length: depth,
            last: lanes,
            range: [f32::NEG_INFINITY, f32::INFINITY],
            residual: false,
        };
        let mut spots = Spots::of(inputs);
        let mut at = 0;
        while at < tiles {
            let (size_of_tile, tile) = chosen(kit.tiles[panel - 1], tiles - at);
            places(&mut spots.inputs, 0, size_of_tile, inputs.add(at * plan.inputs), plan.inputs);
            places(&mut spots.outputs, 0, size_of_tile, outputs.add(at * panel * lanes), panel * lanes);
            for point in 0..POINTS {
                job.weights = weights.add(point * size);
                job.first = point * plan.input_point;
                job.channel = point * plan.output_point;
                tile(&job, &spots);
                job.ahead.0 = job.ahead.0.wrapping_add(ahead * depth);
            }
            at += size_of_tile.min(tiles - at);
        }
    }
}

/// Pixels of the products of some tiles with the panel at `vector`.
///
/// # Safety
/// As of `run`; `multiply` has written the products of these tiles and this panel to `outputs`; `half` is that part of the
/// scratch.
unsafe fn finish(
    kit: &Kit,
    plan: &Plan,
    layer: &FloatLayer<'_>,
    vector: usize,
    tiles: Range<usize>,
    (half, outputs): (*mut f32, *const f32),
) {
    let (shape, lanes) = (layer.shape, kit.lanes);
    let panel = panel(vector, plan.vectors);
    let channel = vector * lanes;
    let stored = (shape.outputs - channel).min(panel * lanes);
    for (at, tile) in tiles.enumerate() {
        let [y, x] = [tile / plan.columns * TILE, tile % plan.columns * TILE];
        // SAFETY: these are pixels of the output, and the points that they are made of.
        unsafe {
            let pixels = Pixels {
                target: Target { at: layer.target.pixel(y, x).add(channel), ..layer.target },
                residual: layer.tail.residual.map(|other| Source { at: other.pixel(y, x).add(channel), ..other }),
                size: [(shape.size[0] - y).min(TILE), (shape.size[1] - x).min(TILE)],
                bias: layer.packed.cast::<f32>().add(channel),
                vectors: [panel, stored - (panel - 1) * lanes],
                range: ends::range(layer.tail.function),
            };
            (kit.transforms.output)((half, outputs.add(at * panel * lanes)), plan.output_point, &pixels);
            if !matches!(layer.tail.function, FloatFunction::Clamp { .. }) {
                for i in 0..pixels.size[0] {
                    let row = pixels.target.pixel(i, 0);
                    let mut all = [row; TILE];
                    all.iter_mut().enumerate().for_each(|(j, place)| *place = row.wrapping_add(j * layer.target.pixel));
                    (kit.end)(&all[..pixels.size[1]], 0, stored, layer.tail.function);
                }
            }
        }
    }
}
