//! Operations with parameters along channels: scales, parametric ReLUs, layer norms.

use attar_kernels::NormShape;
use candle_core::{DType, Tensor};
use half::bf16;

#[cfg(feature = "cuda")]
use super::cuda;
use super::{
    Affine, Backend, NormGrads, Tail, batch_norm_eval, cpu, dispatch, fits, floats, norm_shape, portable, refused,
};
use crate::error::Result;

/// `x * weight + bias` along the second axis: a norm around 0 with a spread of 1.
pub fn scale(on: Backend, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (zero, one) = (weight.zeros_like()?, weight.ones_like()?);
    let affine = Affine { weight, bias: bias.unwrap_or(&zero) };
    batch_norm_eval(on, x, affine, (&zero, &one), 0.0, Tail::default())
}

/// Gradients of [`scale`].
pub fn scale_backward(on: Backend, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<NormGrads> {
    let shape = norm_shape(x.dims())?;
    fits("a scale", weight, &[shape.channels])?;
    dispatch!(on, x scale_backward(&shape, floats(on, x)?, weight, floats(on, dy)?))
}

/// `x` above 0, `weight * x` elsewhere; as many weights as channels, or one.
pub fn prelu(on: Backend, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let shape = sloped(x, weight)?;
    dispatch!(on, x prelu(&shape, floats(on, x)?, weight))
}

/// Gradients of [`prelu`]'s input and weight.
pub fn prelu_backward(on: Backend, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let shape = sloped(x, weight)?;
    dispatch!(on, x prelu_backward(&shape, floats(on, x)?, weight, floats(on, dy)?))
}

/// With one slope for all, all values are one channel's.
fn sloped(x: &Tensor, weight: &Tensor) -> Result<NormShape> {
    let mut shape = norm_shape(x.dims())?;
    if weight.dims() == [1] {
        shape = NormShape { channels: 1, positions: shape.channels * shape.positions, ..shape };
    }
    fits("the slopes of a parametric ReLU", weight, &[shape.channels])?;
    shape.checked().map_err(|error| refused(&error))
}

/// Normalises over the second axis, at each position by itself.
pub fn layer_norm(on: Backend, x: &Tensor, affine: Affine<'_>, eps: f64) -> Result<Tensor> {
    let shape = norm_shape(x.dims())?;
    affine.fits(shape.channels)?;
    dispatch!(on, x layer_norm(&shape, floats(on, x)?, affine, eps))
}

/// Gradients of [`layer_norm`].
pub fn layer_norm_backward(on: Backend, x: &Tensor, weight: &Tensor, eps: f64, dy: &Tensor) -> Result<NormGrads> {
    let shape = norm_shape(x.dims())?;
    fits("the scale of a norm", weight, &[shape.channels])?;
    dispatch!(on, x layer_norm_backward(&shape, floats(on, x)?, weight, eps, floats(on, dy)?))
}
