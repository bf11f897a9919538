//! Pooling over windows and over whole images.

use attar_kernels::{NormShape, PoolShape};
use candle_core::Tensor;

use super::launch::{Arg, File, Gpu, Shape, Stored, failed};
use super::memory::{Buffer, Dense, ImageBuffer};
use crate::error::Result;

pub(in crate::ops) fn max_pool2d(shape: &PoolShape, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let gpu = Gpu::of(x)?;
    let (pool, count) = (numbers(shape)?, shape.output_len());
    let stored = Stored::of(x)?;
    let x = Dense::image(x, stored)?;
    let (y, argmax) = (ImageBuffer::new(&gpu, stored, count)?, Buffer::<u32>::new(&gpu, count)?);
    let args = [pool, (&x).into(), (&y).into(), (&argmax).into()];
    // SAFETY: `max_pool` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch_for(stored, File::Pool, "max_pool", Shape::items(count), &args) }?;
    let dims = outputs(shape);
    Ok((y.image(&gpu, &dims)?, argmax.image(&gpu, &dims)?))
}

pub(in crate::ops) fn max_pool2d_backward(shape: &PoolShape, dy: &Tensor, argmax: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(dy)?;
    let (pool, count) = (numbers(shape)?, shape.input_len());
    let stored = Stored::of(dy)?;
    let (dy, argmax) = (Dense::image(dy, stored)?, Dense::channels_last_indices(argmax)?);
    let dx = ImageBuffer::new(&gpu, stored, count)?;
    let args = [pool, (&dy).into(), (&argmax).into(), (&dx).into()];
    // SAFETY: `max_pool_backward` declares these arguments, and the buffers are as large as it
    // reads and writes.
    unsafe { gpu.launch_for(stored, File::Pool, "max_pool_backward", Shape::items(count), &args) }?;
    dx.image(&gpu, &inputs(shape))
}

pub(in crate::ops) fn avg_pool2d(shape: &PoolShape, x: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let (pool, count) = (numbers(shape)?, shape.output_len());
    let stored = Stored::of(x)?;
    let x = Dense::image(x, stored)?;
    let y = ImageBuffer::new(&gpu, stored, count)?;
    // SAFETY: `avg_pool` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch_for(stored, File::Pool, "avg_pool", Shape::items(count), &[pool, (&x).into(), (&y).into()]) }?;
    y.image(&gpu, &outputs(shape))
}

pub(in crate::ops) fn avg_pool2d_backward(shape: &PoolShape, dy: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(dy)?;
    let (pool, count) = (numbers(shape)?, shape.input_len());
    let stored = Stored::of(dy)?;
    let dy = Dense::image(dy, stored)?;
    let dx = ImageBuffer::new(&gpu, stored, count)?;
    // SAFETY: `avg_pool_backward` declares these arguments, and the buffers are as large as it
    // reads and writes.
    unsafe {
        gpu.launch_for(
            stored,
            File::Pool,
            "avg_pool_backward",
            Shape::items(count),
            &[pool, (&dy).into(), (&dx).into()],
        )
    }?;
    dx.image(&gpu, &inputs(shape))
}

pub(in crate::ops) fn global_avg_pool(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    let x = Dense::image(x, stored)?;
    let y = ImageBuffer::new(&gpu, stored, shape.batch * shape.channels)?;
    if shape.batch > 65_535 {
        return Err(failed(
            "global average pooling",
            format_args!("a batch of {}, expected at most 65535", shape.batch),
        ));
    }
    let grid = Shape { grid: [shape.channels.div_ceil(32) as u32, shape.batch as u32, 1], block: [32, 8], shared: 0 };
    let args = [(&x).into(), (&y).into(), (shape.positions as i32).into(), (shape.channels as i32).into()];
    // SAFETY: `global_avg_pool` declares these arguments, and the buffers are as large as it reads
    // and writes.
    unsafe { gpu.launch_for(stored, File::Pool, "global_avg_pool", grid, &args) }?;
    y.image(&gpu, &[shape.batch, shape.channels])
}

pub(in crate::ops) fn global_avg_pool_backward(shape: &NormShape, dy: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(dy)?;
    let stored = Stored::of(dy)?;
    let dy = Dense::image(dy, stored)?;
    let dx = ImageBuffer::new(&gpu, stored, shape.len())?;
    let [positions, channels] = [shape.positions, shape.channels].map(|number| Arg::from(number as i32));
    let args = [(&dy).into(), (&dx).into(), (shape.len() as u64).into(), positions, channels];
    // SAFETY: `global_avg_pool_backward` declares these arguments, and the buffers are as large as
    // it reads and writes.
    unsafe { gpu.launch_for(stored, File::Pool, "global_avg_pool_backward", Shape::items(shape.len()), &args) }?;
    dx.image(&gpu, &[shape.batch, shape.channels, shape.positions])
}

pub(in crate::ops) fn mul_channels(shape: &NormShape, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
    with_channels("mul_channels", shape, x, factor)
}

pub(in crate::ops) fn add_channels(shape: &NormShape, x: &Tensor, term: &Tensor) -> Result<Tensor> {
    with_channels("add_channels", shape, x, term)
}

fn with_channels(kernel: &str, shape: &NormShape, x: &Tensor, own: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    let dims = x.dims();
    let (x, own) = (Dense::image(x, stored)?, Dense::image(own, stored)?);
    let y = ImageBuffer::new(&gpu, stored, shape.len())?;
    let [positions, channels] = [shape.positions, shape.channels].map(|number| Arg::from(number as i32));
    let args = [(&x).into(), (&own).into(), (&y).into(), (shape.len() as u64).into(), positions, channels];
    // SAFETY: the two callers name kernels that declare these arguments, and the buffers are as
    // large as they read and write.
    unsafe { gpu.launch_for(stored, File::Pool, kernel, Shape::items(shape.len()), &args) }?;
    y.image(&gpu, dims)
}

pub(in crate::ops) fn mul_channels_backward(
    shape: &NormShape,
    x: &Tensor,
    factor: &Tensor,
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let dx = mul_channels(shape, dy, factor)?;
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    if shape.batch > 65_535 {
        return Err(failed(
            "the gradient of a factor",
            format_args!("a batch of {}, expected at most 65535", shape.batch),
        ));
    }
    let (x, dy) = (Dense::image(x, stored)?, Dense::image(dy, stored)?);
    let dfactor = ImageBuffer::new(&gpu, stored, shape.batch * shape.channels)?;
    let grid = Shape { grid: [shape.channels.div_ceil(32) as u32, shape.batch as u32, 1], block: [32, 8], shared: 0 };
    let [positions, channels] = [shape.positions, shape.channels].map(|number| Arg::from(number as i32));
    let args = [(&x).into(), (&dy).into(), (&dfactor).into(), positions, channels];
    // SAFETY: `factor_grad` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch_for(stored, File::Pool, "factor_grad", grid, &args) }?;
    Ok((dx, dfactor.image(&gpu, factor.dims())?))
}

fn inputs(shape: &PoolShape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.in_h, shape.in_w]
}

fn outputs(shape: &PoolShape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.out_h(), shape.out_w()]
}

/// `struct Pool` of the kernels.
fn numbers(shape: &PoolShape) -> Result<Arg> {
    let (&PoolShape { batch, channels, in_h, in_w, .. }, [kh, kw]) = (shape, shape.kernel);
    let ([sh, sw], [ph, pw], [eh, ew]) = (shape.stride, shape.padding, shape.padding_end);
    let (out_h, out_w, counted) = (shape.out_h(), shape.out_w(), usize::from(shape.count_include_pad));
    let all = [batch, channels, in_h, in_w, out_h, out_w, kh, kw, sh, sw, ph, pw, eh, ew, counted];
    Ok(Arg::Pool(small(all)?))
}

/// Numbers as the kernels hold them.
pub(super) fn small<const N: usize>(all: [usize; N]) -> Result<[i32; N]> {
    let mut numbers = [0; N];
    for (number, value) in numbers.iter_mut().zip(all) {
        *number = i32::try_from(value).map_err(|_| failed("a shape", format_args!("{value} is too large a number")))?;
    }
    Ok(numbers)
}
