//! One row of outputs, in tiles of a few pixels that share the inputs they load.
#![allow(clippy::needless_range_loop)] // closures over vectors and iterators are not always inlined, and that costs much
#![allow(unsafe_code)] // `Block::load`: the compiler cannot see that the taps of an inner pixel are inside of the row

use pulp::{Simd, WithSimd};

use super::axis::Axis;
use super::vector::{Block, full, rest};
use crate::activation::Activation;
use crate::value::Value;

/// Pixels of a tile.
const TILE: usize = 4;

/// Writes a row of outputs: `t` of the axis to pixel `first + t * step` of `y`.
pub(super) struct Sweep<'a, T> {
    pub(super) channels: usize,
    /// Every row of taps, `[kw, C]`, that meets the image, with the row of inputs that it meets.
    pub(super) lines: &'a [(&'a [f32], &'a [T])],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Option<Activation>,
    pub(super) axis: &'a Axis,
    pub(super) first: usize,
    pub(super) step: usize,
    /// A row of outputs.
    pub(super) y: &'a mut [T],
}

impl<T: Value> WithSimd for Sweep<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let axis = self.axis;
        let taps = axis.taps.iter().max().map_or(0, |last| last + 1);
        for (weight, x) in self.lines {
            assert!(taps * self.channels <= weight.len(), "a row of taps");
            assert_eq!(x.len(), axis.inputs * self.channels, "a row of inputs");
        }
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

impl<T: Value> Sweep<'_, T> {
    /// Any kernel, pixel by pixel.
    #[inline(always)]
    fn pixels<S: Simd>(mut self, simd: S) {
        for t in 0..self.axis.outputs {
            full(simd, self.channels).for_each(|block| self.pixel(block, t));
            rest(simd, self.channels).into_iter().for_each(|block| self.pixel(block, t));
        }
    }

    #[inline(always)]
    fn pixel<S: Simd, const FULL: bool>(&mut self, block: Block<S, FULL>, t: usize) {
        let mut sum = self.bias(block);
        for (taps, x) in self.lines {
            for (tap, column) in self.axis.products(t) {
                // SAFETY: `with_simd` has seen that the row has this tap, and the column is in the row of inputs.
                let (weight, x) =
                    unsafe { (block.load(taps, tap * self.channels), block.load(x, column * self.channels)) };
                sum = block.simd.mul_add_e_f32s(weight, x, sum);
            }
        }
        self.write(block, t, sum);
    }

    /// `K` taps side by side at stride `N`, a few pixels at a time.
    #[inline(always)]
    fn tiles<S: Simd, const K: usize, const N: usize>(mut self, simd: S) {
        let Axis { outputs, inputs, .. } = *self.axis;
        let taps = std::array::from_fn(|i| self.axis.taps[i] * self.channels);
        let span = ((TILE - 1) * N + K) as isize;
        for t in (0..outputs).step_by(TILE) {
            let start = self.axis.start(t);
            if t + TILE <= outputs && start >= 0 && start + span <= inputs as isize {
                full(simd, self.channels).for_each(|block| self.tile::<S, K, N, true, true>(block, taps, t));
                rest(simd, self.channels)
                    .into_iter()
                    .for_each(|block| self.tile::<S, K, N, true, false>(block, taps, t));
            } else {
                full(simd, self.channels).for_each(|block| self.tile::<S, K, N, false, true>(block, taps, t));
                rest(simd, self.channels)
                    .into_iter()
                    .for_each(|block| self.tile::<S, K, N, false, false>(block, taps, t));
            }
        }
    }

    /// The outputs from `t` on. If they and their inputs are not all `INSIDE`, each asks whether it is.
    #[inline(always)]
    fn tile<S: Simd, const K: usize, const N: usize, const INSIDE: bool, const FULL: bool>(
        &mut self,
        block: Block<S, FULL>,
        taps: [usize; K],
        t: usize,
    ) {
        let start = self.axis.start(t);
        let mut sums = [self.bias(block); TILE];
        for (weights, x) in self.lines {
            let mut columns = [block.zero(); K];
            for i in 0..K {
                // SAFETY: `with_simd` has seen that the row has these taps.
                columns[i] = unsafe { block.load(weights, taps[i]) };
            }
            for column in 0..(TILE - 1) * N + K {
                let position = start + column as isize;
                if !INSIDE && self.axis.input(position).is_none() {
                    continue;
                }
                // SAFETY: the column is in the row of inputs.
                let x = unsafe { block.load(x, position as usize * self.channels) };
                for i in 0..TILE {
                    if column >= i * N && column < i * N + K {
                        sums[i] = block.simd.mul_add_e_f32s(columns[column - i * N], x, sums[i]);
                    }
                }
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            if INSIDE || t + i < self.axis.outputs {
                self.write(block, t + i, sum);
            }
        }
    }

    #[inline(always)]
    fn bias<S: Simd, const FULL: bool>(&self, block: Block<S, FULL>) -> S::f32s {
        match self.bias {
            // SAFETY: `with_simd` has seen that there is a value for each channel.
            Some(bias) => unsafe { block.load(bias, 0) },
            None => block.zero(),
        }
    }

    #[inline(always)]
    fn write<S: Simd, const FULL: bool>(&mut self, block: Block<S, FULL>, t: usize, sum: S::f32s) {
        let pixel = (self.first + t * self.step) * self.channels;
        // SAFETY: `with_simd` has seen that the last pixel is in the row.
        unsafe { block.store(self.y, pixel, block.activated(self.activation, sum)) };
    }
}
