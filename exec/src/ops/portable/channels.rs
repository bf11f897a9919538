//! Sums, products and what has parameters along channels, composed.

use attar_kernels::NormShape;
use candle_core::Tensor;

use super::{per_channel, planes};
use crate::error::Result;
use crate::ops::{Affine, NormGrads};

pub(in crate::ops) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok((a + b)?)
}

pub(in crate::ops) fn add_channels(_shape: &NormShape, x: &Tensor, term: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_add(term)?)
}

pub(in crate::ops) fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok((a * b)?)
}

pub(in crate::ops) fn mul_channels(_shape: &NormShape, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_mul(factor)?)
}

pub(in crate::ops) fn mul_channels_backward(
    _shape: &NormShape,
    x: &Tensor,
    factor: &Tensor,
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    Ok((dy.broadcast_mul(factor)?, (x * dy)?.sum_keepdim((2, 3))?))
}

pub(in crate::ops) fn scale_backward(shape: &NormShape, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<NormGrads> {
    let grads = planes(shape, dy)?;
    let dx = grads.broadcast_mul(&per_channel(weight)?)?.reshape(x.dims())?;
    let dweight = (&grads * planes(shape, x)?)?.sum((0, 2))?;
    Ok(NormGrads { dx, dweight, dbias: grads.sum((0, 2))?, dresidual: None })
}

pub(in crate::ops) fn prelu(shape: &NormShape, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let planes = planes(shape, x)?;
    let sloped = planes.broadcast_mul(&per_channel(weight)?)?;
    Ok(planes.gt(0f32)?.where_cond(&planes, &sloped)?.reshape(x.dims())?)
}

pub(in crate::ops) fn prelu_backward(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (values, grads) = (planes(shape, x)?, planes(shape, dy)?);
    let passes = values.gt(0f32)?;
    let dx = passes.where_cond(&grads, &grads.broadcast_mul(&per_channel(weight)?)?)?;
    let terms = passes.where_cond(&grads.zeros_like()?, &(&values * &grads)?)?;
    Ok((dx.reshape(x.dims())?, terms.sum((0, 2))?))
}

/// Around the mean over channels, in units of the spread; and `1 / spread`.
fn normalised(shape: &NormShape, x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let planes = planes(shape, x)?;
    let centred = planes.broadcast_sub(&planes.mean_keepdim(1)?)?;
    let inv_std = (centred.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?.recip()?;
    Ok((centred.broadcast_mul(&inv_std)?, inv_std))
}

pub(in crate::ops) fn layer_norm(shape: &NormShape, x: &Tensor, affine: Affine<'_>, eps: f64) -> Result<Tensor> {
    let (normalised, _) = normalised(shape, x, eps)?;
    let y = normalised.broadcast_mul(&per_channel(affine.weight)?)?.broadcast_add(&per_channel(affine.bias)?)?;
    Ok(y.reshape(x.dims())?)
}

pub(in crate::ops) fn layer_norm_backward(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
    dy: &Tensor,
) -> Result<NormGrads> {
    let (normalised, inv_std) = normalised(shape, x, eps)?;
    let dy = planes(shape, dy)?;
    let slopes = dy.broadcast_mul(&per_channel(weight)?)?;
    let tilt = normalised.broadcast_mul(&(&slopes * &normalised)?.mean_keepdim(1)?)?;
    let dx = (slopes.broadcast_sub(&slopes.mean_keepdim(1)?)? - tilt)?.broadcast_mul(&inv_std)?;
    let dweight = (&dy * &normalised)?.sum((0, 2))?;
    Ok(NormGrads { dx: dx.reshape(x.dims())?, dweight, dbias: dy.sum((0, 2))?, dresidual: None })
}
