//! Depthwise convolution: each channel alone, directly, a vector of channels at a time.
//!
//! Output and input gradient are the same loop ([`sweep`]): the gradient of a strided convolution is, for every row and
//! column modulo the stride, a convolution of `dy` with some of the taps, turned around.

mod axis;
mod sweep;
#[cfg(test)]
mod tests;
mod vector;
mod weight;

use rayon::prelude::*;

use self::axis::Axis;
use self::sweep::Sweep;
use crate::activation::Activation;
use crate::shape::ConvShape;
use crate::simd::with_simd;
use crate::value::Value;

pub(super) use self::weight::weight_grad;

/// Values that one task writes, at least.
const TASK: usize = 1 << 13;

/// `y = activation(x ⋆ weight + bias)`: `x [N, H, W, C]`, `weight [C, 1, kh, kw]`, `bias [C]`, `y [N, out_h, out_w, C]`.
pub(super) fn forward<T: Value>(
    shape: &ConvShape,
    x: &[T],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Activation>,
    y: &mut [T],
) {
    let [vertical, horizontal] = [0, 1].map(|axis| vec![Axis::of_outputs(shape, axis)]);
    let plan = Plan { vertical: &vertical, horizontal: &horizontal, out_h: shape.out_h(), activation };
    correlate(shape, &plan, x, weight, bias, y);
}

/// `dx [N, H, W, C]` from `dy [N, out_h, out_w, C]`.
pub(super) fn input_grad<T: Value>(shape: &ConvShape, dy: &[T], weight: &[f32], dx: &mut [T]) {
    let [vertical, horizontal] = [0, 1].map(|axis| Axis::of_inputs(shape, axis));
    let plan = Plan { vertical: &vertical, horizontal: &horizontal, out_h: shape.in_h, activation: None };
    correlate(shape, &plan, dy, weight, None, dx);
}

/// Which values are written, and from what: one axis for each residue of a row or a column.
struct Plan<'a> {
    vertical: &'a [Axis],
    horizontal: &'a [Axis],
    /// Rows of an image that is written.
    out_h: usize,
    activation: Option<Activation>,
}

fn correlate<T: Value>(shape: &ConvShape, plan: &Plan<'_>, x: &[T], weight: &[f32], bias: Option<&[f32]>, y: &mut [T]) {
    let channels = shape.in_channels;
    let row_len = y.len() / (shape.batch * plan.out_h);
    let image_len = x.len() / shape.batch;
    let taps = taps_first(weight, channels);
    let rows = y.par_chunks_exact_mut(row_len).with_min_len(TASK.div_ceil(row_len));
    rows.enumerate().for_each(|(i, y)| {
        let (image, row) = (i / plan.out_h, i % plan.out_h);
        let x = &x[image * image_len..][..image_len];
        let vertical = &plan.vertical[row % plan.vertical.len()];
        let (taps_len, line_len) = (shape.kernel[1] * channels, image_len / vertical.inputs);
        let lines = vertical.products(row / plan.vertical.len());
        let lines: Vec<(&[f32], &[T])> = lines
            .map(|(tap, input)| (&taps[tap * taps_len..][..taps_len], &x[input * line_len..][..line_len]))
            .collect();
        for (first, axis) in plan.horizontal.iter().enumerate() {
            let (activation, step) = (plan.activation, plan.horizontal.len());
            with_simd(Sweep { channels, lines: &lines, bias, activation, axis, first, step, y: &mut *y });
        }
    });
}

/// `[C, 1, kh, kw]` as `[kh, kw, C]`.
fn taps_first(weight: &[f32], channels: usize) -> Vec<f32> {
    let taps = weight.len() / channels;
    (0..taps).flat_map(|tap| weight.iter().skip(tap).step_by(taps)).copied().collect()
}
