//! `[rows, C]` cut into rows that are long enough for vectors, and sums down its columns in a fixed order.

use std::ops::Range;

use rayon::prelude::*;

use crate::shape::NormShape;
use crate::simd::vectorised;
use crate::value::Value;

/// Values of a long row, at least: what a loop over it costs at its ends does not matter any more.
const ROW: usize = 256;
/// A long row is a multiple of this, if that does not make it too long: no vectors are left half empty.
const VECTORS: usize = 64;
/// Values of a long row that is made longer to be a multiple of [`VECTORS`], at most.
const LONGEST: usize = 2048;
/// Long rows that are added up in `f32` before the sums move on to `f64`.
const RUN: usize = 32;
/// Values that one task handles, at least.
const TASK: usize = 1 << 14;
/// Values in a part of a sum, at least.
const PART: usize = 1 << 15;
/// Parts of a sum, at most. Fixed, so that the order of the additions does not depend on the number of threads.
const PARTS: usize = 128;

/// Long rows that are added to sums at a time, so that the sums are loaded and stored less often.
pub(crate) const STACK: usize = 4;

/// `N` rows of equal length.
#[inline(always)]
pub(crate) fn stacked<T, const N: usize>(values: &[T]) -> [&[T]; N] {
    let len = values.len() / N;
    std::array::from_fn(|i| &values[i * len..][..len])
}

/// A tensor `[rows, C]` as long rows of several pixels: a column of those belongs to channel `column % C`, and any
/// number of channels, 3 or 24 as well as 64, fills whole vectors. The last long row may be shorter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    channels: usize,
    /// Values of a long row.
    width: usize,
    /// Values of the tensor.
    len: usize,
}

impl Rows {
    pub(crate) fn new(shape: &NormShape) -> Self {
        let channels = shape.channels;
        let whole = VECTORS >> channels.trailing_zeros().min(VECTORS.trailing_zeros()); // pixels in whole vectors
        let whole = whole * ROW.div_ceil(channels * whole);
        let pixels = if channels * whole <= LONGEST { whole } else { ROW.div_ceil(channels) };
        Self { channels, width: channels * pixels, len: shape.len() }
    }

    /// `[C]`, repeated for every pixel of a long row.
    pub(crate) fn columns(&self, per_channel: &[f32]) -> Vec<f32> {
        per_channel.iter().copied().cycle().take(self.width).collect()
    }

    /// Calls `work(range, values)` for every task's part of the tensor, in parallel. A part begins with a long row.
    pub(crate) fn for_parts<T: Value>(&self, values: &mut [T], work: impl Fn(Range<usize>, &mut [T]) + Sync) {
        let task = self.width * TASK.div_ceil(self.width);
        values.par_chunks_mut(task).enumerate().for_each(|(i, values)| {
            let start = i * task;
            work(start..start + values.len(), values);
        });
    }

    /// Sums `K` terms of every value over each channel. `add(range, sums)` adds the terms of a few long rows of the
    /// tensor to the columns of `K` long rows of sums; all ranges together are the tensor.
    pub(crate) fn sums<const K: usize>(&self, add: impl Fn(Range<usize>, [&mut [f32]; K]) + Sync) -> [Vec<f64>; K] {
        self.sums_and_values(None::<&mut [f32]>, |range, sums, _| add(range, sums))
    }

    /// The same, while `add` also writes the range's part of `values`, if there are any.
    pub(crate) fn sums_and_values<T: Value, const K: usize>(
        &self,
        values: Option<&mut [T]>,
        add: impl Fn(Range<usize>, [&mut [f32]; K], Option<&mut [T]>) + Sync,
    ) -> [Vec<f64>; K] {
        let run = RUN * self.width;
        let part = run * PART.max(self.len.div_ceil(PARTS)).div_ceil(run);
        let sums = self.sum_parts(part, 0..self.len, values, &|range: Range<usize>, mut values: Option<&mut [T]>| {
            let mut lanes = [(); K].map(|()| vec![0.0f32; self.width]);
            let mut totals = [(); K].map(|()| vec![0.0f64; self.width]);
            for start in range.clone().step_by(run) {
                let now = start..range.end.min(start + run);
                let values = values.as_deref_mut().map(|values| &mut values[start - range.start..][..now.len()]);
                add(now, lanes.each_mut().map(|lanes| &mut lanes[..]), values);
                vectorised(
                    #[inline(always)]
                    || flush(&mut lanes, &mut totals),
                );
            }
            totals
        });
        sums.map(|columns| self.per_channel(&columns))
    }

    /// Adds what `sum` says of every part of a range, halving the range: the order depends on its length alone.
    fn sum_parts<T: Value, const K: usize>(
        &self,
        part: usize,
        range: Range<usize>,
        values: Option<&mut [T]>,
        sum: &(impl Fn(Range<usize>, Option<&mut [T]>) -> [Vec<f64>; K] + Sync),
    ) -> [Vec<f64>; K] {
        if range.len() <= part {
            return sum(range, values);
        }
        let half = range.len().div_ceil(part) / 2 * part;
        let (left, right) = match values.map(|values| values.split_at_mut(half)) {
            Some((left, right)) => (Some(left), Some(right)),
            None => (None, None),
        };
        let middle = range.start + half;
        let (mut sums, others) = rayon::join(
            || self.sum_parts(part, range.start..middle, left, sum),
            || self.sum_parts(part, middle..range.end, right, sum),
        );
        for (sums, others) in sums.iter_mut().zip(others) {
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        }
        sums
    }

    /// The mean of each channel over a few long rows from all over the tensor.
    pub(crate) fn rough_means<T: Value>(&self, values: &[T]) -> Vec<f32> {
        let mut totals = vec![0.0f64; self.width];
        let mut seen = 0;
        let step = self.len.div_ceil(self.width).div_ceil(RUN / 2).max(1);
        for row in values.chunks(self.width).step_by(step) {
            seen += row.len() / self.channels;
            totals.iter_mut().zip(row).for_each(|(total, x)| *total += f64::from(x.float()));
        }
        self.per_channel(&totals).into_iter().map(|total| (total / seen as f64) as f32).collect()
    }

    /// A long row of sums, added up by channel.
    fn per_channel(&self, columns: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.channels];
        for pixel in columns.chunks_exact(self.channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, column)| *sum += column);
        }
        sums
    }
}

/// Moves the sums on to `f64`.
#[inline(always)]
fn flush<const K: usize>(lanes: &mut [Vec<f32>; K], totals: &mut [Vec<f64>; K]) {
    for (lanes, totals) in lanes.iter_mut().zip(totals) {
        for (lane, total) in lanes.iter_mut().zip(totals) {
            *total += f64::from(*lane);
            *lane = 0.0;
        }
    }
}
