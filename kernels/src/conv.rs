//! 2-D convolution in its three directions, channels last; picks the algorithm that fits the shape.

mod depthwise;
mod direct;
mod direct_weight;
mod pad;
mod slab;
mod sweep;
mod winograd;

use std::ops::Range;

use crate::activation::Activation;
use crate::shape::ConvShape;
use crate::value::Value;
use sweep::Sweeps;

/// What follows a convolution in the same pass: `activation(y + bias + residual)`.
#[derive(Debug, Clone, Copy)]
pub struct Tail<'a, T = f32> {
    /// One value an output channel, `[O]`.
    pub bias: Option<&'a [f32]>,
    /// Added before the activation, `[N, out_h, out_w, O]`.
    pub residual: Option<&'a [T]>,
    /// Applied last.
    pub activation: Option<Activation>,
}

impl<T> Default for Tail<'_, T> {
    fn default() -> Self {
        Self { bias: None, residual: None, activation: None }
    }
}

/// [`crate::conv2d`].
pub(crate) fn conv2d<T: Value>(shape: &ConvShape, x: &[T], weight: &[f32], tail: Tail<'_, T>, y: &mut [T]) {
    forward(shape, x, weight, tail, y, true);
}

/// [`crate::conv2d_sums`].
pub(crate) fn conv2d_sums<T: Value>(shape: &ConvShape, x: &[T], weight: &[f32], tail: Tail<'_, T>, y: &mut [T]) {
    forward(shape, x, weight, tail, y, false);
}

/// By Winograd's transforms where they fit and are let, else by plain sums.
fn forward<T: Value>(shape: &ConvShape, x: &[T], weight: &[f32], tail: Tail<'_, T>, y: &mut [T], transforms: bool) {
    assert_fits(shape, x, weight, y);
    assert!(tail.bias.is_none_or(|bias| bias.len() == shape.out_channels), "bias of {shape:?}");
    assert!(tail.residual.is_none_or(|residual| residual.len() == y.len()), "residual of {shape:?}");
    if shape.is_depthwise() && shape.groups > 1 && tail.residual.is_none() {
        depthwise::forward(shape, x, weight, tail.bias, tail.activation, y);
        return;
    }
    let shape = &flattened(shape);
    let (patch, [_, kw]) = (shape.patch(), shape.kernel);
    let (inputs, taps) = (shape.group_in(), shape.kernel[0] * kw);
    let index = |[i, j]: [usize; 2], [c, o]: [usize; 2]| o * patch + c % inputs * taps + i * kw + j;
    if transforms && winograd::fits(shape) {
        winograd::forward(shape, x, weight, index, tail, y);
    } else {
        direct::run(&Sweeps::forward(shape), weight, index, x, tail, y);
    }
}

/// [`crate::conv2d_input_grad`].
pub(crate) fn conv2d_input_grad<T: Value>(shape: &ConvShape, dy: &[T], weight: &[f32], dx: &mut [T]) {
    assert_fits(shape, dx, weight, dy);
    if shape.is_depthwise() && shape.groups > 1 {
        depthwise::input_grad(shape, dy, weight, dx);
        return;
    }
    let shape = &flattened(shape);
    let (patch, [_, kw]) = (shape.patch(), shape.kernel);
    let (inputs, taps) = (shape.group_in(), shape.kernel[0] * kw);
    let index = |[i, j]: [usize; 2], [o, c]: [usize; 2]| o * patch + c % inputs * taps + i * kw + j;
    if winograd::fits(shape) {
        // The input gradient is the convolution of `dy` with the turned kernel.
        let turned = |[i, j]: [usize; 2], channels: [usize; 2]| index([2 - i, 2 - j], channels);
        winograd::forward(&reversed(shape), dy, weight, turned, Tail::default(), dx);
    } else {
        direct::run(&Sweeps::input_grad(shape), weight, index, dy, Tail::default(), dx);
    }
}

/// [`crate::conv2d_weight_grad`].
pub(crate) fn conv2d_weight_grad<T: Value>(shape: &ConvShape, x: &[T], dy: &[T], dweight: &mut [f32]) {
    assert_fits(shape, x, dweight, dy);
    if shape.is_depthwise() && shape.groups > 1 {
        depthwise::weight_grad(shape, x, dy, dweight);
        return;
    }
    if winograd::fits(shape) {
        winograd::weight_grad(shape, x, dy, dweight);
    } else {
        direct_weight::run(&flattened(shape), x, dy, dweight);
    }
}

/// The 3x3 convolution of stride 1 from the output of `shape` back to its input.
fn reversed(shape: &ConvShape) -> ConvShape {
    ConvShape {
        in_channels: shape.out_channels,
        in_h: shape.out_h(),
        in_w: shape.out_w(),
        out_channels: shape.in_channels,
        padding: shape.padding.map(|padding| 2 - padding),
        ..*shape
    }
}

/// Pixels that a row of a flattened image has, at least, if there are as many.
const ROW: usize = 64;

/// A 1x1 convolution does not know where its pixels lie: the batch as one image of long rows. Others as they are.
fn flattened(shape: &ConvShape) -> ConvShape {
    if shape.kernel != [1, 1] || shape.stride != [1, 1] || shape.padding != [0, 0] {
        return *shape;
    }
    let pixels = shape.in_h * shape.in_w;
    let images = (1..=shape.batch).find(|n| shape.batch.is_multiple_of(*n) && n * pixels >= ROW).unwrap_or(shape.batch);
    ConvShape { batch: 1, in_h: shape.batch / images, in_w: images * pixels, ..*shape }
}

/// Cuts rows of `values` values each into runs of at most about `most` values, as even as they can be.
fn split_rows(rows: usize, values: usize, most: usize) -> Vec<Range<usize>> {
    let strips = (rows * values).div_ceil(most).clamp(1, rows);
    (0..strips).map(|i| i * rows / strips..(i + 1) * rows / strips).collect()
}

fn assert_fits<T>(shape: &ConvShape, x: &[T], weight: &[f32], y: &[T]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(weight.len(), shape.weight_len(), "weight of {shape:?}");
    assert_eq!(y.len(), shape.output_len(), "output of {shape:?}");
}
