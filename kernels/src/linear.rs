//! Linear layers: `y = x Wᵀ + b` and its gradients, which are those of a 1x1 convolution of one pixel. The gradient of the
//! bias is [`crate::channel_sums`] of `dy` with one position.

use crate::conv::{Tail, conv2d, conv2d_input_grad, conv2d_weight_grad};
use crate::shape::{ConvShape, LinearShape};

/// `y [N, O] = x [N, F] Wᵀ + b` with `weight [O, F]`, `bias [O]`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn linear(shape: &LinearShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    conv2d(&pointwise(shape), x, weight, Tail { bias, ..Tail::default() }, y);
}

/// `dx [N, F] = dy [N, O] W`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn linear_input_grad(shape: &LinearShape, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    conv2d_input_grad(&pointwise(shape), dy, weight, dx);
}

/// `dweight [O, F] = dyᵀ x`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn linear_weight_grad(shape: &LinearShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    conv2d_weight_grad(&pointwise(shape), x, dy, dweight);
}

/// Every sample is an image of one pixel.
fn pointwise(shape: &LinearShape) -> ConvShape {
    shape.assert_valid();
    ConvShape {
        batch: shape.batch,
        in_channels: shape.in_features,
        in_h: 1,
        in_w: 1,
        out_channels: shape.out_features,
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
    }
}
