//! Depthwise convolution: each channel alone, directly.
//!
//! A plane is first copied into padded rows, each sorted by its column modulo the stride. Every tap of every output row
//! is then a contiguous slice, whatever the stride, dilation or padding, and the inner loops have no edges.

use rayon::prelude::*;
use std::ops::Range;

use crate::shape::ConvShape;
use crate::simd::{vectorised, with_scratch};

/// Lanes of a partial sum. Fixed, so that every SIMD level adds in the same order.
const LANES: usize = 16;

pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let plan = Plan::new(shape);
    let planes = x.par_chunks_exact(shape.in_positions()).zip(y.par_chunks_exact_mut(shape.out_positions()));
    planes.enumerate().for_each(|(i, (x, y))| {
        let channel = i % shape.groups;
        let weight = &weight[channel * plan.taps.len()..][..plan.taps.len()];
        let bias = bias.map_or(0.0, |bias| bias[channel]);
        with_scratch(plan.padded_len(), |padded| {
            plan.pad(x, padded);
            vectorised(|| plan.correlate(padded, weight, bias, y));
        });
    });
}

pub(super) fn input_grad(shape: &ConvShape, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let plan = Plan::new(shape);
    let planes = dx.par_chunks_exact_mut(shape.in_positions()).zip(dy.par_chunks_exact(shape.out_positions()));
    planes.enumerate().for_each(|(i, (dx, dy))| {
        let channel = i % shape.groups;
        let weight = &weight[channel * plan.taps.len()..][..plan.taps.len()];
        with_scratch(plan.padded_len(), |padded| {
            padded.fill(0.0);
            vectorised(|| plan.spread(dy, weight, padded));
            plan.cut(padded, dx);
        });
    });
}

pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let plan = Plan::new(shape);
    let (inputs, outputs) = (shape.in_positions(), shape.out_positions());
    dweight.par_chunks_exact_mut(plan.taps.len()).enumerate().for_each(|(channel, dweight)| {
        let mut totals = vec![0.0f64; plan.taps.len()];
        for n in 0..shape.batch {
            let i = n * shape.groups + channel;
            with_scratch(plan.padded_len(), |padded| {
                plan.pad(&x[i * inputs..][..inputs], padded);
                vectorised(|| plan.correlate_gradients(padded, &dy[i * outputs..][..outputs], &mut totals));
            });
        }
        dweight.iter_mut().zip(totals).for_each(|(dweight, total)| *dweight = total as f32);
    });
}

/// How a padded plane lies in scratch memory, and where each tap begins.
struct Plan {
    shape: ConvShape,
    out_w: usize,
    /// Columns of the padded plane with the same remainder modulo the stride.
    phase_len: usize,
    /// Values of one padded row: as many phases as the stride.
    row_len: usize,
    /// Offset of each tap from the beginning of its output row.
    taps: Vec<usize>,
}

impl Plan {
    fn new(shape: &ConvShape) -> Self {
        let ConvShape { kernel: [kh, kw], stride: [_, stride], dilation: [dh, dw], .. } = *shape;
        let phase_len = (shape.in_w + 2 * shape.padding[1]).div_ceil(stride);
        let row_len = phase_len * stride;
        let offset = |i: usize, j: usize| i * dh * row_len + (j * dw % stride) * phase_len + j * dw / stride;
        let taps = (0..kh).flat_map(|i| (0..kw).map(move |j| offset(i, j))).collect();
        Self { shape: *shape, out_w: shape.out_w(), phase_len, row_len, taps }
    }

    fn padded_len(&self) -> usize {
        (self.shape.in_h + 2 * self.shape.padding[0]) * self.row_len
    }

    /// The part of a padded row that holds the image's columns of one phase, and the first of those columns.
    fn phase(&self, phase: usize) -> (Range<usize>, usize) {
        let (stride, padding, width) = (self.shape.stride[1], self.shape.padding[1], self.shape.in_w);
        let first = padding.saturating_sub(phase).div_ceil(stride);
        let column = first * stride + phase - padding;
        let count = width.saturating_sub(column).div_ceil(stride);
        let start = phase * self.phase_len + first;
        (start..start + count, column)
    }

    /// Copies a plane into its padded place.
    fn pad(&self, x: &[f32], padded: &mut [f32]) {
        let (top, width) = (self.shape.padding[0], self.shape.in_w);
        padded[..top * self.row_len].fill(0.0);
        padded[(top + self.shape.in_h) * self.row_len..].fill(0.0);
        let rows = padded[top * self.row_len..].chunks_exact_mut(self.row_len);
        for (x, row) in x.chunks_exact(width).zip(rows) {
            row.fill(0.0);
            for phase in 0..self.shape.stride[1] {
                let (range, column) = self.phase(phase);
                if range.is_empty() {
                    continue;
                }
                match self.shape.stride[1] {
                    1 => row[range].copy_from_slice(x),
                    stride => {
                        let from = x[column..].iter().step_by(stride);
                        row[range].iter_mut().zip(from).for_each(|(to, &from)| *to = from);
                    }
                }
            }
        }
    }

    /// The reverse of [`Self::pad`]: the image out of its padded place.
    fn cut(&self, padded: &[f32], x: &mut [f32]) {
        let (top, width) = (self.shape.padding[0], self.shape.in_w);
        let rows = padded[top * self.row_len..].chunks_exact(self.row_len);
        for (x, row) in x.chunks_exact_mut(width).zip(rows) {
            for phase in 0..self.shape.stride[1] {
                let (range, column) = self.phase(phase);
                if range.is_empty() {
                    continue;
                }
                let to = x[column..].iter_mut().step_by(self.shape.stride[1]);
                row[range].iter().zip(to).for_each(|(&from, to)| *to = from);
            }
        }
    }

    /// Where the output row begins in the padded plane.
    #[inline(always)]
    fn row(&self, out_row: usize) -> usize {
        out_row * self.shape.stride[0] * self.row_len
    }

    /// `y` = the sum over taps of weight times padded input.
    #[inline(always)]
    fn correlate(&self, padded: &[f32], weight: &[f32], bias: f32, y: &mut [f32]) {
        for (out_row, y) in y.chunks_exact_mut(self.out_w).enumerate() {
            let padded = &padded[self.row(out_row)..];
            if let (Ok(taps), Ok(weight)) = (<&[usize; 9]>::try_from(&self.taps[..]), <&[f32; 9]>::try_from(weight)) {
                correlate_nine(padded, taps, weight, bias, y);
                continue;
            }
            y.fill(bias);
            for (&tap, &weight) in self.taps.iter().zip(weight) {
                let from = &padded[tap..][..y.len()];
                for (y, &x) in y.iter_mut().zip(from) {
                    *y += weight * x;
                }
            }
        }
    }

    /// Adds weight times `dy` to every place that a tap sees.
    #[inline(always)]
    fn spread(&self, dy: &[f32], weight: &[f32], padded: &mut [f32]) {
        for (out_row, dy) in dy.chunks_exact(self.out_w).enumerate() {
            let padded = &mut padded[self.row(out_row)..];
            for (&tap, &weight) in self.taps.iter().zip(weight) {
                for (to, &dy) in padded[tap..][..dy.len()].iter_mut().zip(dy) {
                    *to += weight * dy;
                }
            }
        }
    }

    /// Adds the products of each tap's input with `dy` to its total.
    #[inline(always)]
    fn correlate_gradients(&self, padded: &[f32], dy: &[f32], totals: &mut [f64]) {
        for (&tap, total) in self.taps.iter().zip(totals) {
            let mut lanes = [0.0f32; LANES];
            for (out_row, dy) in dy.chunks_exact(self.out_w).enumerate() {
                let x = &padded[self.row(out_row) + tap..][..dy.len()];
                let (dy, dy_rest) = dy.as_chunks::<LANES>();
                let (x, x_rest) = x.as_chunks::<LANES>();
                for (dy, x) in dy.iter().zip(x) {
                    for lane in 0..LANES {
                        lanes[lane] += dy[lane] * x[lane];
                    }
                }
                for (lane, (dy, x)) in lanes.iter_mut().zip(dy_rest.iter().zip(x_rest)) {
                    *lane += dy * x;
                }
            }
            *total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        }
    }
}

/// One output row of a kernel with nine taps, without going through memory between taps.
#[inline(always)]
fn correlate_nine(padded: &[f32], taps: &[usize; 9], weight: &[f32; 9], bias: f32, y: &mut [f32]) {
    let rows = taps.map(|tap| &padded[tap..][..y.len()]);
    for (i, y) in y.iter_mut().enumerate() {
        let mut sum = bias;
        for tap in 0..9 {
            sum += weight[tap] * rows[tap][i];
        }
        *y = sum;
    }
}
