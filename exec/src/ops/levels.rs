//! Values as whole numbers of 8 bits and back, and shares of a whole.

use candle_core::{DType, Tensor};
use half::bf16;

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Backend, cpu, dispatch, fits, floats, norm_shape, portable};
use crate::error::Result;

/// How numbers stand for values, `(number - zero_point) * scale`: both `[1]`.
#[derive(Debug, Clone, Copy)]
pub struct Levels<'a> {
    /// What the next number is larger by.
    pub scale: &'a Tensor,
    /// The number that stands for 0.
    pub zero_point: &'a Tensor,
}

impl Levels<'_> {
    fn fits(&self) -> Result<()> {
        fits("the scale of numbers", self.scale, &[1])?;
        fits("the zero point of numbers", self.zero_point, &[1])
    }
}

/// `clamp(round(x / scale) + zero_point, low, high)`, ties to even.
pub fn quantize(on: Backend, x: &Tensor, levels: Levels<'_>, range: [f32; 2]) -> Result<Tensor> {
    levels.fits()?;
    dispatch!(on, x quantize(floats(on, x)?, levels, range))
}

/// `(x - zero_point) * scale`.
pub fn dequantize(on: Backend, x: &Tensor, levels: Levels<'_>) -> Result<Tensor> {
    levels.fits()?;
    dispatch!(on, x dequantize(floats(on, x)?, levels))
}

/// Gradient of [`dequantize`], `dy * scale`: what it makes around a zero point of 0.
pub fn dequantize_backward(on: Backend, dy: &Tensor, scale: &Tensor) -> Result<Tensor> {
    dequantize(on, dy, Levels { scale, zero_point: &scale.zeros_like()? })
}

/// `exp(x) / sum exp(x)` over the channels of each pixel, or of each row.
pub fn softmax_channels(on: Backend, x: &Tensor) -> Result<Tensor> {
    let shape = norm_shape(x.dims())?;
    dispatch!(on, x softmax_channels(&shape, floats(on, x)?))
}

/// Gradient of [`softmax_channels`] from its answer `y`: `y (dy - sum y dy)`.
pub fn softmax_channels_backward(on: Backend, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let shape = norm_shape(y.dims())?;
    dispatch!(on, y softmax_channels_backward(&shape, floats(on, y)?, floats(on, dy)?))
}
