//! Sums and products of two values, the second of which may have axes of 1.
//!
//! Equal shapes, and one number a sample and channel, have kernels; other shapes are rare and are
//! broadcast by Candle on every device, in `f32` where images are `bf16`.

use attar_kernels::NormShape;
use candle_core::{DType, Tensor};
use half::bf16;

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Backend, convert, cpu, dispatch, floats, norm_shape, portable};
use crate::error::Result;

/// How the second operand lies in the first.
enum Part {
    Whole,
    /// `[N, C, 1, 1]` in `[N, C, H, W]`.
    Channels(NormShape),
    Other,
}

impl Part {
    fn of(verb: &str, whole: &[usize], part: &[usize]) -> Result<Self> {
        if whole == part {
            return Ok(Self::Whole);
        }
        let fits = whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| part == whole || *part == 1);
        if !fits || whole.first() != part.first() {
            let problem =
                format!("cannot {verb} {whole:?} and {part:?}: each axis of the second is that of the first, or 1");
            return Err(candle_core::Error::Msg(problem).into());
        }
        Ok(match (whole, part) {
            ([_, channels, _, _], [_, own, 1, 1]) if channels == own => Self::Channels(norm_shape(whole)?),
            _ => Self::Other,
        })
    }
}

/// `a + b`, of the shape of `a`; in `b` an axis behind the first may be 1.
pub fn add(on: Backend, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match Part::of("add", a.dims(), b.dims())? {
        Part::Whole => dispatch!(on, a add(floats(on, a)?, floats(on, b)?)),
        Part::Channels(shape) => dispatch!(on, a add_channels(&shape, floats(on, a)?, floats(on, b)?)),
        Part::Other => narrow(on, &wide(on, a)?.broadcast_add(&wide(on, b)?)?, a),
    }
}

/// Gradients of [`add`]'s two operands, the second of shape `b_shape`.
pub fn add_backward(on: Backend, dy: &Tensor, b_shape: &[usize]) -> Result<(Tensor, Tensor)> {
    let db = match Part::of("add", dy.dims(), b_shape)? {
        Part::Whole => dy.clone(),
        Part::Channels(_) | Part::Other => narrow(on, &summed(&wide(on, floats(on, dy)?)?, b_shape)?, dy)?,
    };
    Ok((dy.clone(), db))
}

/// `x * factor`, of the shape of `x`; in `factor` an axis behind the first may be 1.
pub fn mul(on: Backend, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
    match Part::of("multiply", x.dims(), factor.dims())? {
        Part::Whole => dispatch!(on, x mul(floats(on, x)?, floats(on, factor)?)),
        Part::Channels(shape) => dispatch!(on, x mul_channels(&shape, floats(on, x)?, floats(on, factor)?)),
        Part::Other => narrow(on, &wide(on, x)?.broadcast_mul(&wide(on, factor)?)?, x),
    }
}

/// Gradients of [`mul`]'s two operands.
pub fn mul_backward(on: Backend, x: &Tensor, factor: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    match Part::of("multiply", x.dims(), factor.dims())? {
        Part::Whole => Ok((mul(on, dy, factor)?, mul(on, dy, x)?)),
        Part::Channels(shape) => {
            dispatch!(on, x mul_channels_backward(&shape, floats(on, x)?, floats(on, factor)?, floats(on, dy)?))
        }
        Part::Other => {
            let dfactor = summed(&(wide(on, x)? * wide(on, dy)?)?, factor.dims())?;
            Ok((mul(on, dy, factor)?, narrow(on, &dfactor, factor)?))
        }
    }
}

/// Summed along the axes that are 1 in `shape`.
fn summed(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let axes: Vec<usize> = (0..shape.len()).filter(|&axis| x.dims()[axis] != shape[axis]).collect();
    Ok(if axes.is_empty() { x.clone() } else { x.sum_keepdim(axes)? })
}

/// For Candle's operations, which would add up `bf16` as it is.
fn wide(on: Backend, x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::BF16 { convert(on, x, DType::F32) } else { Ok(floats(on, x)?.clone()) }
}

/// Stored as `like` again.
fn narrow(on: Backend, x: &Tensor, like: &Tensor) -> Result<Tensor> {
    convert(on, x, like.dtype())
}
