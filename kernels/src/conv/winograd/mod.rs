//! 3x3 convolutions of stride 1 with fewer multiplications: Winograd's minimal filtering F(4x4, 3x3).
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016, arXiv 1509.09308), §4: an output tile of
//! 4x4 pixels is `Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, summed over input channels inside of the brackets, so that a tile costs
//! 36 multiplications a channel pair instead of 144. For many tiles the products at each of the 36 points are one matrix
//! product. The weight gradient is the derivative of the same formula.
//!
//! Rounding errors grow: results are within about 1e-5 of the largest value, where the direct way is within 1e-6.

mod transform;
mod weight_grad;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Tail;
use super::sweep::{Image, images};
use crate::shape::ConvShape;
use crate::simd::{Scratch, vectorised, with_simd};
use crate::tile::{Ends, Floats, Left, Out, Right, multiply, panel_list};
use crate::value::Value;
pub(super) use weight_grad::weight_grad;

/// Points at which the polynomials of a tile are evaluated.
const POINTS: usize = 36;
/// Output pixels of a tile along each axis.
const TILE: usize = 4;
/// Channels come in multiples of this many.
const CHANNELS: usize = 16;
/// Values at all points of the tiles that are worked on at a time: they should stay in a core's second-level cache, and be
/// enough tiles for the weights to be worth reading.
const GROUP: usize = 1 << 17;
const GROUP_TILES: usize = 48;
/// Values between the points of a group beyond its own: equal distances of a power of two would share cache sets.
const GAP: usize = 16;

/// Whether this algorithm computes `shape`, and is worth it.
pub(super) fn fits(shape: &ConvShape) -> bool {
    let covered = |size: usize| size.next_multiple_of(TILE);
    let (h, w) = (shape.out_h(), shape.out_w());
    shape.kernel == [3, 3]
        && shape.stride == [1, 1]
        && shape.dilation == [1, 1]
        && shape.groups == 1
        && shape.padding.iter().all(|padding| *padding <= 2)
        && shape.in_channels.is_multiple_of(CHANNELS)
        && shape.out_channels.is_multiple_of(CHANNELS)
        && covered(h) * covered(w) <= 2 * h * w
}

/// How images are cut into tiles. The last tile of a row or column may reach over the edge.
struct Tiling<T> {
    /// As many as the input has channels: a pixel outside of it.
    zeros: Vec<T>,
    input: Image,
    output: Image,
    padding: [usize; 2],
    /// Tiles of an image along each axis.
    count: [usize; 2],
    /// Tiles of the batch.
    tiles: usize,
}

impl<T: Value> Tiling<T> {
    fn new(shape: &ConvShape) -> Self {
        let [input, output] = images(shape);
        let count = output.size.map(|size| size.div_ceil(TILE));
        let tiles = shape.batch * count[0] * count[1];
        Self { zeros: vec![T::default(); input.channels], input, output, padding: shape.padding, count, tiles }
    }

    /// Image, and the first output row and column, of a tile.
    fn place(&self, tile: usize) -> (usize, [usize; 2]) {
        let per_image = self.count[0] * self.count[1];
        let (image, tile) = (tile / per_image, tile % per_image);
        (image, [tile / self.count[1] * TILE, tile % self.count[1] * TILE])
    }

    /// Tiles worked on at a time when each has `values` values a point.
    fn group(&self, values: usize) -> usize {
        (GROUP / (POINTS * values)).max(GROUP_TILES)
    }
}

/// `y = activation(x ⋆ weight + bias + residual)`. `index([i, j], [in, out])` is where the weight lies.
pub(super) fn forward<T: Value>(
    shape: &ConvShape,
    x: &[T],
    weight: &[f32],
    index: impl Fn([usize; 2], [usize; 2]) -> usize + Sync,
    tail: Tail<'_, T>,
    y: &mut [T],
) {
    let tiling = Tiling::new(shape);
    let weights = Weights::new(tiling.input.channels, tiling.output.channels, weight, index);
    let most = tiling.group(tiling.input.channels + tiling.output.channels);
    // Every tile is computed alike, so the groups may depend on the number of threads. They are whole rows of tiles of
    // one image, or whole images, because that is how the output can be shared out.
    let per_thread = tiling.tiles.div_ceil(2 * rayon::current_num_threads());
    let rows = (most.min(per_thread) / tiling.count[1]).max(1);
    let blocks = Blocks::new(&tiling, rows, y);
    blocks.0.into_par_iter().for_each(|(tiles, at, y)| {
        let residual = tail.residual.map(|residual| &residual[at..][..y.len()]);
        let tail = Tail { residual, ..tail };
        with_simd(Group { tiling: &tiling, weights: &weights, x, tail, tiles, y });
    });
}

/// The output in blocks: the tiles of each, where it begins, and its memory.
struct Blocks<'a, T>(Vec<(std::ops::Range<usize>, usize, &'a mut [T])>);

impl<'a, T: Value> Blocks<'a, T> {
    /// Blocks of about `rows` rows of tiles each.
    fn new(tiling: &Tiling<T>, rows: usize, mut y: &'a mut [T]) -> Self {
        let [per_image, columns] = tiling.count;
        let row = tiling.output.size[1] * tiling.output.channels;
        let mut blocks = Vec::new();
        let (mut first, mut at, all) = (0, 0, tiling.tiles / columns);
        while first < all {
            // Up to the end of the image, or several whole images.
            let rows =
                if rows < per_image { rows.min(per_image - first % per_image) } else { rows / per_image * per_image };
            let end = (first + rows).min(all);
            let end_row = |tile_row: usize| {
                let (image, row) = (tile_row / per_image, tile_row % per_image * TILE);
                image * tiling.output.size[0] + row.min(tiling.output.size[0])
            };
            let (here, rest) = y.split_at_mut((end_row(end) - end_row(first)) * row);
            let length = here.len();
            blocks.push((first * columns..end * columns, at, here));
            (first, at, y) = (end, at + length, rest);
        }
        Self(blocks)
    }
}

/// Weights at the points: panel by panel, point by point, `[C, panel]`.
struct Weights {
    data: Scratch,
    /// First column and width of each panel.
    panels: Vec<(usize, usize)>,
}

impl Weights {
    fn new(
        inputs: usize,
        outputs: usize,
        weight: &[f32],
        index: impl Fn([usize; 2], [usize; 2]) -> usize + Sync,
    ) -> Self {
        let panels = panel_list(outputs);
        let mut data = Scratch::lend(POINTS * inputs * outputs);
        let mut parts = Vec::with_capacity(panels.len());
        let mut rest = &mut data[..];
        for (start, width) in &panels {
            let (panel, after) = rest.split_at_mut(POINTS * inputs * width);
            parts.push((*start, *width, panel));
            rest = after;
        }
        parts.into_par_iter().for_each(|(start, width, panel)| {
            for input in 0..inputs {
                for column in (0..width).step_by(CHANNELS) {
                    let lanes = CHANNELS.min(width - column); // fewer only without SIMD
                    let mut taps = [[0.0; CHANNELS]; 9];
                    for lane in 0..lanes {
                        for (tap, values) in taps.iter_mut().enumerate() {
                            values[lane] = weight[index([tap / 3, tap % 3], [input, start + column + lane])];
                        }
                    }
                    let values = vectorised(
                        #[inline(always)]
                        || transform::weight(&taps),
                    );
                    for (p, values) in values.iter().enumerate() {
                        panel[(p * inputs + input) * width + column..][..lanes].copy_from_slice(&values[..lanes]);
                    }
                }
            }
        });
        Self { data, panels }
    }
}

/// Some tiles, from input to output.
struct Group<'a, T> {
    tiling: &'a Tiling<T>,
    weights: &'a Weights,
    x: &'a [T],
    tail: Tail<'a, T>,
    tiles: std::ops::Range<usize>,
    y: &'a mut [T],
}

impl<T: Value> WithSimd for Group<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tiling, weights, x, tail, tiles, y } = self;
        let (inputs, outputs) = (tiling.input.channels, tiling.output.channels);
        let first = tiles.start;
        let (image, [row, _]) = tiling.place(first);
        let begin = (image * tiling.output.size[0] + row) * tiling.output.size[1] * outputs;
        let most = tiling.group(inputs + outputs).min(tiles.len());
        let (from, to) = (most * inputs + GAP, most * outputs + GAP);
        let mut memory = Scratch::lend(POINTS * (from + to));
        let (v, m) = memory.split_at_mut(POINTS * from);
        for start in tiles.clone().step_by(most) {
            let count = most.min(tiles.end - start);
            for i in 0..count {
                transform::input(simd, tiling, x, start + i, 0..inputs, &mut v[i * inputs..], from);
            }
            for p in 0..POINTS {
                for (column, width) in &weights.panels {
                    let (column, width) = (*column, *width);
                    let data = &weights.data[(POINTS * column + p * width) * inputs..][..inputs * width];
                    let left = Left { data: &v[p * from..], row: inputs, column: 1, runs: &[0], run: inputs };
                    let right = Right { data, row: width, width };
                    let out = Out { data: &mut m[p * to + column..], row: outputs };
                    multiply(simd, Floats, count, left, right, out, Ends::default());
                }
            }
            for i in 0..count {
                transform::output(simd, tiling, &m[i * outputs..], to, tail, start + i, begin, y);
            }
        }
    }
}
