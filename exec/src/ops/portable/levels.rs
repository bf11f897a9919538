//! Values as whole numbers and back, shares of a whole, of Candle's operations.

use attar_kernels::NormShape;
use candle_core::Tensor;

use crate::error::Result;
use crate::ops::Levels;

pub(in crate::ops) fn quantize(x: &Tensor, levels: Levels<'_>, [low, high]: [f32; 2]) -> Result<Tensor> {
    let (scale, zero_point) = alike(x, levels)?;
    let rounded = ties_to_even(&x.broadcast_div(&scale)?)?;
    Ok(rounded.broadcast_add(&zero_point)?.clamp(low, high)?)
}

pub(in crate::ops) fn dequantize(x: &Tensor, levels: Levels<'_>) -> Result<Tensor> {
    let (scale, zero_point) = alike(x, levels)?;
    Ok(x.broadcast_sub(&zero_point)?.broadcast_mul(&scale)?)
}

pub(in crate::ops) fn quantize_backward(
    x: &Tensor,
    levels: Levels<'_>,
    [low, high]: [f32; 2],
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (scale, zero_point) = alike(x, levels)?;
    let steps = x.broadcast_div(&scale)?;
    let number = steps.broadcast_add(&zero_point)?;
    let inside = (number.gt(f64::from(low))? * number.lt(f64::from(high))?)?;
    let dx = inside.where_cond(&dy.broadcast_div(&scale)?, &dy.zeros_like()?)?;
    let dscale = (&dx * steps)?.sum_all()?.neg()?.reshape(1)?;
    Ok((dx, dscale))
}

pub(in crate::ops) fn dequantize_backward(x: &Tensor, levels: Levels<'_>, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let (scale, zero_point) = alike(x, levels)?;
    let dscale = (dy * x.broadcast_sub(&zero_point)?)?.sum_all()?.reshape(1)?;
    Ok((dy.broadcast_mul(&scale)?, dscale))
}

/// Scale and zero point of as many axes as `x`.
fn alike(x: &Tensor, levels: Levels<'_>) -> Result<(Tensor, Tensor)> {
    let axes = vec![1; x.rank()];
    Ok((levels.scale.reshape(axes.as_slice())?, levels.zero_point.reshape(axes)?))
}

/// The nearest whole number, of two the even one. Candle's own `round` takes the one away from zero.
fn ties_to_even(x: &Tensor) -> Result<Tensor> {
    let below = x.floor()?;
    let above = (&below + 1.0)?;
    let part = (x - &below)?;
    let is_odd = (&below - ((&below * 0.5)?.floor()? * 2.0)?)?.gt(0.5f32)?;
    let up = (part.gt(0.5f32)? + (part.eq(0.5f32)? * is_odd)?)?;
    Ok(up.gt(0u8)?.where_cond(&above, &below)?)
}

pub(in crate::ops) fn softmax_channels(_: &NormShape, x: &Tensor) -> Result<Tensor> {
    let shares = x.broadcast_sub(&x.max_keepdim(1)?)?.exp()?;
    Ok(shares.broadcast_div(&shares.sum_keepdim(1)?)?)
}

pub(in crate::ops) fn softmax_channels_backward(_: &NormShape, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let mean = (y * dy)?.sum_keepdim(1)?;
    Ok((y * dy.broadcast_sub(&mean)?)?)
}
