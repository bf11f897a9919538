//! Depthwise convolution: each channel alone, directly.
//!
//! A plane is first copied into a padded one, sorted by row and column modulo the stride into sub-planes. Output and
//! taps then walk through memory side by side: for every tap, *all* outputs are one contiguous run (with a few columns
//! between the rows that mean nothing), whatever the stride, dilation or padding, and the inner loops have no edges.

use rayon::prelude::*;

use crate::shape::ConvShape;
use crate::simd::{vectorised, with_scratch};

/// Lanes of a partial sum. Fixed, so that every SIMD level adds in the same order.
const LANES: usize = 16;
/// Values after which the lanes of a weight gradient are emptied into `f64`.
const FLUSH: usize = 1 << 14;
/// Values that one task handles, at least.
const TASK: usize = 1 << 12;

pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let plan = Plan::new(shape);
    let planes = x.par_chunks_exact(shape.in_positions()).zip(y.par_chunks_exact_mut(shape.out_positions()));
    planes.with_min_len(TASK.div_ceil(shape.in_positions())).enumerate().for_each(|(i, (x, y))| {
        let channel = i % shape.groups;
        let weight = &weight[channel * plan.taps.len()..][..plan.taps.len()];
        let bias = bias.map_or(0.0, |bias| bias[channel]);
        plan.with_planes(|padded, run| {
            vectorised(|| {
                plan.pad(x, padded);
                plan.correlate(padded, weight, bias, run);
            });
            plan.gather(run, y);
        });
    });
}

pub(super) fn input_grad(shape: &ConvShape, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let plan = Plan::new(shape);
    let planes = dx.par_chunks_exact_mut(shape.in_positions()).zip(dy.par_chunks_exact(shape.out_positions()));
    planes.with_min_len(TASK.div_ceil(shape.in_positions())).enumerate().for_each(|(i, (dx, dy))| {
        let channel = i % shape.groups;
        let weight = &weight[channel * plan.taps.len()..][..plan.taps.len()];
        plan.with_planes(|padded, run| {
            plan.scatter(dy, run);
            padded.fill(0.0);
            vectorised(|| plan.spread(run, weight, padded));
            plan.cut(padded, dx);
        });
    });
}

pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let plan = Plan::new(shape);
    let (inputs, outputs) = (shape.in_positions(), shape.out_positions());
    dweight.par_chunks_exact_mut(plan.taps.len()).enumerate().for_each(|(channel, dweight)| {
        let mut totals = vec![0.0f64; plan.taps.len()];
        let mut lanes = vec![[0.0f32; LANES]; plan.taps.len()];
        let mut since_flush = 0;
        for n in 0..shape.batch {
            let i = n * shape.groups + channel;
            plan.with_planes(|padded, run| {
                plan.scatter(&dy[i * outputs..][..outputs], run);
                vectorised(|| {
                    plan.pad(&x[i * inputs..][..inputs], padded);
                    plan.dots(padded, run, &mut lanes);
                });
            });
            since_flush += plan.run_len;
            if since_flush >= FLUSH || n + 1 == shape.batch {
                since_flush = 0;
                for (total, lanes) in totals.iter_mut().zip(&mut lanes) {
                    *total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
                    *lanes = [0.0; LANES];
                }
            }
        }
        dweight.iter_mut().zip(totals).for_each(|(dweight, total)| *dweight = total as f32);
    });
}

/// How a padded plane lies in scratch memory, and where each tap begins.
struct Plan {
    shape: ConvShape,
    /// Values from one row of a sub-plane to the next, and from one row of outputs in a run to the next.
    pitch: usize,
    /// Values of a sub-plane.
    sub_plane: usize,
    /// Values of a run: all outputs, rows `pitch` apart.
    run_len: usize,
    /// Where the run of each tap begins in the padded plane.
    taps: Vec<usize>,
}

impl Plan {
    fn new(shape: &ConvShape) -> Self {
        let ConvShape { kernel: [kh, kw], stride: [sh, sw], dilation: [dh, dw], padding, .. } = *shape;
        let pitch = (shape.in_w + 2 * padding[1]).div_ceil(sw);
        let sub_plane = (shape.in_h + 2 * padding[0]).div_ceil(sh) * pitch;
        let tap =
            |row: usize, column: usize| (row % sh * sw + column % sw) * sub_plane + row / sh * pitch + column / sw;
        let taps = (0..kh).flat_map(|i| (0..kw).map(move |j| tap(i * dh, j * dw))).collect();
        let run_len = (shape.out_h() - 1) * pitch + shape.out_w();
        Self { shape: *shape, pitch, sub_plane, run_len, taps }
    }

    /// Lends scratch memory for a padded plane and a run.
    fn with_planes(&self, work: impl FnOnce(&mut [f32], &mut [f32])) {
        let [sh, sw] = self.shape.stride;
        let padded = sh * sw * self.sub_plane;
        with_scratch(padded + self.run_len, |memory| {
            let (padded, run) = memory.split_at_mut(padded);
            work(padded, run);
        });
    }

    /// The part of the padded plane that holds the columns of input row `row` whose padded column is `phase` modulo the
    /// stride: where it begins, and the first of those columns.
    #[inline(always)]
    fn place(&self, row: usize, phase: usize) -> (usize, usize) {
        let ([sh, sw], [top, left]) = (self.shape.stride, self.shape.padding);
        let row = row + top;
        let first = left.saturating_sub(phase).div_ceil(sw);
        let start = (row % sh * sw + phase) * self.sub_plane + row / sh * self.pitch + first;
        // A phase without columns may begin past the end.
        (start.min(sh * sw * self.sub_plane), first * sw + phase - left)
    }

    /// Copies a plane into its padded place.
    #[inline(always)]
    fn pad(&self, x: &[f32], padded: &mut [f32]) {
        padded.fill(0.0);
        let stride = self.shape.stride[1];
        for (row, x) in x.chunks_exact(self.shape.in_w).enumerate() {
            if stride == 1 {
                padded[self.place(row, 0).0..][..x.len()].copy_from_slice(x);
                continue;
            }
            for phase in 0..stride {
                let (start, column) = self.place(row, phase);
                every(stride, x.get(column..).unwrap_or_default(), &mut padded[start..]);
            }
        }
    }

    /// The reverse of [`Self::pad`]: the image out of its padded place.
    fn cut(&self, padded: &[f32], x: &mut [f32]) {
        let stride = self.shape.stride[1];
        for (row, x) in x.chunks_exact_mut(self.shape.in_w).enumerate() {
            for phase in 0..stride {
                let (start, column) = self.place(row, phase);
                let to = x.iter_mut().skip(column).step_by(stride);
                padded[start..].iter().zip(to).for_each(|(&from, to)| *to = from);
            }
        }
    }

    /// The outputs out of a run.
    fn gather(&self, run: &[f32], y: &mut [f32]) {
        let width = self.shape.out_w();
        y.chunks_exact_mut(width).zip(run.chunks(self.pitch)).for_each(|(y, run)| y.copy_from_slice(&run[..width]));
    }

    /// The outputs' gradients into a run, with zeros between the rows.
    fn scatter(&self, dy: &[f32], run: &mut [f32]) {
        let width = self.shape.out_w();
        for (dy, run) in dy.chunks_exact(width).zip(run.chunks_mut(self.pitch)) {
            run[..width].copy_from_slice(dy);
            run[width..].fill(0.0);
        }
    }

    /// `run` = the sum over taps of weight times padded input.
    #[inline(always)]
    fn correlate(&self, padded: &[f32], weight: &[f32], bias: f32, run: &mut [f32]) {
        if let (Ok(taps), Ok(weight)) = (<&[usize; 9]>::try_from(&self.taps[..]), <&[f32; 9]>::try_from(weight)) {
            correlate_nine(padded, taps, weight, bias, run);
            return;
        }
        run.fill(bias);
        for (&tap, &weight) in self.taps.iter().zip(weight) {
            for (y, &x) in run.iter_mut().zip(&padded[tap..]) {
                *y += weight * x;
            }
        }
    }

    /// Adds weight times the run of gradients to every place that a tap sees.
    #[inline(always)]
    fn spread(&self, run: &[f32], weight: &[f32], padded: &mut [f32]) {
        for (&tap, &weight) in self.taps.iter().zip(weight) {
            for (to, &dy) in padded[tap..].iter_mut().zip(run) {
                *to += weight * dy;
            }
        }
    }

    /// Adds the products of each tap's input with the run of gradients to the tap's lanes.
    #[inline(always)]
    fn dots(&self, padded: &[f32], run: &[f32], lanes: &mut [[f32; LANES]]) {
        for (&tap, lanes) in self.taps.iter().zip(lanes) {
            let mut sums = *lanes;
            let (dy, dy_rest) = run.as_chunks::<LANES>();
            let (x, x_rest) = padded[tap..][..run.len()].as_chunks::<LANES>();
            for (dy, x) in dy.iter().zip(x) {
                for lane in 0..LANES {
                    sums[lane] += dy[lane] * x[lane];
                }
            }
            for (sum, (dy, x)) in sums.iter_mut().zip(dy_rest.iter().zip(x_rest)) {
                *sum += dy * x;
            }
            *lanes = sums;
        }
    }
}

/// Nine taps at once, without going through memory between them.
#[inline(always)]
fn correlate_nine(padded: &[f32], taps: &[usize; 9], weight: &[f32; 9], bias: f32, run: &mut [f32]) {
    let inputs = taps.map(|tap| &padded[tap..][..run.len()]);
    for (i, y) in run.iter_mut().enumerate() {
        let mut sum = bias;
        for tap in 0..9 {
            sum += weight[tap] * inputs[tap][i];
        }
        *y = sum;
    }
}

/// Copies every `stride`-th value, from the first.
#[inline(always)]
fn every(stride: usize, from: &[f32], to: &mut [f32]) {
    if stride != 2 {
        to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, &from)| *to = from);
        return;
    }
    let (pairs, last) = from.as_chunks::<2>();
    let (to, end) = to.split_at_mut(pairs.len());
    to.iter_mut().zip(pairs).for_each(|(to, &[from, _])| *to = from);
    end.iter_mut().zip(last).for_each(|(to, &from)| *to = from);
}
