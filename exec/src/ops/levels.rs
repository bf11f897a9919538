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

/// Gradients of [`quantize`] with rounding passed straight through: of `x`, `dy / scale` where
/// `low < x / scale + zero_point < high`, else 0; and of the scale, `[1]`.
pub fn quantize_backward(
    on: Backend,
    x: &Tensor,
    levels: Levels<'_>,
    range: [f32; 2],
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    levels.fits()?;
    fits("the gradient of numbers", dy, x.dims())?;
    dispatch!(on, x quantize_backward(floats(on, x)?, levels, range, floats(on, dy)?))
}

/// Gradients of [`dequantize`]: of `x`, `dy * scale`; and of the scale, `[1]`, `sum dy (x - zero_point)`. Those of a quantiser
/// and of this one behind it, of the same scale, add up to those of learned step sizes (LSQ: Esser et al. 2020, arXiv
/// 1902.08153, equation 3).
pub fn dequantize_backward(on: Backend, x: &Tensor, levels: Levels<'_>, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    levels.fits()?;
    fits("the gradient of values", dy, x.dims())?;
    dispatch!(on, x dequantize_backward(floats(on, x)?, levels, floats(on, dy)?))
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
