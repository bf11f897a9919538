//! One row of outputs, in tiles of a few pixels that share the inputs they load.
#![allow(unsafe_code)] // `Block::load`: the compiler cannot see that the taps of an inner pixel are inside of the row

use pulp::{Simd, WithSimd};

use super::axis::Axis;
use super::vector::Block;
use crate::activation::Activation;

/// Pixels of a tile.
const TILE: usize = 4;

/// Writes a row of outputs: `t` of the horizontal axis to pixel `first + t * step` of `y`.
pub(super) struct Sweep<'a> {
    pub(super) channels: usize,
    /// `[kh, kw, C]`.
    pub(super) taps: &'a [f32],
    /// Width of the kernel.
    pub(super) kw: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Option<Activation>,
    pub(super) vertical: &'a Axis,
    /// The output along the vertical axis.
    pub(super) row: usize,
    pub(super) horizontal: &'a Axis,
    pub(super) first: usize,
    pub(super) step: usize,
    /// An image of inputs.
    pub(super) x: &'a [f32],
    /// A row of outputs.
    pub(super) y: &'a mut [f32],
}

impl WithSimd for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let axis = self.horizontal;
        assert_eq!(self.x.len(), self.vertical.inputs * axis.inputs * self.channels, "an image of inputs");
        assert_eq!(self.taps.len() % (self.kw * self.channels), 0, "taps");
        assert!(self.bias.is_none_or(|bias| bias.len() == self.channels), "bias");
        assert!((self.first + (axis.outputs - 1) * self.step + 1) * self.channels <= self.y.len(), "a row of outputs");
        // Kernels that are common get loops of their own.
        match (axis.taps.len(), axis.stride, axis.dilation) {
            (1, 1, _) => self.tiles::<S, 1, 1>(simd),
            (2, 1, 1) => self.tiles::<S, 2, 1>(simd),
            (3, 1, 1) => self.tiles::<S, 3, 1>(simd),
            (3, 2, 1) => self.tiles::<S, 3, 2>(simd),
            (5, 1, 1) => self.tiles::<S, 5, 1>(simd),
            (5, 2, 1) => self.tiles::<S, 5, 2>(simd),
            _ => self.pixels(simd),
        }
    }
}

impl Sweep<'_> {
    /// Any kernel, pixel by pixel.
    #[inline(always)]
    fn pixels<S: Simd>(mut self, simd: S) {
        for t in 0..self.horizontal.outputs {
            for block in Block::all(simd, self.channels) {
                let mut sum = self.bias(block);
                for (taps, x) in self.rows() {
                    for (tap, column) in self.horizontal.products(t) {
                        // SAFETY: the tap is one of its row's, and the column is in the row of inputs.
                        let (weight, x) =
                            unsafe { (block.load(taps, tap * self.channels), block.load(x, column * self.channels)) };
                        sum = simd.mul_add_e_f32s(weight, x, sum);
                    }
                }
                self.write(block, t, sum);
            }
        }
    }

    /// `K` taps side by side at stride `N`, a few pixels at a time.
    #[inline(always)]
    fn tiles<S: Simd, const K: usize, const N: usize>(mut self, simd: S) {
        let Axis { outputs, inputs, .. } = *self.horizontal;
        let span = ((TILE - 1) * N + K) as isize;
        for t in (0..outputs).step_by(TILE) {
            let start = self.horizontal.start(t);
            let inside = t + TILE <= outputs && start >= 0 && start + span <= inputs as isize;
            for block in Block::all(simd, self.channels) {
                let sums = if inside {
                    self.tile::<S, K, N, true>(block, start)
                } else {
                    self.tile::<S, K, N, false>(block, start)
                };
                for (i, sum) in sums.into_iter().enumerate() {
                    if inside || t + i < outputs {
                        self.write(block, t + i, sum);
                    }
                }
            }
        }
    }

    /// The outputs of a tile whose taps begin at column `start`. If they are not `INSIDE`, each asks whether it is.
    #[inline(always)]
    fn tile<S: Simd, const K: usize, const N: usize, const INSIDE: bool>(
        &self,
        block: Block<S>,
        start: isize,
    ) -> [S::f32s; TILE] {
        let mut sums = [self.bias(block); TILE];
        for (taps, x) in self.rows() {
            let mut weight = [block.zero(); K];
            for (weight, tap) in weight.iter_mut().zip(&self.horizontal.taps) {
                // SAFETY: the tap is one of its row's.
                *weight = unsafe { block.load(taps, tap * self.channels) };
            }
            for column in 0..(TILE - 1) * N + K {
                let position = start + column as isize;
                if !INSIDE && self.horizontal.input(position).is_none() {
                    continue;
                }
                // SAFETY: the column is in the row of inputs.
                let x = unsafe { block.load(x, position as usize * self.channels) };
                for (i, sum) in sums.iter_mut().enumerate() {
                    if let Some(weight) = column.checked_sub(i * N).and_then(|j| weight.get(j)) {
                        *sum = block.simd.mul_add_e_f32s(*weight, x, *sum);
                    }
                }
            }
        }
        sums
    }

    /// For every row of taps that meets the image: its taps and the row of inputs.
    #[inline(always)]
    fn rows(&self) -> impl Iterator<Item = (&[f32], &[f32])> {
        let (taps_len, row_len) = (self.kw * self.channels, self.horizontal.inputs * self.channels);
        self.vertical
            .products(self.row)
            .map(move |(tap, row)| (&self.taps[tap * taps_len..][..taps_len], &self.x[row * row_len..][..row_len]))
    }

    #[inline(always)]
    fn bias<S: Simd>(&self, block: Block<S>) -> S::f32s {
        match self.bias {
            // SAFETY: `with_simd` has seen that there is a value for each channel.
            Some(bias) => unsafe { block.load(bias, 0) },
            None => block.zero(),
        }
    }

    #[inline(always)]
    fn write<S: Simd>(&mut self, block: Block<S>, t: usize, sum: S::f32s) {
        let pixel = (self.first + t * self.step) * self.channels;
        // SAFETY: `with_simd` has seen that the last pixel is in the row.
        unsafe { block.store(self.y, pixel, block.activated(self.activation, sum)) };
    }
}
