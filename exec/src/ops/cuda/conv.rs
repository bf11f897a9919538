//! Convolutions in three directions: by cuDNN where this build has it and it has an algorithm, else
//! by our own kernels.
//!
//! All memory is channels last: `x [N, H, W, C]`, `weight [O, kh, kw, C / groups]`,
//! `y [N, oh, ow, O]`. No direction adds with atomics, so the same operands give the same bits.

use attar_kernels::ConvShape;
use candle_core::{DType, Tensor};
use half::bf16;

#[cfg(feature = "cudnn")]
use super::cudnn;
use super::elementwise::{by_four, code};
use super::launch::{Arg, File, Gpu, Shape, Stored};
use super::memory::{Buffer, Dense, ImageBuffer, last};
use super::norm::Rows;
use super::{depthwise, pool::small};
use crate::error::Result;
use crate::ops::Tail;

/// What is computed from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    /// `y` from `x` and the weight.
    Forward,
    /// `dx` from `dy` and the weight.
    InputGrad,
    /// The weight's gradient from `x` and `dy`.
    WeightGrad,
}

/// One convolution, as addresses. Images are stored in one type; the weight and its gradient are
/// `f32` for our own kernels and of the images' type for cuDNN.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) shape: &'a ConvShape,
    pub(super) direction: Direction,
    /// Whether cuDNN may round operands in `f32` to TF32.
    #[cfg_attr(not(feature = "cudnn"), expect(dead_code))]
    pub(super) tf32: bool,
    pub(super) stored: Stored,
    /// The first operand of the direction, an image.
    pub(super) image: u64,
    /// The second operand and the result, for our own kernels.
    pub(super) ours: [u64; 2],
    /// The same for cuDNN.
    #[cfg_attr(not(feature = "cudnn"), expect(dead_code))]
    pub(super) theirs: [u64; 2],
}

pub(in crate::ops) fn conv2d(
    tf32: bool,
    shape: &ConvShape,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let (gpu, stored) = (Gpu::of(x)?, Stored::of(x)?);
    let (x, weight) = (Dense::image(x, stored)?, Weight::new(weight, stored)?);
    let y = ImageBuffer::new(&gpu, stored, shape.output_len())?;
    let (ours, theirs) = ([weight.exact.address, y.address()], [weight.stored(), y.address()]);
    let job = Job { gpu: &gpu, shape, tf32, direction: Direction::Forward, stored, image: x.address, ours, theirs };
    if !by_cudnn(&job)? {
        by_kernels(&job)?;
    }
    add_tail(&job, &y, bias, tail)?;
    y.image(&gpu, &[shape.batch, shape.out_channels, shape.out_h(), shape.out_w()])
}

/// Bias, residual and activation, in one pass over what the convolution wrote.
fn add_tail(job: &Job<'_>, y: &ImageBuffer, bias: Option<&Tensor>, tail: Tail<'_>) -> Result<()> {
    if bias.is_none() && tail.residual.is_none() && tail.activation.is_none() {
        return Ok(());
    }
    let Job { gpu, shape, stored, .. } = *job;
    let bias = bias.map(Dense::of).transpose()?;
    let residual = tail.residual.map(|residual| Dense::image(residual, stored)).transpose()?;
    let residual_address = residual.as_ref().map_or(0, |residual| residual.address);
    let (rows, channels) = (shape.batch * shape.out_h() * shape.out_w(), shape.out_channels);
    let rows = Rows { rows, channels, four: by_four(channels, &[y.address(), residual_address]) };
    let [count, channels] = rows.args();
    let (bias, kind) = (Dense::address(bias.as_ref()), code(tail.activation).into());
    let args = [rows.four.into(), bias, residual_address.into(), kind, y.into(), count, channels];
    // SAFETY: `tail` declares these arguments, and the buffers are as large as it reads and writes.
    unsafe { gpu.launch_for(stored, File::Elementwise, "tail", rows.each(), &args) }
}

pub(in crate::ops) fn conv2d_input_grad(tf32: bool, shape: &ConvShape, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (gpu, stored) = (Gpu::of(dy)?, Stored::of(dy)?);
    let (dy, weight) = (Dense::image(dy, stored)?, Weight::new(weight, stored)?);
    let dx = ImageBuffer::new(&gpu, stored, shape.input_len())?;
    let (ours, theirs) = ([weight.exact.address, dx.address()], [weight.stored(), dx.address()]);
    let job = Job { gpu: &gpu, shape, tf32, direction: Direction::InputGrad, stored, image: dy.address, ours, theirs };
    if !by_cudnn(&job)? {
        by_kernels(&job)?;
    }
    dx.image(&gpu, &[shape.batch, shape.in_channels, shape.in_h, shape.in_w])
}

/// `f32`, whatever images are stored in.
pub(in crate::ops) fn conv2d_weight_grad(tf32: bool, shape: &ConvShape, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (gpu, stored) = (Gpu::of(x)?, Stored::of(x)?);
    let (x, dy) = (Dense::image(x, stored)?, Dense::image(dy, stored)?);
    let [kh, kw] = shape.kernel;
    let dims = [shape.out_channels, shape.in_channels / shape.groups, kh, kw];
    let exact = Buffer::<f32>::new(&gpu, shape.weight_len())?;
    let narrow = match stored {
        Stored::Bf16 if cfg!(feature = "cudnn") => Some(ImageBuffer::new(&gpu, stored, shape.weight_len())?),
        _ => None,
    };
    let theirs = [dy.address, narrow.as_ref().map_or(exact.address, ImageBuffer::address)];
    let ours = [dy.address, exact.address];
    let job = Job { gpu: &gpu, shape, tf32, direction: Direction::WeightGrad, stored, image: x.address, ours, theirs };
    match (by_cudnn(&job)?, narrow) {
        (true, Some(narrow)) => {
            let made = narrow.image(&gpu, &dims)?.permute((0, 2, 3, 1))?;
            return Ok(made.to_dtype(DType::F32)?.permute((0, 3, 1, 2))?);
        }
        (true, None) => {}
        (false, _) => by_kernels(&job)?,
    }
    exact.image(&gpu, &dims)
}

/// A weight channels last, in `f32` and in the type of the images.
#[derive(Debug)]
struct Weight {
    exact: Dense,
    /// Where it is another.
    narrow: Option<Dense>,
}

impl Weight {
    fn new(weight: &Tensor, stored: Stored) -> Result<Self> {
        let exact = last(weight)?.contiguous()?;
        let narrow = match stored {
            Stored::Bf16 if cfg!(feature = "cudnn") => Some(Dense::typed::<bf16>(&exact.to_dtype(stored.dtype())?)?),
            _ => None,
        };
        Ok(Self { exact: Dense::of(&exact)?, narrow })
    }

    fn stored(&self) -> u64 {
        self.narrow.as_ref().unwrap_or(&self.exact).address
    }
}

/// Whether cuDNN did it.
#[cfg(feature = "cudnn")]
fn by_cudnn(job: &Job<'_>) -> Result<bool> {
    cudnn::run(job)
}

#[cfg(not(feature = "cudnn"))]
fn by_cudnn(_: &Job<'_>) -> Result<bool> {
    Ok(false)
}

/// By our own kernels.
pub(super) fn by_kernels(job: &Job<'_>) -> Result<()> {
    if job.shape.in_channels == job.shape.groups {
        return depthwise::run(job);
    }
    let Job { gpu, shape, stored, image: a, ours: [b, result], .. } = *job;
    let numbers = numbers(shape)?;
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let tiles = |rows: usize, columns: usize| Shape {
        grid: [rows.div_ceil(64) as u32, columns.div_ceil(64) as u32, shape.groups as u32],
        block: [256, 1],
        shared: 0,
    };
    match job.direction {
        Direction::Forward => {
            let grid = tiles(shape.batch * shape.out_h() * shape.out_w(), outputs);
            // SAFETY: `conv_forward` declares these arguments, and the buffers are as large as it
            // reads and writes.
            unsafe {
                gpu.launch_for(stored, File::Conv, "conv_forward", grid, &[numbers, a.into(), b.into(), result.into()])
            }
        }
        Direction::InputGrad => {
            let grid = tiles(shape.batch * shape.in_h * shape.in_w, inputs);
            // SAFETY: `conv_input_grad` declares these arguments, and the buffers are as large as
            // it reads and writes.
            unsafe {
                gpu.launch_for(
                    stored,
                    File::Conv,
                    "conv_input_grad",
                    grid,
                    &[numbers, a.into(), b.into(), result.into()],
                )
            }
        }
        Direction::WeightGrad => {
            let places = inputs * shape.kernel[0] * shape.kernel[1];
            let mut grid = tiles(places, outputs);
            // Enough parts to fill the card, none with less than a few tiles of depth.
            let tiles = grid.grid.iter().map(|&blocks| blocks as usize).product::<usize>();
            let pixels = shape.batch * shape.out_h() * shape.out_w();
            let splits = (512 / tiles).min(pixels.div_ceil(128)).clamp(1, 512);
            grid.grid[2] *= splits as u32;
            let partial = Buffer::<f32>::new(gpu, splits * shape.weight_len())?;
            let args = [numbers, a.into(), b.into(), (&partial).into(), (splits as i32).into()];
            // SAFETY: `conv_weight_grad` declares these arguments, and the buffers are as large as
            // it reads and writes.
            unsafe { gpu.launch_for(stored, File::Conv, "conv_weight_grad", grid, &args) }?;
            let count = shape.weight_len();
            let args = [(&partial).into(), (splits as i32).into(), (count as u64).into(), result.into()];
            // SAFETY: `sum_parts` declares these arguments, and the buffers are as large as it
            // reads and writes.
            unsafe { gpu.launch(File::Conv, "sum_parts", Shape::items(count), &args) }
        }
    }
}

/// `struct Conv` of the kernels.
pub(super) fn numbers(shape: &ConvShape) -> Result<Arg> {
    let &ConvShape { batch, in_channels, in_h, in_w, out_channels, groups, .. } = shape;
    let ([kh, kw], [sh, sw]) = (shape.kernel, shape.stride);
    let ([ph, pw], [dh, dw]) = (shape.padding, shape.dilation);
    let (oh, ow) = (shape.out_h(), shape.out_w());
    let all = [batch, in_channels, in_h, in_w, out_channels, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw, groups];
    Ok(Arg::Conv(small(all)?))
}
