//! The weight gradient: every tap's products with `dy`, a row at a time, summed in an order fixed by the shape.
#![allow(clippy::needless_range_loop)] // closures over vectors and iterators are not always inlined, and that costs much
#![allow(unsafe_code)] // `Block::load`: the compiler cannot see that a row's pixels are inside of it

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::axis::Axis;
use super::vector::{Block, full, rest};
use crate::shape::ConvShape;
use crate::simd::vectorised;
use crate::simd::with_simd;
use crate::value::Value;

/// Pixels of a tile.
const TILE: usize = 4;
/// Pixels that are added up in `f32`, about, before their sums move on to `f64`.
const RUN: usize = 512;
/// Parts that the rows of `dy` are cut into, at most. Fixed, so that sums do not depend on the number of threads.
const PARTS: usize = 64;

/// `dweight [C, 1, kh, kw]` from `x [N, H, W, C]` and `dy [N, out_h, out_w, C]`.
pub(in super::super) fn weight_grad<T: Value>(shape: &ConvShape, x: &[T], dy: &[T], dweight: &mut [f32]) {
    let [vertical, horizontal] = [0, 1].map(|axis| Axis::of_outputs(shape, axis));
    let rows = shape.batch * shape.out_h();
    let part = rows.div_ceil(PARTS).max((RUN / 4).div_ceil(shape.out_w()));
    let sums = Reduction { shape, vertical, horizontal, x, dy }.parts(part, 0..rows);
    let taps = shape.kernel[0] * shape.kernel[1];
    for (channel, dweight) in dweight.chunks_exact_mut(taps).enumerate() {
        let sums = sums.iter().skip(channel).step_by(shape.in_channels);
        dweight.iter_mut().zip(sums).for_each(|(dweight, &sum)| *dweight = sum as f32);
    }
}

struct Reduction<'a, T> {
    shape: &'a ConvShape,
    vertical: Axis,
    horizontal: Axis,
    x: &'a [T],
    dy: &'a [T],
}

impl<T: Value> Reduction<'_, T> {
    /// Sums `[kh, kw, C]` over rows of `dy`, halving the range: the order depends on its length alone.
    fn parts(&self, part: usize, rows: Range<usize>) -> Vec<f64> {
        if rows.len() <= part {
            return self.part(rows);
        }
        let middle = rows.start + rows.len().div_ceil(part) / 2 * part;
        let (mut sums, others) =
            rayon::join(|| self.parts(part, rows.start..middle), || self.parts(part, middle..rows.end));
        sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        sums
    }

    fn part(&self, rows: Range<usize>) -> Vec<f64> {
        let ConvShape { in_channels: channels, kernel: [kh, kw], in_h, in_w, .. } = *self.shape;
        let mut sums = vec![0.0f32; kh * kw * channels];
        let mut totals = vec![0.0f64; sums.len()];
        let mut lines = Vec::with_capacity(kh);
        let run = RUN.div_ceil(self.horizontal.outputs);
        let dy_len = self.horizontal.outputs * channels;
        for start in rows.clone().step_by(run) {
            for row in start..rows.end.min(start + run) {
                let image = row / self.vertical.outputs;
                let dy = &self.dy[row * dy_len..][..dy_len];
                lines.clear();
                lines.extend(self.vertical.products(row % self.vertical.outputs).map(|(tap, input)| {
                    (tap * kw * channels, &self.x[(image * in_h + input) * in_w * channels..][..in_w * channels])
                }));
                with_simd(Row { axis: &self.horizontal, channels, lines: &lines, dy, sums: &mut sums });
            }
            vectorised(
                #[inline(always)]
                || {
                    for (total, sum) in totals.iter_mut().zip(&mut sums) {
                        *total += f64::from(*sum);
                        *sum = 0.0;
                    }
                },
            );
        }
        totals
    }
}

/// Adds the products of a row of `dy` with the inputs that its taps see to `sums [kh, kw, C]`.
struct Row<'a, T> {
    axis: &'a Axis,
    channels: usize,
    /// Where the sums of a row of taps begin, and the row of inputs that these taps see.
    lines: &'a [(usize, &'a [T])],
    dy: &'a [T],
    sums: &'a mut [f32],
}

impl<T: Value> WithSimd for Row<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        assert_eq!(self.dy.len(), self.axis.outputs * self.channels, "a row of gradients");
        for (first, x) in self.lines {
            assert_eq!(x.len(), self.axis.inputs * self.channels, "a row of inputs");
            assert!(first + self.axis.taps.len() * self.channels <= self.sums.len(), "sums of a row of taps");
        }
        match (self.axis.taps.len(), self.axis.stride, self.axis.dilation) {
            (3, 1, 1) => self.tiles::<S, 3, 1>(simd),
            (3, 2, 1) => self.tiles::<S, 3, 2>(simd),
            (5, 1, 1) => self.tiles::<S, 5, 1>(simd),
            (5, 2, 1) => self.tiles::<S, 5, 2>(simd),
            _ => self.pixels(simd),
        }
    }
}

impl<T: Value> Row<'_, T> {
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
        let channels = self.channels;
        // SAFETY: output `t` is in the row of gradients.
        let dy = unsafe { block.load(self.dy, t * channels) };
        for (first, x) in self.lines {
            for (tap, column) in self.axis.products(t) {
                let sum = first + tap * channels;
                // SAFETY: the column is in the row of inputs, and `with_simd` has seen that there are sums of every tap.
                unsafe {
                    let (x, before) = (block.load(x, column * channels), block.load(self.sums, sum));
                    block.store(self.sums, sum, block.simd.mul_add_e_f32s(dy, x, before));
                }
            }
        }
    }

    /// `K` taps side by side at stride `N`, a few pixels at a time.
    #[inline(always)]
    fn tiles<S: Simd, const K: usize, const N: usize>(mut self, simd: S) {
        let Axis { outputs, inputs, .. } = *self.axis;
        let span = ((TILE - 1) * N + K) as isize;
        for t in (0..outputs).step_by(TILE) {
            let start = self.axis.start(t);
            if t + TILE <= outputs && start >= 0 && start + span <= inputs as isize {
                full(simd, self.channels).for_each(|block| self.tile::<S, K, N, true, true>(block, t));
                rest(simd, self.channels).into_iter().for_each(|block| self.tile::<S, K, N, true, false>(block, t));
            } else {
                full(simd, self.channels).for_each(|block| self.tile::<S, K, N, false, true>(block, t));
                rest(simd, self.channels).into_iter().for_each(|block| self.tile::<S, K, N, false, false>(block, t));
            }
        }
    }

    /// Adds the products of the outputs from `t` on. If they and their inputs are not all `INSIDE`, each asks whether
    /// it is.
    #[inline(always)]
    fn tile<S: Simd, const K: usize, const N: usize, const INSIDE: bool, const FULL: bool>(
        &mut self,
        block: Block<S, FULL>,
        t: usize,
    ) {
        let (start, channels) = (self.axis.start(t), self.channels);
        let mut dy = [block.zero(); TILE];
        for i in 0..TILE {
            if INSIDE || t + i < self.axis.outputs {
                // SAFETY: output `t + i` is in the row of gradients.
                dy[i] = unsafe { block.load(self.dy, (t + i) * channels) };
            }
        }
        for (first, x) in self.lines {
            let mut sums = [block.zero(); K];
            for tap in 0..K {
                // SAFETY: `with_simd` has seen that there are sums of every tap.
                sums[tap] = unsafe { block.load(self.sums, first + tap * channels) };
            }
            for column in 0..(TILE - 1) * N + K {
                let position = start + column as isize;
                if !INSIDE && self.axis.input(position).is_none() {
                    continue;
                }
                // SAFETY: the column is in the row of inputs.
                let x = unsafe { block.load(x, position as usize * channels) };
                for i in 0..TILE {
                    if column >= i * N && column < i * N + K {
                        sums[column - i * N] = block.simd.mul_add_e_f32s(dy[i], x, sums[column - i * N]);
                    }
                }
            }
            for (tap, sum) in sums.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe { block.store(self.sums, first + tap * channels, sum) };
            }
        }
    }
}
