//! Values as whole numbers and back, shares of a whole.

use attar_kernels::NormShape;
use candle_core::{DType, Tensor};

use super::launch::{Arg, File, Gpu, Shape, Stored};
use super::memory::{Dense, ImageBuffer};
use super::pool::small;
use crate::error::Result;
use crate::ops::{Levels, portable};

pub(in crate::ops) fn quantize(x: &Tensor, levels: Levels<'_>, [low, high]: [f32; 2]) -> Result<Tensor> {
    each("quantize", x, levels, &[low.into(), high.into()])
}

pub(in crate::ops) fn dequantize(x: &Tensor, levels: Levels<'_>) -> Result<Tensor> {
    each("dequantize", x, levels, &[])
}

/// Composed of Candle's operations, in 32 bits whatever images are stored as.
pub(in crate::ops) fn quantize_backward(
    x: &Tensor,
    levels: Levels<'_>,
    range: [f32; 2],
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    in_floats(x, dy, |x, dy| portable::quantize_backward(x, levels, range, dy))
}

/// As [`quantize_backward`].
pub(in crate::ops) fn dequantize_backward(x: &Tensor, levels: Levels<'_>, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    in_floats(x, dy, |x, dy| portable::dequantize_backward(x, levels, dy))
}

fn in_floats(
    x: &Tensor,
    dy: &Tensor,
    gradients: impl FnOnce(&Tensor, &Tensor) -> Result<(Tensor, Tensor)>,
) -> Result<(Tensor, Tensor)> {
    let (dx, dscale) = gradients(&x.to_dtype(DType::F32)?, &dy.to_dtype(DType::F32)?)?;
    Ok((dx.to_dtype(x.dtype())?, dscale))
}

fn each(kernel: &str, x: &Tensor, levels: Levels<'_>, numbers: &[Arg]) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    let (dims, count) = (x.dims(), x.elem_count());
    let (x, scale, zero_point) = (Dense::image(x, stored)?, Dense::of(levels.scale)?, Dense::of(levels.zero_point)?);
    let y = ImageBuffer::new(&gpu, stored, count)?;
    let operands: [Arg; 5] = [(&x).into(), (&y).into(), (count as u64).into(), (&scale).into(), (&zero_point).into()];
    // SAFETY: the two callers name kernels that take these arguments and then their numbers; `x` and `y` hold `count`
    // elements, scale and zero point one.
    unsafe {
        gpu.launch_for(stored, File::Moves, kernel, Shape::items(count), &[operands.as_slice(), numbers].concat())
    }?;
    y.image(&gpu, dims)
}

pub(in crate::ops) fn softmax_channels(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    shares("softmax_channels", shape, x.dims(), &[x])
}

pub(in crate::ops) fn softmax_channels_backward(shape: &NormShape, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    shares("softmax_channels_backward", shape, y.dims(), &[y, dy])
}

/// A block of 128 threads a row of channels.
fn shares(kernel: &str, shape: &NormShape, dims: &[usize], inputs: &[&Tensor]) -> Result<Tensor> {
    let gpu = Gpu::of(inputs[0])?;
    let stored = Stored::of(inputs[0])?;
    let dense = inputs.iter().map(|x| Dense::image(x, stored)).collect::<Result<Vec<_>>>()?;
    let y = ImageBuffer::new(&gpu, stored, shape.len())?;
    let [rows, channels] = small([shape.batch * shape.positions, shape.channels])?;
    let grid = Shape { grid: [rows.cast_unsigned(), 1, 1], block: [128, 1], shared: 0 };
    let args: Vec<Arg> = dense.iter().map(Arg::from).chain([(&y).into(), channels.into()]).collect();
    // SAFETY: the two callers name kernels that take these arguments, and the buffers are as large as they read and write.
    unsafe { gpu.launch_for(stored, File::Softmax, kernel, grid, &args) }?;
    y.image(&gpu, dims)
}
