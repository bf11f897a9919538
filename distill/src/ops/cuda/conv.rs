//! Convolutions in three directions: by cuDNN where this build has it and it has an algorithm, else by our own kernels.
//!
//! All memory is channels last: `x [N, H, W, C]`, `weight [O, kh, kw, C / groups]`, `y [N, oh, ow, O]`. No direction adds
//! with atomics, so the same operands give the same bits.

use attar_kernels::ConvShape;
use candle_core::Tensor;

#[cfg(feature = "cudnn")]
use super::cudnn;
use super::launch::{Arg, File, Gpu, Shape};
use super::memory::{Buffer, Dense};
use super::{depthwise, pool::small};
use crate::error::Result;

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

/// One convolution: its operands and its result, in the order of [`Direction`]'s words.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) shape: &'a ConvShape,
    pub(super) direction: Direction,
    pub(super) operands: [&'a Dense; 2],
    pub(super) result: &'a Buffer,
}

pub(in crate::ops) fn conv2d(shape: &ConvShape, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let (x, weight) = (Dense::channels_last(x)?, Dense::channels_last(weight)?);
    let bias = bias.map(Dense::of).transpose()?;
    let y = Buffer::new(&gpu, shape.output_len())?;
    let job = Job { gpu: &gpu, shape, direction: Direction::Forward, operands: [&x, &weight], result: &y };
    if by_cudnn(&job)? {
        if let Some(bias) = &bias {
            let (count, channels) = (shape.output_len(), shape.out_channels as i32);
            let args = [bias.into(), (&y).into(), (count as u64).into(), channels.into()];
            gpu.launch(File::Elementwise, "add_bias", Shape::items(count), &args)?;
        }
    } else {
        ours(&job, bias.as_ref())?;
    }
    y.image(&gpu, &[shape.batch, shape.out_channels, shape.out_h(), shape.out_w()])
}

pub(in crate::ops) fn conv2d_input_grad(shape: &ConvShape, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(dy)?;
    let (dy, weight) = (Dense::channels_last(dy)?, Dense::channels_last(weight)?);
    let dx = Buffer::new(&gpu, shape.input_len())?;
    run(&Job { gpu: &gpu, shape, direction: Direction::InputGrad, operands: [&dy, &weight], result: &dx })?;
    dx.image(&gpu, &[shape.batch, shape.in_channels, shape.in_h, shape.in_w])
}

pub(in crate::ops) fn conv2d_weight_grad(shape: &ConvShape, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let (x, dy) = (Dense::channels_last(x)?, Dense::channels_last(dy)?);
    let dweight = Buffer::new(&gpu, shape.weight_len())?;
    run(&Job { gpu: &gpu, shape, direction: Direction::WeightGrad, operands: [&x, &dy], result: &dweight })?;
    let [kh, kw] = shape.kernel;
    dweight.image(&gpu, &[shape.out_channels, shape.in_channels / shape.groups, kh, kw])
}

fn run(job: &Job<'_>) -> Result<()> {
    if by_cudnn(job)? { Ok(()) } else { ours(job, None) }
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
pub(super) fn ours(job: &Job<'_>, bias: Option<&Dense>) -> Result<()> {
    if job.shape.in_channels == job.shape.groups {
        return depthwise::run(job, bias);
    }
    let Job { gpu, shape, operands: [a, b], result, .. } = *job;
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
            let args = [numbers, a.into(), b.into(), Dense::address(bias), result.into()];
            gpu.launch(File::Conv, "conv_forward", grid, &args)
        }
        Direction::InputGrad => {
            let grid = tiles(shape.batch * shape.in_h * shape.in_w, inputs);
            gpu.launch(File::Conv, "conv_input_grad", grid, &[numbers, a.into(), b.into(), result.into()])
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
            gpu.launch(File::Conv, "conv_weight_grad", grid, &args)?;
            let count = shape.weight_len();
            let args = [(&partial).into(), (splits as i32).into(), (count as u64).into(), result.into()];
            gpu.launch(File::Conv, "sum_parts", Shape::items(count), &args)
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
