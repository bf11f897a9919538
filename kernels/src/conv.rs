//! 2-D convolution in its three directions; picks the loop that fits the shape.

mod depthwise;
mod flip;
mod unfold;
mod unfolded;

use crate::shape::ConvShape;

/// `y [N, O, out_h, out_w] = x [N, C, H, W] ⋆ weight [O, C / groups, kh, kw] + bias [O]` (cross-correlation).
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn conv2d(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    assert_fits(shape, x, weight, y);
    assert!(bias.is_none_or(|bias| bias.len() == shape.out_channels), "bias of {shape:?}");
    if shape.is_depthwise() {
        depthwise::forward(shape, x, weight, bias, None, y);
    } else {
        unfolded::forward(shape, x, weight, bias, y);
    }
}

/// The gradient `dx [N, C, H, W]` of the input, from the gradient `dy [N, O, out_h, out_w]` of the output.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn conv2d_input_grad(shape: &ConvShape, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    assert_fits(shape, dx, weight, dy);
    if let Some(flipped) = flip::flipped(shape, weight) {
        conv2d(&flipped.shape, dy, &flipped.weight, None, dx);
    } else if shape.is_depthwise() {
        depthwise::input_grad(shape, dy, weight, dx);
    } else {
        unfolded::input_grad(shape, dy, weight, dx);
    }
}

/// The gradient `dweight [O, C / groups, kh, kw]` of the weight, from the input and the gradient of the output.
/// The gradient of a bias is [`crate::channel_sums`] of `dy`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn conv2d_weight_grad(shape: &ConvShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    assert_fits(shape, x, dweight, dy);
    if shape.is_depthwise() {
        depthwise::weight_grad(shape, x, dy, dweight);
    } else {
        unfolded::weight_grad(shape, x, dy, dweight);
    }
}

fn assert_fits(shape: &ConvShape, x: &[f32], weight: &[f32], y: &[f32]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(weight.len(), shape.weight_len(), "weight of {shape:?}");
    assert_eq!(y.len(), shape.output_len(), "output of {shape:?}");
}
