//! The weight gradient: every tap's products with `dy`, a row at a time, summed in an order fixed by the shape.

#![allow(unsafe_code)] // `block::load`: the compiler cannot see that a row's pixels are inside of it

use std::ops::Range;

use rayon::prelude::*;

use super::axis::Axis;
use super::block::{Blocks, add_product, load, with_blocks};
use crate::shape::ConvShape;
use crate::simd::vectorised;

/// Pixels of a tile.
const TILE: usize = 4;
/// Pixels that are added up in `f32`, about, before their sums move on to `f64`.
const RUN: usize = 512;
/// Blocks of channels that a task handles.
const BLOCKS: usize = 8;
/// Parts that the rows of `dy` are cut into, at most. Fixed, so that sums do not depend on the number of threads.
const PARTS: usize = 32;

/// `dweight [C, 1, kh, kw]` from `x [N, H, W, C]` and `dy [N, out_h, out_w, C]`.
pub(in super::super) fn weight_grad(shape: &ConvShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    with_blocks!(shape.in_channels, L => {
        let [vertical, horizontal] = [0, 1].map(|axis| Axis::of_outputs(shape, axis));
        let blocks = Blocks::<L> { channels: shape.in_channels };
        let reduction = Reduction { shape, blocks, vertical, horizontal, x, dy };
        let taps = shape.kernel[0] * shape.kernel[1];
        let rows = shape.batch * shape.out_h();
        let part = rows.div_ceil(PARTS).max((RUN / 2).div_ceil(shape.out_w()));
        dweight.par_chunks_mut(BLOCKS * L * taps).enumerate().for_each(|(group, dweight)| {
            let first = group * BLOCKS;
            let sums = reduction.parts(part, 0..rows, first..blocks.count().min(first + BLOCKS));
            for (i, dweight) in dweight.chunks_exact_mut(taps).enumerate() {
                let lane = first * L + i - blocks.start(first + i / L);
                let sums = &sums[i / L * taps..];
                dweight.iter_mut().zip(sums).for_each(|(dweight, sum)| *dweight = sum[lane] as f32);
            }
        });
    });
}

struct Reduction<'a, const L: usize> {
    shape: &'a ConvShape,
    blocks: Blocks<L>,
    vertical: Axis,
    horizontal: Axis,
    x: &'a [f32],
    dy: &'a [f32],
}

impl<const L: usize> Reduction<'_, L> {
    /// Sums `[blocks, kh, kw, L]` over rows of `dy`, halving the range: the order depends on its length alone.
    fn parts(&self, part: usize, rows: Range<usize>, blocks: Range<usize>) -> Vec<[f64; L]> {
        if rows.len() <= part {
            return self.part(rows, blocks);
        }
        let middle = rows.start + rows.len().div_ceil(part) / 2 * part;
        let (mut sums, others) = rayon::join(
            || self.parts(part, rows.start..middle, blocks.clone()),
            || self.parts(part, middle..rows.end, blocks.clone()),
        );
        for (sums, others) in sums.iter_mut().zip(others) {
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        }
        sums
    }

    fn part(&self, rows: Range<usize>, blocks: Range<usize>) -> Vec<[f64; L]> {
        let taps = self.shape.kernel[0] * self.shape.kernel[1];
        let mut lanes = vec![[0.0f32; L]; blocks.len() * taps];
        let mut totals = vec![[0.0f64; L]; lanes.len()];
        let run = RUN.div_ceil(self.shape.out_w());
        for start in rows.clone().step_by(run) {
            for row in start..rows.end.min(start + run) {
                vectorised(
                    #[inline(always)]
                    || self.add_row(row, blocks.clone(), &mut lanes),
                );
            }
            for (lanes, totals) in lanes.iter_mut().zip(&mut totals) {
                totals.iter_mut().zip(*lanes).for_each(|(total, lane)| *total += f64::from(lane));
                *lanes = [0.0; L];
            }
        }
        totals
    }

    /// Adds the products of one row of `dy`.
    #[inline(always)]
    fn add_row(&self, row: usize, blocks: Range<usize>, sums: &mut [[f32; L]]) {
        let (ConvShape { in_h, in_w, kernel: [kh, kw], .. }, channels) = (*self.shape, self.blocks.channels);
        let (image, line) = (row / self.vertical.outputs, row % self.vertical.outputs);
        let dy = &self.dy[row * self.horizontal.outputs * channels..][..self.horizontal.outputs * channels];
        for (block, sums) in blocks.zip(sums.chunks_exact_mut(kh * kw)) {
            let first = self.blocks.start(block);
            for (tap, input) in self.vertical.products(line) {
                let x = &self.x[(image * in_h + input) * in_w * channels..][..in_w * channels][first..];
                let row = Row { axis: &self.horizontal, channels, x, dy: &dy[first..] };
                let sums = &mut sums[tap * kw..][..kw];
                match (kw, self.horizontal.stride, self.horizontal.dilation) {
                    (3, 1, 1) if L > 1 => row.tiles::<L, 3, 1>(sums),
                    (3, 2, 1) if L > 1 => row.tiles::<L, 3, 2>(sums),
                    (5, 1, 1) if L > 1 => row.tiles::<L, 5, 1>(sums),
                    (5, 2, 1) if L > 1 => row.tiles::<L, 5, 2>(sums),
                    _ => row.pixels(sums),
                }
            }
        }
    }
}

/// A row of `dy` and the row of inputs that one row of taps sees, both from a block's first channel on.
struct Row<'a> {
    axis: &'a Axis,
    channels: usize,
    x: &'a [f32],
    dy: &'a [f32],
}

impl Row<'_> {
    /// Any kernel, pixel by pixel.
    #[inline(always)]
    fn pixels<const L: usize>(&self, sums: &mut [[f32; L]]) {
        for t in 0..self.axis.outputs {
            // SAFETY: output `t` is in the row, and `dy` begins at the block's first channel.
            let dy = unsafe { load(self.dy, t * self.channels) };
            for (tap, column) in self.axis.products(t) {
                // SAFETY: `column` is in the row, and `x` begins at the block's first channel.
                add_product(&mut sums[tap], &dy, &unsafe { load(self.x, column * self.channels) });
            }
        }
    }

    /// `K` taps side by side at stride `S`, a few pixels at a time.
    #[inline(always)]
    fn tiles<const L: usize, const K: usize, const S: usize>(&self, sums: &mut [[f32; L]]) {
        let Axis { outputs, inputs, .. } = *self.axis;
        let span = ((TILE - 1) * S + K) as isize;
        let mut totals: [[f32; L]; K] = std::array::from_fn(|i| sums[i]);
        for t in (0..outputs).step_by(TILE) {
            let start = self.axis.start(t);
            if t + TILE <= outputs && start >= 0 && start + span <= inputs as isize {
                self.tile::<L, K, S, true>(t, &mut totals);
            } else {
                self.tile::<L, K, S, false>(t, &mut totals);
            }
        }
        sums.copy_from_slice(&totals);
    }

    /// Adds the products of a tile. If its pixels and their inputs are not all `INSIDE`, each asks whether it is.
    #[inline(always)]
    fn tile<const L: usize, const K: usize, const S: usize, const INSIDE: bool>(
        &self,
        t: usize,
        totals: &mut [[f32; L]; K],
    ) {
        let start = self.axis.start(t);
        let column = |i: usize| {
            let position = start + i as isize;
            if INSIDE || self.axis.input(position).is_some() {
                // SAFETY: the column is in the row, and `x` begins at the block's first channel.
                unsafe { load(self.x, position as usize * self.channels) }
            } else {
                [0.0; L]
            }
        };
        for i in 0..TILE {
            if !INSIDE && t + i >= self.axis.outputs {
                break;
            }
            // SAFETY: output `t + i` is in the row, and `dy` begins at the block's first channel.
            let dy = unsafe { load(self.dy, (t + i) * self.channels) };
            for (j, total) in totals.iter_mut().enumerate() {
                add_product(total, &dy, &column(i * S + j));
            }
        }
    }
}
