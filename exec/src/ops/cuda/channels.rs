//! What has parameters along channels: scales, parametric ReLUs, layer norms.

use attar_kernels::NormShape;
use candle_core::Tensor;

use super::launch::{Arg, File, Gpu, Shape, Stored};
use super::memory::{Buffer, Dense, ImageBuffer};
use super::norm::{Rows, channel_blocks};
use crate::error::Result;
use crate::ops::{Affine, Backend, NormGrads, scale};

/// Rows of a block of [32, 8] threads, and blocks that fill a large card; the kernels loop over the
/// rest.
const ROWS: usize = 8;
const BLOCKS: usize = 1 << 14;

pub(in crate::ops) fn scale_backward(shape: &NormShape, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<NormGrads> {
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    let (values, grads) = (Dense::image(x, stored)?, Dense::image(dy, stored)?);
    let (dweight, dbias) = sums(&gpu, stored, shape, [&values, &grads], None)?;
    // No product of matrices: TF32 is no matter.
    let dx = scale(Backend::Cuda { tf32: false }, dy, weight, None)?;
    Ok(NormGrads { dx, dweight, dbias, dresidual: None })
}

pub(in crate::ops) fn prelu(shape: &NormShape, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let (stored, dims) = (Stored::of(x)?, x.dims());
    let (x, weight) = (Dense::image(x, stored)?, Dense::of(weight)?);
    let y = ImageBuffer::new(&gpu, stored, shape.len())?;
    let rows = Rows::of(shape, &[x.address, weight.address, y.address()]);
    let [count, channels] = rows.args();
    let args = [rows.four.into(), (&x).into(), (&weight).into(), (&y).into(), count, channels];
    // SAFETY: `prelu` declares these arguments, and the buffers are as large as it reads and writes.
    unsafe { gpu.launch_for(stored, File::Channels, "prelu", rows.each(), &args) }?;
    y.image(&gpu, dims)
}

pub(in crate::ops) fn prelu_backward(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let gpu = Gpu::of(x)?;
    let (stored, dims) = (Stored::of(x)?, x.dims());
    let (x, dy, weight) = (Dense::image(x, stored)?, Dense::image(dy, stored)?, Dense::of(weight)?);
    let dx = ImageBuffer::new(&gpu, stored, shape.len())?;
    let rows = Rows::of(shape, &[x.address, dy.address, weight.address, dx.address()]);
    let grid = rows.sums();
    let partial = Buffer::<f64>::new(&gpu, grid.grid[1] as usize * shape.channels)?;
    let [count, channels] = rows.args();
    let args = [
        rows.four.into(),
        (&x).into(),
        (&weight).into(),
        (&dy).into(),
        (&dx).into(),
        (&partial).into(),
        count,
        channels,
    ];
    // SAFETY: `prelu_backward` declares these arguments, and the buffers are as large as it reads
    // and writes.
    unsafe { gpu.launch_for(stored, File::Channels, "prelu_backward", grid, &args) }?;
    let dweight = Buffer::<f32>::new(&gpu, shape.channels)?;
    let args = [(&partial).into(), grid.grid[1].into(), channels, (&dweight).into()];
    // SAFETY: `channel_sums_finish` declares these arguments, and the buffers are as large as it
    // reads and writes.
    unsafe { gpu.launch_for(stored, File::Norm, "channel_sums_finish", channel_blocks(shape.channels), &args) }?;
    Ok((dx.image(&gpu, dims)?, dweight.tensor(&gpu, &[shape.channels])))
}

pub(in crate::ops) fn layer_norm(shape: &NormShape, x: &Tensor, affine: Affine<'_>, eps: f64) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let (stored, dims) = (Stored::of(x)?, x.dims());
    let (x, weight, bias) = (Dense::image(x, stored)?, Dense::of(affine.weight)?, Dense::of(affine.bias)?);
    let y = ImageBuffer::new(&gpu, stored, shape.len())?;
    let [count, channels] = counts(shape);
    let args = [(&x).into(), (&weight).into(), (&bias).into(), eps.into(), (&y).into(), count, channels];
    // SAFETY: `layer_norm` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch_for(stored, File::Channels, "layer_norm", rows_of_blocks(shape), &args) }?;
    y.image(&gpu, dims)
}

pub(in crate::ops) fn layer_norm_backward(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
    dy: &Tensor,
) -> Result<NormGrads> {
    let gpu = Gpu::of(x)?;
    let (stored, dims) = (Stored::of(x)?, x.dims());
    let (x, dy, weight) = (Dense::image(x, stored)?, Dense::image(dy, stored)?, Dense::of(weight)?);
    let dx = ImageBuffer::new(&gpu, stored, shape.len())?;
    let of_rows = || Buffer::<f32>::new(&gpu, shape.values_per_channel());
    let (means, inv_stds) = (of_rows()?, of_rows()?);
    let [count, channels] = counts(shape);
    let args = [
        (&x).into(),
        (&weight).into(),
        eps.into(),
        (&dy).into(),
        (&dx).into(),
        (&means).into(),
        (&inv_stds).into(),
        count,
        channels,
    ];
    // SAFETY: `layer_norm_input_grad` declares these arguments, and the buffers are as large as it
    // reads and writes.
    unsafe { gpu.launch_for(stored, File::Channels, "layer_norm_input_grad", rows_of_blocks(shape), &args) }?;
    let (dweight, dbias) = sums(&gpu, stored, shape, [&x, &dy], Some([&means, &inv_stds]))?;
    Ok(NormGrads { dx: dx.image(&gpu, dims)?, dweight, dbias, dresidual: None })
}

/// Gradients of a scale of `x`, normalised by each row's mean and `1 / spread` where there are any,
/// and of a shift.
fn sums(
    gpu: &Gpu,
    stored: Stored,
    shape: &NormShape,
    [x, dy]: [&Dense; 2],
    stats: Option<[&Buffer; 2]>,
) -> Result<(Tensor, Tensor)> {
    let rows = Rows::of(shape, &[x.address, dy.address]);
    let grid = rows.sums();
    let partial = Buffer::<f64>::new(gpu, grid.grid[1] as usize * 2 * shape.channels)?;
    let [count, channels] = rows.args();
    let [means, inv_stds] = stats.map_or([0, 0], |stats| stats.map(|buffer| buffer.address)).map(Arg::from);
    let args = [rows.four.into(), x.into(), dy.into(), means, inv_stds, (&partial).into(), count, channels];
    // SAFETY: `products` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch_for(stored, File::Channels, "products", grid, &args) }?;
    let (dweight, dbias) = (Buffer::<f32>::new(gpu, shape.channels)?, Buffer::<f32>::new(gpu, shape.channels)?);
    let args = [(&partial).into(), grid.grid[1].into(), channels, (&dweight).into(), (&dbias).into()];
    // SAFETY: `slopes_finish` declares these arguments, and the buffers are as large as it reads
    // and writes.
    unsafe { gpu.launch_for(stored, File::Norm, "slopes_finish", channel_blocks(shape.channels), &args) }?;
    Ok((dweight.tensor(gpu, &[shape.channels]), dbias.tensor(gpu, &[shape.channels])))
}

/// A row for each 32 threads.
fn rows_of_blocks(shape: &NormShape) -> Shape {
    let blocks = shape.values_per_channel().div_ceil(ROWS).clamp(1, BLOCKS) as u32;
    Shape { grid: [blocks, 1, 1], block: [32, ROWS as u32], shared: 0 }
}

/// Rows and channels, as kernels take them.
fn counts(shape: &NormShape) -> [Arg; 2] {
    [(shape.values_per_channel() as u64).into(), (shape.channels as i32).into()]
}
