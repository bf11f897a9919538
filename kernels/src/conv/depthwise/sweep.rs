//! One row of outputs, block of channels by block, in tiles of a few pixels that share the inputs they load.
#![allow(unsafe_code)] // `block::load`: the compiler cannot see that the taps of an inner pixel are inside of the row

use super::axis::Axis;
use super::block::{Blocks, add_product, load};
use crate::activation::Activation;

/// Pixels of a tile.
const TILE: usize = 4;

/// What a row of outputs is made of.
pub(super) struct Sweep<'a, const L: usize> {
    pub(super) blocks: Blocks<L>,
    pub(super) kernel: [usize; 2],
    /// `[blocks, kh, kw, L]`.
    pub(super) taps: &'a [[f32; L]],
    /// `[blocks, L]`.
    pub(super) bias: Option<&'a [[f32; L]]>,
    pub(super) activation: Option<Activation>,
    pub(super) vertical: &'a Axis,
    /// The output along the vertical axis.
    pub(super) row: usize,
    /// An image of inputs.
    pub(super) x: &'a [f32],
}

impl<const L: usize> Sweep<'_, L> {
    /// Writes output `t` to pixel `first + t * step` of the row `y`, for every output of the axis.
    #[inline(always)]
    pub(super) fn run(&self, axis: &Axis, first: usize, step: usize, y: &mut [f32]) {
        for block in 0..self.blocks.count() {
            let line = Line { sweep: self, axis, block, first, step };
            // Kernels that are common get loops of their own.
            match (axis.taps.len(), axis.stride, axis.dilation) {
                (1, 1, _) if L > 1 => line.tiles::<1, 1>(y),
                (2, 1, 1) if L > 1 => line.tiles::<2, 1>(y),
                (3, 1, 1) if L > 1 => line.tiles::<3, 1>(y),
                (3, 2, 1) if L > 1 => line.tiles::<3, 2>(y),
                (5, 1, 1) if L > 1 => line.tiles::<5, 1>(y),
                (5, 2, 1) if L > 1 => line.tiles::<5, 2>(y),
                _ => line.pixels(y),
            }
        }
    }
}

/// A row of outputs of one block of channels.
struct Line<'a, const L: usize> {
    sweep: &'a Sweep<'a, L>,
    axis: &'a Axis,
    block: usize,
    first: usize,
    step: usize,
}

impl<const L: usize> Line<'_, L> {
    /// Any kernel, pixel by pixel.
    #[inline(always)]
    fn pixels(&self, y: &mut [f32]) {
        for t in 0..self.axis.outputs {
            let mut sum = self.bias();
            for (taps, x) in self.rows() {
                for (tap, column) in self.axis.products(t) {
                    let at = column * self.sweep.blocks.channels;
                    // SAFETY: `column` is in the row, and `x` begins at the block's first channel.
                    add_product(&mut sum, &taps[tap], &unsafe { load(x, at) });
                }
            }
            self.write(t, sum, y);
        }
    }

    /// `K` taps side by side at stride `S`, a few pixels at a time.
    #[inline(always)]
    fn tiles<const K: usize, const S: usize>(&self, y: &mut [f32]) {
        let Axis { outputs, inputs, .. } = *self.axis;
        let span = ((TILE - 1) * S + K) as isize;
        for t in (0..outputs).step_by(TILE) {
            let start = self.axis.start(t);
            let inside = t + TILE <= outputs && start >= 0 && start + span <= inputs as isize;
            let sums = if inside { self.tile::<K, S, true>(start) } else { self.tile::<K, S, false>(start) };
            for (i, sum) in sums.into_iter().enumerate().take(outputs - t) {
                self.write(t + i, sum, y);
            }
        }
    }

    /// The outputs of a tile whose taps begin at column `start`. If they are not `INSIDE`, each asks whether it is.
    #[inline(always)]
    fn tile<const K: usize, const S: usize, const INSIDE: bool>(&self, start: isize) -> [[f32; L]; TILE] {
        let channels = self.sweep.blocks.channels;
        let mut sums = [self.bias(); TILE];
        for (taps, x) in self.rows() {
            let weight: [[f32; L]; K] = std::array::from_fn(|i| taps[self.axis.taps[i]]);
            let column = |i: usize| {
                let position = start + i as isize;
                if INSIDE || self.axis.input(position).is_some() {
                    // SAFETY: the column is in the row, and `x` begins at the block's first channel.
                    unsafe { load(x, position as usize * channels) }
                } else {
                    [0.0; L]
                }
            };
            for (i, sum) in sums.iter_mut().enumerate() {
                for (j, weight) in weight.iter().enumerate() {
                    add_product(sum, weight, &column(i * S + j));
                }
            }
        }
        sums
    }

    /// For every row of taps that meets the image: its taps of this block, and the row of inputs from the block's first
    /// channel on.
    #[inline(always)]
    fn rows(&self) -> impl Iterator<Item = (&[[f32; L]], &[f32])> {
        let Sweep { blocks, kernel: [kh, kw], taps, x, .. } = *self.sweep;
        let row_len = self.axis.inputs * blocks.channels;
        self.sweep.vertical.products(self.sweep.row).map(move |(tap, row)| {
            let taps = &taps[(self.block * kh + tap) * kw..][..kw];
            (taps, &x[row * row_len..][..row_len][blocks.start(self.block)..])
        })
    }

    #[inline(always)]
    fn bias(&self) -> [f32; L] {
        self.sweep.bias.map_or([0.0; L], |bias| bias[self.block])
    }

    #[inline(always)]
    fn write(&self, t: usize, sum: [f32; L], y: &mut [f32]) {
        let pixel = self.first + t * self.step;
        let y = &mut y[pixel * self.sweep.blocks.channels + self.sweep.blocks.start(self.block)..][..L];
        y.copy_from_slice(&match self.sweep.activation {
            None => sum,
            Some(Activation::Relu) => sum.map(|v| Activation::Relu.apply(v)),
            Some(Activation::Relu6) => sum.map(|v| Activation::Relu6.apply(v)),
        });
    }
}
