//! Values as whole numbers and back, shares of a whole, by the kernels.

use attar_kernels as kernels;
use attar_kernels::NormShape;
use candle_core::Tensor;

use super::{Stored, channels_first, image, tensor, with};
use crate::error::Result;
use crate::ops::Levels;

pub(in crate::ops) fn quantize<T: Stored>(x: &Tensor, levels: Levels<'_>, range: [f32; 2]) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(x.elem_count());
    with([&image(x)?], [], [levels.scale, levels.zero_point], |[x], [], [scale, zero_point]| {
        let levels = kernels::Levels { scale: scale[0], zero_point: zero_point[0] };
        kernels::quantize(levels, range, x, &mut y);
    })?;
    channels_first(y, x.dims())
}

pub(in crate::ops) fn dequantize<T: Stored>(x: &Tensor, levels: Levels<'_>) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(x.elem_count());
    with([&image(x)?], [], [levels.scale, levels.zero_point], |[x], [], [scale, zero_point]| {
        kernels::dequantize(kernels::Levels { scale: scale[0], zero_point: zero_point[0] }, x, &mut y);
    })?;
    channels_first(y, x.dims())
}

pub(in crate::ops) fn quantize_backward<T: Stored>(
    x: &Tensor,
    levels: Levels<'_>,
    range: [f32; 2],
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    backward::<T>(x, levels, dy, |levels, x, dy, dx| kernels::quantize_backward(levels, range, x, dy, dx))
}

pub(in crate::ops) fn dequantize_backward<T: Stored>(
    x: &Tensor,
    levels: Levels<'_>,
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    backward::<T>(x, levels, dy, kernels::dequantize_backward::<T>)
}

/// Gradients of `x` and of the scale.
fn backward<T: Stored>(
    x: &Tensor,
    levels: Levels<'_>,
    dy: &Tensor,
    kernel: impl FnOnce(kernels::Levels, &[T], &[T], &mut [T]) -> f64,
) -> Result<(Tensor, Tensor)> {
    let (mut dx, mut dscale) = (kernels::unwritten::<T>(x.elem_count()), 0.0);
    let params = [levels.scale, levels.zero_point];
    with([&image(x)?, &image(dy)?], [], params, |[x, dy], [], [scale, zero_point]| {
        dscale = kernel(kernels::Levels { scale: scale[0], zero_point: zero_point[0] }, x, dy, &mut dx);
    })?;
    Ok((channels_first(dx, x.dims())?, tensor(vec![dscale as f32], &[1])?))
}

pub(in crate::ops) fn softmax_channels<T: Stored>(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.len());
    with([&image(x)?], [], [], |[x], [], []| kernels::softmax_channels(shape, x, &mut y))?;
    channels_first(y, x.dims())
}

pub(in crate::ops) fn softmax_channels_backward<T: Stored>(
    shape: &NormShape,
    y: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<T>(shape.len());
    with([&image(y)?, &image(dy)?], [], [], |[y, dy], [], []| {
        kernels::softmax_channels_backward(shape, y, dy, &mut dx);
    })?;
    channels_first(dx, y.dims())
}
