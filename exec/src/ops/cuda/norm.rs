//! Batch norm with the addition and the activation behind it, and sums per channel.

use attar_kernels::NormShape;
use attar_models::Activation;
use candle_core::Tensor;

use super::elementwise::{by_four, code};
use super::launch::{Arg, File, Gpu, Shape, Stored, failed};
use super::memory::{Buffer, Dense, ImageBuffer};
use crate::error::Result;
use crate::ops::{Affine, BatchStats, NormGrads, Tail};

/// Blocks that fill a large card a few times over.
const BLOCKS: usize = 1024;

/// How threads are laid over `[rows, channels]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) rows: usize,
    pub(super) channels: usize,
    /// Four channels a thread.
    pub(super) four: bool,
}

impl Rows {
    pub(super) fn of(shape: &NormShape, addresses: &[u64]) -> Self {
        let four = by_four(shape.channels, addresses);
        Self { rows: shape.values_per_channel(), channels: shape.channels, four }
    }

    /// Threads of a block along channels and along rows, both powers of two, 256 together; and
    /// blocks along channels.
    fn threads(self) -> ([usize; 2], usize) {
        let packs = if self.four { self.channels / 4 } else { self.channels };
        let wide = packs.next_power_of_two().min(32);
        ([wide, 256 / wide], packs.div_ceil(wide))
    }

    /// For kernels that add up rows; the second number of the grid is how many partial sums a
    /// channel gets.
    pub(super) fn sums(self) -> Shape {
        let ([wide, high], across) = self.threads();
        let splits = self.rows.div_ceil(16 * high).min((BLOCKS / across).max(1));
        let pack = if self.four { 4 } else { 1 };
        let shared = (wide * high * pack * size_of::<f64>()) as u32;
        Shape { grid: [across as u32, splits as u32, 1], block: [wide as u32, high as u32], shared }
    }

    /// For kernels that go over rows.
    pub(super) fn each(self) -> Shape {
        let ([wide, high], across) = self.threads();
        let down = self.rows.div_ceil(4 * high).clamp(1, (8 * BLOCKS / across).max(1));
        Shape { grid: [across as u32, down as u32, 1], block: [wide as u32, high as u32], shared: 0 }
    }

    /// Rows and channels, as kernels take them.
    pub(super) fn args(self) -> [Arg; 2] {
        [(self.rows as u64).into(), (self.channels as i32).into()]
    }
}

/// One block of 128 threads a channel.
pub(super) fn channel_blocks(channels: usize) -> Shape {
    Shape { grid: [channels as u32, 1, 1], block: [128, 1], shared: 0 }
}

pub(in crate::ops) fn channel_sums(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    let x = Dense::image(x, stored)?;
    let rows = Rows::of(shape, &[x.address]);
    let grid = rows.sums();
    let partial = Buffer::<f64>::new(&gpu, grid.grid[1] as usize * shape.channels)?;
    let [count, channels] = rows.args();
    // SAFETY: `channel_sums` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe {
        gpu.launch_for(
            stored,
            File::Norm,
            "channel_sums",
            grid,
            &[rows.four.into(), (&x).into(), (&partial).into(), count, channels],
        )
    }?;
    let sums = Buffer::<f32>::new(&gpu, shape.channels)?;
    let args = [(&partial).into(), grid.grid[1].into(), channels, (&sums).into()];
    // SAFETY: `channel_sums_finish` declares these arguments, and the buffers are as large as it
    // reads and writes.
    unsafe { gpu.launch_for(stored, File::Norm, "channel_sums_finish", channel_blocks(shape.channels), &args) }?;
    Ok(sums.tensor(&gpu, &[shape.channels]))
}

pub(in crate::ops) fn batch_norm_train(
    shape: &NormShape,
    input: &Tensor,
    affine: Affine<'_>,
    eps: f64,
    tail: Tail<'_>,
) -> Result<(Tensor, BatchStats)> {
    let gpu = Gpu::of(input)?;
    let stored = Stored::of(input)?;
    let x = Dense::image(input, stored)?;
    let rows = Rows::of(shape, &[x.address]);
    let grid = rows.sums();
    let partial = Buffer::<f64>::new(&gpu, grid.grid[1] as usize * 2 * shape.channels)?;
    let [count, channels] = rows.args();
    // SAFETY: `moments` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe {
        gpu.launch_for(
            stored,
            File::Norm,
            "moments",
            grid,
            &[rows.four.into(), (&x).into(), (&partial).into(), count, channels],
        )
    }?;
    let of_channels = || Buffer::<f32>::new(&gpu, shape.channels);
    let (mean, inv_std, unbiased) = (of_channels()?, of_channels()?, of_channels()?);
    let args = [
        (&partial).into(),
        grid.grid[1].into(),
        (&x).into(),
        eps.into(),
        count,
        channels,
        (&mean).into(),
        (&inv_std).into(),
        (&unbiased).into(),
    ];
    // SAFETY: `moments_finish` declares these arguments, and the buffers are as large as it reads
    // and writes.
    unsafe { gpu.launch_for(stored, File::Norm, "moments_finish", channel_blocks(shape.channels), &args) }?;
    // A spread that is `1 / std` already has the eps -1.
    let y = apply((&gpu, stored), shape, input.dims(), &x, [mean.address, inv_std.address], -1.0, affine, tail)?;
    let stats = |buffer: Buffer| buffer.tensor(&gpu, &[shape.channels]);
    Ok((y, BatchStats { mean: stats(mean), inv_std: stats(inv_std), unbiased_variance: stats(unbiased) }))
}

pub(in crate::ops) fn batch_norm_eval(
    shape: &NormShape,
    input: &Tensor,
    affine: Affine<'_>,
    (mean, variance): (&Tensor, &Tensor),
    eps: f64,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let gpu = Gpu::of(input)?;
    let stored = Stored::of(input)?;
    let (x, mean, variance) = (Dense::image(input, stored)?, Dense::of(mean)?, Dense::of(variance)?);
    if eps < 0.0 {
        return Err(failed("batch norm", format_args!("eps {eps}, expected 0 or above")));
    }
    apply((&gpu, stored), shape, input.dims(), &x, [mean.address, variance.address], eps, affine, tail)
}

#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
fn apply(
    (gpu, stored): (&Gpu, Stored),
    shape: &NormShape,
    dims: &[usize],
    x: &Dense,
    [mean, spread]: [u64; 2],
    eps: f64,
    affine: Affine<'_>,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let (weight, bias) = (Dense::of(affine.weight)?, Dense::of(affine.bias)?);
    let residual = tail.residual.map(|residual| Dense::image(residual, stored)).transpose()?;
    let y = ImageBuffer::new(gpu, stored, shape.len())?;
    let residual_address = residual.as_ref().map_or(0, |residual| residual.address);
    let addresses = [x.address, mean, spread, weight.address, bias.address, residual_address, y.address()];
    let rows = Rows::of(shape, &addresses);
    let [count, channels] = rows.args();
    let args = [
        rows.four.into(),
        x.into(),
        mean.into(),
        spread.into(),
        eps.into(),
        (&weight).into(),
        (&bias).into(),
        Dense::address(residual.as_ref()),
        code(tail.activation).into(),
        (&y).into(),
        count,
        channels,
    ];
    // SAFETY: `norm_apply` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch_for(stored, File::Norm, "norm_apply", rows.each(), &args) }?;
    y.image(gpu, dims)
}

pub(in crate::ops) fn batch_norm_backward(
    shape: &NormShape,
    input: &Tensor,
    weight: &Tensor,
    stats: &BatchStats,
    activated: Option<(&Tensor, Activation)>,
    dy: &Tensor,
    wants_residual: bool,
) -> Result<NormGrads> {
    let gpu = Gpu::of(input)?;
    let stored = Stored::of(input)?;
    let (x, dy, weight) = (Dense::image(input, stored)?, Dense::image(dy, stored)?, Dense::of(weight)?);
    let (mean, inv_std) = (Dense::of(&stats.mean)?, Dense::of(&stats.inv_std)?);
    let y = activated.map(|(y, _)| Dense::image(y, stored)).transpose()?;
    let kind: Arg = code(activated.map(|(_, activation)| activation)).into();
    let y_address = y.as_ref().map_or(0, |y| y.address);
    let mut addresses = vec![x.address, dy.address, weight.address, mean.address, inv_std.address, y_address];
    let rows = Rows::of(shape, &addresses);
    let grid = rows.sums();
    let partial = Buffer::<f64>::new(&gpu, grid.grid[1] as usize * 2 * shape.channels)?;
    let [count, channels] = rows.args();
    let args = [
        rows.four.into(),
        (&x).into(),
        (&mean).into(),
        (&inv_std).into(),
        y_address.into(),
        kind,
        (&dy).into(),
        (&partial).into(),
        count,
        channels,
    ];
    // SAFETY: `slopes` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch_for(stored, File::Norm, "slopes", grid, &args) }?;
    let (dweight, dbias) = (Buffer::<f32>::new(&gpu, shape.channels)?, Buffer::<f32>::new(&gpu, shape.channels)?);
    let args = [(&partial).into(), grid.grid[1].into(), channels, (&dweight).into(), (&dbias).into()];
    // SAFETY: `slopes_finish` declares these arguments, and the buffers are as large as it reads
    // and writes.
    unsafe { gpu.launch_for(stored, File::Norm, "slopes_finish", channel_blocks(shape.channels), &args) }?;

    let dx = ImageBuffer::new(&gpu, stored, shape.len())?;
    let dresidual = wants_residual.then(|| ImageBuffer::new(&gpu, stored, shape.len())).transpose()?;
    let dresidual_address = dresidual.as_ref().map_or(0, ImageBuffer::address);
    addresses.extend([dweight.address, dbias.address, dx.address(), dresidual_address]);
    let rows = Rows::of(shape, &addresses);
    let args = [
        rows.four.into(),
        (&x).into(),
        (&mean).into(),
        (&inv_std).into(),
        (&weight).into(),
        y_address.into(),
        kind,
        (&dy).into(),
        (&dweight).into(),
        (&dbias).into(),
        (&dx).into(),
        dresidual_address.into(),
        count,
        channels,
    ];
    // SAFETY: `norm_input_grad` declares these arguments, and the buffers are as large as it reads
    // and writes.
    unsafe { gpu.launch_for(stored, File::Norm, "norm_input_grad", rows.each(), &args) }?;
    Ok(NormGrads {
        dx: dx.image(&gpu, input.dims())?,
        dweight: dweight.tensor(&gpu, &[shape.channels]),
        dbias: dbias.tensor(&gpu, &[shape.channels]),
        dresidual: dresidual.map(|buffer| buffer.image(&gpu, input.dims())).transpose()?,
    })
}
