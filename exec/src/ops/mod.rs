//! Operations on Candle tensors, forward and backward: kernels on the CPU, cuDNN and kernels of our
//! own on CUDA.
//!
//! All tensors are `f32` (images may be `bf16`; [`Backend::Composed`] takes `f64`), images
//! `[N, C, H, W]`. Nothing here is recorded by Candle's autograd.

pub mod augment;
mod backend;
mod broadcast;
mod channels;
mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod fused;
mod levels;
mod moves;
mod pool;
mod portable;
pub mod softmax;

use attar_kernels::{ConvShape, LinearShape, NormShape, ShapeError};
use attar_measures::random::Stream;
use attar_models::Activation;
use attar_models::op::Conv2d;
use candle_core::{DType, Device, Tensor};
use half::bf16;

use crate::error::{Error, Result};

pub use backend::Backend;
pub use broadcast::{add, add_backward, mul, mul_backward};
pub use channels::{layer_norm, layer_norm_backward, prelu, prelu_backward, scale, scale_backward};
pub use levels::{
    Levels, dequantize, dequantize_backward, quantize, quantize_backward, softmax_channels, softmax_channels_backward,
};
pub use moves::{
    channel_shuffle, channel_shuffle_backward, concat, concat_backward, pad2d, pad2d_backward, slice_channels,
    slice_channels_backward,
};
pub use pool::{
    avg_pool2d, avg_pool2d_backward, global_avg_pool, global_avg_pool_backward, max_pool2d, max_pool2d_backward,
};

/// Calls the operation of a backend; on the CPU, the one for what images are stored as unless it is
/// for `f32`. A `product` on CUDA is told whether it may round to TF32.
macro_rules! dispatch {
    ($on:expr, product f32 $name:ident($($argument:expr),* $(,)?)) => {
        match $on {
            Backend::Cpu => cpu::$name($($argument),*),
            #[cfg(feature = "cuda")]
            Backend::Cuda { tf32 } => cuda::$name(tf32, $($argument),*),
            Backend::Composed => portable::$name($($argument),*),
        }
    };
    ($on:expr, product $x:ident $name:ident($($argument:expr),* $(,)?)) => {
        match $on {
            Backend::Cpu if $x.dtype() == DType::BF16 => cpu::$name::<bf16>($($argument),*),
            Backend::Cpu => cpu::$name::<f32>($($argument),*),
            #[cfg(feature = "cuda")]
            Backend::Cuda { tf32 } => cuda::$name(tf32, $($argument),*),
            Backend::Composed => portable::$name($($argument),*),
        }
    };
    ($on:expr, f32 $name:ident($($argument:expr),* $(,)?)) => {
        match $on {
            Backend::Cpu => cpu::$name($($argument),*),
            #[cfg(feature = "cuda")]
            Backend::Cuda { .. } => cuda::$name($($argument),*),
            Backend::Composed => portable::$name($($argument),*),
        }
    };
    ($on:expr, $x:ident $name:ident($($argument:expr),* $(,)?)) => {
        match $on {
            Backend::Cpu if $x.dtype() == DType::BF16 => cpu::$name::<bf16>($($argument),*),
            Backend::Cpu => cpu::$name::<f32>($($argument),*),
            #[cfg(feature = "cuda")]
            Backend::Cuda { .. } => cuda::$name($($argument),*),
            Backend::Composed => portable::$name($($argument),*),
        }
    };
}

use dispatch;

/// Scale and shift of a norm, each `[C]`.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// What is multiplied by.
    pub weight: &'a Tensor,
    /// What is added.
    pub bias: &'a Tensor,
}

/// What a fused operation does at its end: adds, then activates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tail<'a> {
    /// Added before the activation, of the shape of the result.
    pub residual: Option<&'a Tensor>,
    /// Applied last.
    pub activation: Option<Activation>,
}

impl Tail<'_> {
    /// Kernels read the residual as if it had the shape of what it is added to.
    fn fits(&self, shape: &[usize]) -> Result<()> {
        self.residual.map_or(Ok(()), |residual| fits("a residual", residual, shape))
    }
}

impl Affine<'_> {
    fn fits(&self, channels: usize) -> Result<()> {
        fits("the scale of a norm", self.weight, &[channels])?;
        fits("the shift of a norm", self.bias, &[channels])
    }
}

/// Statistics of a batch, each `[C]`.
#[derive(Debug, Clone)]
pub struct BatchStats {
    /// Mean.
    pub mean: Tensor,
    /// `1 / sqrt(biased variance + eps)`.
    pub inv_std: Tensor,
    /// What the running variance follows.
    pub unbiased_variance: Tensor,
}

/// Gradients of a fused batch norm.
#[derive(Debug)]
pub struct NormGrads {
    /// Of the input, `[N, C, ...]`.
    pub dx: Tensor,
    /// Of the scale, `[C]`.
    pub dweight: Tensor,
    /// Of the shift, `[C]`.
    pub dbias: Tensor,
    /// Of what was added, if it was asked for.
    pub dresidual: Option<Tensor>,
}

/// `y = activation(x ⋆ weight + bias + residual)`: on the CPU and on CUDA at most one pass over
/// memory after the convolution. On the CPU one that is `quantized` is of plain sums, so that whole
/// numbers stay whole.
pub fn conv2d(
    on: Backend,
    conv: &Conv2d,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let shape = conv_shape(conv, x.dims())?;
    if let Some(bias) = bias {
        fits("a bias", bias, &[shape.out_channels])?;
    }
    tail.fits(&[shape.batch, shape.out_channels, shape.out_h(), shape.out_w()])?;
    let (x, weight) = (floats(on, x)?, floats(on, weight)?);
    match on {
        Backend::Cpu if conv.quantized && x.dtype() == DType::BF16 => {
            cpu::conv2d_sums::<bf16>(&shape, x, weight, bias, tail)
        }
        Backend::Cpu if conv.quantized => cpu::conv2d_sums::<f32>(&shape, x, weight, bias, tail),
        on => dispatch!(on, product x conv2d(&shape, x, weight, bias, tail)),
    }
}

/// A parameter in the order of memory in which the device reads it, so that one that never changes
/// is not put in order at every pass.
pub fn in_order(on: Backend, weight: &Tensor) -> Result<Tensor> {
    match on {
        #[cfg(feature = "cuda")]
        Backend::Cuda { .. } => cuda::in_order(weight),
        Backend::Cpu | Backend::Composed => Ok(weight.clone()),
    }
}

/// Gradient of a convolution's input, whose shape is `x_shape`.
pub fn conv2d_input_grad(
    on: Backend,
    conv: &Conv2d,
    dy: &Tensor,
    weight: &Tensor,
    x_shape: &[usize],
) -> Result<Tensor> {
    let shape = conv_shape(conv, x_shape)?;
    dispatch!(on, product dy conv2d_input_grad(&shape, floats(on, dy)?, floats(on, weight)?))
}

/// Gradient of a convolution's weight.
pub fn conv2d_weight_grad(on: Backend, conv: &Conv2d, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let shape = conv_shape(conv, x.dims())?;
    dispatch!(on, product x conv2d_weight_grad(&shape, floats(on, x)?, floats(on, dy)?))
}

/// Sums over all axes but the second: the gradient of a bias.
pub fn channel_sums(on: Backend, x: &Tensor) -> Result<Tensor> {
    let shape = norm_shape(x.dims())?;
    dispatch!(on, x channel_sums(&shape, floats(on, x)?))
}

/// Normalises by the statistics of this batch.
pub fn batch_norm_train(
    on: Backend,
    x: &Tensor,
    affine: Affine<'_>,
    eps: f64,
    tail: Tail<'_>,
) -> Result<(Tensor, BatchStats)> {
    let shape = norm_shape(x.dims())?;
    if shape.values_per_channel() == 1 {
        return Err(refused(&ShapeError::OneValuePerChannel));
    }
    affine.fits(shape.channels)?;
    tail.fits(x.dims())?;
    dispatch!(on, x batch_norm_train(&shape, floats(on, x)?, affine, eps, tail))
}

/// Normalises by the running `(mean, variance)`.
pub fn batch_norm_eval(
    on: Backend,
    x: &Tensor,
    affine: Affine<'_>,
    running: (&Tensor, &Tensor),
    eps: f64,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let shape = norm_shape(x.dims())?;
    affine.fits(shape.channels)?;
    tail.fits(x.dims())?;
    dispatch!(on, x batch_norm_eval(&shape, floats(on, x)?, affine, running, eps, tail))
}

/// Gradients of [`batch_norm_train`]; `activated` is its output and the activation that ended it.
pub fn batch_norm_backward(
    on: Backend,
    x: &Tensor,
    weight: &Tensor,
    stats: &BatchStats,
    activated: Option<(&Tensor, Activation)>,
    dy: &Tensor,
    wants_residual: bool,
) -> Result<NormGrads> {
    let shape = norm_shape(x.dims())?;
    dispatch!(on, x batch_norm_backward(&shape, floats(on, x)?, weight, stats, activated, floats(on, dy)?, wants_residual))
}

/// `activation(x)`.
pub fn activate(on: Backend, activation: Activation, x: &Tensor) -> Result<Tensor> {
    dispatch!(on, x activate(activation, floats(on, x)?))
}

/// Gradient of an activation from what was kept of it: its output or its input, as
/// [`Activation::keeps_output`] says. A clamp's is 0 where it was clamped, at the very edge too, as
/// in PyTorch.
pub fn activate_backward(on: Backend, activation: Activation, kept: &Tensor, dy: &Tensor) -> Result<Tensor> {
    dispatch!(on, kept activate_backward(activation, floats(on, kept)?, floats(on, dy)?))
}

/// `[N, F] -> [N, O]`: `x weightᵀ + bias`.
pub fn linear(on: Backend, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let shape = linear_shape(x.dims()[0], weight)?;
    dispatch!(on, product f32 linear(&shape, floats(on, x)?, floats(on, weight)?, bias))
}

/// Gradient of [`linear`]'s input.
pub fn linear_input_grad(on: Backend, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let shape = linear_shape(dy.dims()[0], weight)?;
    dispatch!(on, product f32 linear_input_grad(&shape, floats(on, dy)?, floats(on, weight)?))
}

/// Gradient of [`linear`]'s weight.
pub fn linear_weight_grad(on: Backend, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let ((batch, in_features), (_, out_features)) = (x.dims2()?, dy.dims2()?);
    let shape = LinearShape { batch, in_features, out_features }.checked().map_err(|error| refused(&error))?;
    dispatch!(on, product f32 linear_weight_grad(&shape, floats(on, x)?, floats(on, dy)?))
}

/// Every `stride`-th row and column, from the first.
pub fn subsample(on: Backend, x: &Tensor, stride: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let rows = portable::take(floats(on, x)?, 2, 0, h.div_ceil(stride), stride)?;
    portable::take(&rows, 3, 0, w.div_ceil(stride), stride)
}

/// Gradient of [`subsample`].
pub fn subsample_backward(on: Backend, dy: &Tensor, stride: usize, x_shape: &[usize]) -> Result<Tensor> {
    let rows = portable::put(floats(on, dy)?, 3, 0, stride, x_shape[3])?;
    portable::put(&rows, 2, 0, stride, x_shape[2])
}

/// Zero channels before and after.
pub fn pad_channels(on: Backend, x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    Ok(floats(on, x)?.pad_with_zeros(1, before, after)?)
}

/// The same values stored as another type, rounded to nearest.
pub fn convert(on: Backend, x: &Tensor, to: DType) -> Result<Tensor> {
    if x.dtype() == to {
        return Ok(x.clone());
    }
    match on {
        Backend::Cpu => cpu::convert(x, to),
        #[cfg(feature = "cuda")]
        Backend::Cuda { .. } => Ok(x.to_dtype(to)?),
        Backend::Composed => Ok(x.to_dtype(to)?),
    }
}

/// `keep a + (1 - keep) b` of each pair `(a, b)` of equal shapes: what averages over time do at
/// each step.
pub fn mix(on: Backend, pairs: &[(&Tensor, &Tensor)], keep: f64) -> Result<Vec<Tensor>> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let (kept, rest) = (keep as f32, (1.0 - keep) as f32);
    match on {
        Backend::Cpu => {
            let one = |(a, b): &(&Tensor, &Tensor)| {
                let [mixed] = fused::map([*a, *b], |[a, b]| [kept * a + rest * b])?;
                Ok(mixed)
            };
            pairs.iter().map(one).collect()
        }
        #[cfg(feature = "cuda")]
        Backend::Cuda { .. } => cuda::mix(pairs, kept, rest),
        Backend::Composed => pairs.iter().map(|(a, b)| Ok(((*a * keep)? + (*b * (1.0 - keep))?)?)).collect(),
    }
}

/// What dropout multiplies by: 0 with probability `p`, else `1 / (1 - p)`. Drawn on the host, so
/// that every device sees the same mask.
pub fn dropout_mask(shape: &[usize], p: f64, rng: &mut Stream, device: &Device) -> Result<Tensor> {
    let keep = (1.0 / (1.0 - p)) as f32;
    let draw = |_| if rng.unit() < p { 0.0 } else { keep };
    let mask: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
    Ok(Tensor::from_vec(mask, shape, device)?)
}

/// What stochastic depth multiplies by, `[N, C, 1, 1]` or `[N, F]` for values of `shape`: one draw a
/// sample, 0 with probability `p`, else `1 / (1 - p)`. Drawn on the host, as [`dropout_mask`] is.
pub fn depth_mask(shape: &[usize], p: f64, rng: &mut Stream, device: &Device) -> Result<Tensor> {
    let [batch, channels, ref rest @ ..] = *shape else {
        return Err(candle_core::Error::Msg(format!("expects [N, C, ...], got {shape:?}")).into());
    };
    let keep = (1.0 / (1.0 - p)) as f32;
    let draws: Vec<f32> = (0..batch).map(|_| if rng.unit() < p { 0.0 } else { keep }).collect();
    let mask: Vec<f32> = draws.into_iter().flat_map(|draw| std::iter::repeat_n(draw, channels)).collect();
    let mask_shape: Vec<usize> = [batch, channels].into_iter().chain(rest.iter().map(|_| 1)).collect();
    Ok(Tensor::from_vec(mask, mask_shape, device)?)
}

/// Refuses what an operation does not compute in: a silent conversion would hide where it came
/// from.
fn floats(on: Backend, x: &Tensor) -> Result<&Tensor> {
    match x.dtype() {
        DType::F32 => Ok(x),
        // Images may be stored so, where kernels of ours compute.
        DType::BF16 if on != Backend::Composed => Ok(x),
        // Candle's own operations know it: what tests compare with.
        DType::F64 if on == Backend::Composed => Ok(x),
        other => Err(candle_core::Error::Msg(format!("computes in F32, was given {other:?}")).into()),
    }
}

/// Refuses an operand that is not of the shape that kernels take it for.
fn fits(what: &str, x: &Tensor, shape: &[usize]) -> Result<()> {
    if x.dims() == shape {
        return Ok(());
    }
    Err(candle_core::Error::Msg(format!("{what} of shape {:?}, expected {shape:?}", x.dims())).into())
}

fn refused(error: &ShapeError) -> Error {
    candle_core::Error::Msg(error.to_string()).into()
}

fn conv_shape(conv: &Conv2d, x: &[usize]) -> Result<ConvShape> {
    let [batch, in_channels, in_h, in_w] = image(x)?;
    let Conv2d { out_channels, kernel, stride, padding, dilation, groups, .. } = *conv;
    let shape = ConvShape { batch, in_channels, in_h, in_w, out_channels, kernel, stride, padding, dilation, groups };
    shape.checked().map_err(|error| refused(&error))
}

/// `[N, C, ...]`.
fn norm_shape(x: &[usize]) -> Result<NormShape> {
    let [batch, channels, ref rest @ ..] = *x else {
        return Err(candle_core::Error::Msg(format!("expects [N, C, ...], got {x:?}")).into());
    };
    let shape = NormShape { batch, channels, positions: rest.iter().product() };
    shape.checked().map_err(|error| refused(&error))
}

fn linear_shape(batch: usize, weight: &Tensor) -> Result<LinearShape> {
    let (out_features, in_features) = weight.dims2()?;
    LinearShape { batch, in_features, out_features }.checked().map_err(|error| refused(&error))
}

fn image(shape: &[usize]) -> Result<[usize; 4]> {
    let wrong = |_| candle_core::Error::Msg(format!("expects [N, C, H, W], got {shape:?}")).into();
    <[usize; 4]>::try_from(shape).map_err(wrong)
}

#[cfg(test)]
mod tests;
