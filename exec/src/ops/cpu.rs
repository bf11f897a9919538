//! The operations on the CPU: `attar-kernels` on the storage of the tensors.
//!
//! Kernels read and write images channels last. A tensor keeps the shape `[N, C, H, W]`; what comes
//! from here is stored channels last and seen through a permutation, and costs no copy when it is
//! given back. `T` is what images are stored as.

mod channels;
mod levels;
mod moves;

use attar_kernels as kernels;
use attar_kernels::{Clamp, ConvShape, LinearShape, Mask, NormShape, PoolShape, SavedStats, Tail as ConvTail, Value};
use attar_models::Activation;
use candle_core::{CpuStorage, DType, Device, Storage, StorageRef, Tensor, WithDType};
use half::bf16;

use super::{Affine, BatchStats, NormGrads, Tail};
use crate::error::Result;

pub(super) use channels::{
    add, add_channels, layer_norm, layer_norm_backward, mul, mul_channels, mul_channels_backward, prelu,
    prelu_backward, scale_backward,
};
pub(super) use levels::{
    dequantize, dequantize_backward, quantize, quantize_backward, softmax_channels, softmax_channels_backward,
};
pub(super) use moves::{channel_shuffle, concat, pad2d, pad2d_backward, slice_channels, slice_channels_backward};

/// A type that images are stored as.
pub(super) trait Stored: Value + WithDType {}
impl<T: Value + WithDType> Stored for T {}

/// The kernels' word for an activation.
enum Function {
    Clamp(kernels::Activation),
    Pointwise(kernels::Pointwise),
}

fn function(activation: Activation) -> Function {
    match activation {
        Activation::Relu => Function::Clamp(kernels::Activation::Relu),
        Activation::Relu6 => Function::Clamp(kernels::Activation::Relu6),
        Activation::HardSwish => Function::Pointwise(kernels::Pointwise::HardSwish),
        Activation::HardSigmoid => Function::Pointwise(kernels::Pointwise::HardSigmoid),
        Activation::Sigmoid => Function::Pointwise(kernels::Pointwise::Sigmoid),
        Activation::Silu => Function::Pointwise(kernels::Pointwise::Silu),
        Activation::Gelu => Function::Pointwise(kernels::Pointwise::Gelu),
        Activation::GeluTanh => Function::Pointwise(kernels::Pointwise::GeluTanh),
        Activation::LeakyRelu(slope) => Function::Pointwise(kernels::Pointwise::LeakyRelu(slope.value())),
    }
}

/// What ends an operation; schedules let nothing but clamps do so.
fn clamp(activation: Option<Activation>) -> Result<Option<kernels::Activation>> {
    match activation.map(function) {
        None => Ok(None),
        Some(Function::Clamp(clamp)) => Ok(Some(clamp)),
        Some(Function::Pointwise(other)) => {
            Err(candle_core::Error::Msg(format!("{other:?} is no clamp, and ends no other operation")).into())
        }
    }
}

pub(super) fn conv2d<T: Stored>(
    shape: &ConvShape,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    tail: Tail<'_>,
) -> Result<Tensor> {
    convolved(shape, x, weight, bias, tail, kernels::conv2d::<T>)
}

/// By plain sums, of whole numbers to the bit.
pub(super) fn conv2d_sums<T: Stored>(
    shape: &ConvShape,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    tail: Tail<'_>,
) -> Result<Tensor> {
    convolved(shape, x, weight, bias, tail, kernels::conv2d_sums::<T>)
}

fn convolved<T: Stored>(
    shape: &ConvShape,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    tail: Tail<'_>,
    kernel: impl FnOnce(&ConvShape, &[T], &[f32], ConvTail<'_, T>, &mut [T]),
) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.output_len());
    let (bias, residual) = (bias.map(Contiguous::of).transpose()?, tail.residual.map(image).transpose()?);
    let bias = bias.as_ref().map(Contiguous::read);
    let bias = bias.as_ref().map(Read::slice).transpose()?;
    let activation = clamp(tail.activation)?;
    with([&image(x)?], [residual.as_ref()], [weight], |[x], [residual], [weight]| {
        kernel(shape, x, weight, ConvTail { bias, residual, activation }, &mut y);
    })?;
    channels_first(y, &[shape.batch, shape.out_channels, shape.out_h(), shape.out_w()])
}

pub(super) fn conv2d_input_grad<T: Stored>(shape: &ConvShape, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<T>(shape.input_len());
    with([&image(dy)?], [], [weight], |[dy], [], [weight]| kernels::conv2d_input_grad(shape, dy, weight, &mut dx))?;
    channels_first(dx, &[shape.batch, shape.in_channels, shape.in_h, shape.in_w])
}

pub(super) fn conv2d_weight_grad<T: Stored>(shape: &ConvShape, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let mut dweight = kernels::unwritten::<f32>(shape.weight_len());
    with::<T, 2, 0, 0, _>([&image(x)?, &image(dy)?], [], [], |[x, dy], [], []| {
        kernels::conv2d_weight_grad(shape, x, dy, &mut dweight);
    })?;
    let [kh, kw] = shape.kernel;
    tensor(dweight, &[shape.out_channels, shape.in_channels / shape.groups, kh, kw])
}

pub(super) fn channel_sums<T: Stored>(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    let mut sums = kernels::unwritten::<f32>(shape.channels);
    with::<T, 1, 0, 0, _>([&image(x)?], [], [], |[x], [], []| kernels::channel_sums(shape, x, &mut sums))?;
    tensor(sums, &[shape.channels])
}

pub(super) fn batch_norm_train<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    affine: Affine<'_>,
    eps: f64,
    tail: Tail<'_>,
) -> Result<(Tensor, BatchStats)> {
    let channels = || vec![0.0; shape.channels];
    let (mut mean, mut inv_std, mut unbiased_variance) = (channels(), channels(), channels());
    let mut y = kernels::unwritten::<T>(shape.len());
    let residual = tail.residual.map(image).transpose()?;
    let (params, activation) = ([affine.weight, affine.bias], clamp(tail.activation)?);
    with([&image(x)?], [residual.as_ref()], params, |[x], [residual], [weight, bias]| {
        let stats =
            kernels::BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut unbiased_variance };
        kernels::batch_norm_train(shape, x, weight, bias, eps, residual, activation, &mut y, stats)
    })?
    .map_err(|error| super::refused(&error))?;
    let stats = |values: Vec<f32>| tensor(values, &[shape.channels]);
    let stats =
        BatchStats { mean: stats(mean)?, inv_std: stats(inv_std)?, unbiased_variance: stats(unbiased_variance)? };
    Ok((channels_first(y, x.dims())?, stats))
}

pub(super) fn batch_norm_eval<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    affine: Affine<'_>,
    (mean, variance): (&Tensor, &Tensor),
    eps: f64,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.len());
    let residual = tail.residual.map(image).transpose()?;
    let (params, activation) = ([affine.weight, affine.bias, mean, variance], clamp(tail.activation)?);
    with([&image(x)?], [residual.as_ref()], params, |[x], [residual], [w, b, mean, variance]| {
        kernels::batch_norm_eval(shape, x, w, b, mean, variance, eps, residual, activation, &mut y);
    })?;
    channels_first(y, x.dims())
}

pub(super) fn batch_norm_backward<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    stats: &BatchStats,
    activated: Option<(&Tensor, Activation)>,
    dy: &Tensor,
    wants_residual: bool,
) -> Result<NormGrads> {
    let (mut dx, mut dresidual) =
        (kernels::unwritten::<T>(shape.len()), wants_residual.then(|| kernels::unwritten::<T>(shape.len())));
    let (mut dweight, mut dbias) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    let y = activated.map(|(y, _)| image(y)).transpose()?;
    let activation = clamp(activated.map(|(_, activation)| activation))?;
    let params = [weight, &stats.mean, &stats.inv_std];
    with([&image(x)?, &image(dy)?], [y.as_ref()], params, |[x, dy], [y], [weight, mean, inv_std]| {
        let clamp = activation.zip(y).map(|(activation, y)| Clamp::Output { activation, y });
        let grads = kernels::NormGrads {
            dx: &mut dx,
            dweight: &mut dweight,
            dbias: &mut dbias,
            dresidual: dresidual.as_deref_mut(),
        };
        kernels::batch_norm_backward(shape, x, weight, SavedStats { mean, inv_std }, clamp, dy, grads);
    })?;
    Ok(NormGrads {
        dx: channels_first(dx, x.dims())?,
        dweight: tensor(dweight, &[shape.channels])?,
        dbias: tensor(dbias, &[shape.channels])?,
        dresidual: dresidual.map(|values| channels_first(values, x.dims())).transpose()?,
    })
}

pub(super) fn activate<T: Stored>(activation: Activation, x: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(x.elem_count());
    with([&image(x)?], [], [], |[x], [], []| match function(activation) {
        Function::Clamp(clamp) => kernels::activate(clamp, x, &mut y),
        Function::Pointwise(function) => kernels::pointwise(function, x, &mut y),
    })?;
    channels_first(y, x.dims())
}

pub(super) fn activate_backward<T: Stored>(activation: Activation, kept: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<T>(kept.elem_count());
    with([&image(kept)?, &image(dy)?], [], [], |[kept, dy], [], []| match function(activation) {
        Function::Clamp(activation) => kernels::activate_backward(Mask { activation, y: kept }, dy, &mut dx),
        Function::Pointwise(function) => kernels::pointwise_backward(function, kept, dy, &mut dx),
    })?;
    channels_first(dx, kept.dims())
}

pub(super) fn max_pool2d<T: Stored>(shape: &PoolShape, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let (mut y, mut argmax) = (kernels::unwritten::<T>(shape.output_len()), vec![0u32; shape.output_len()]);
    with([&image(x)?], [], [], |[x], [], []| kernels::max_pool2d(shape, x, &mut y, &mut argmax))?;
    let dims = [shape.batch, shape.channels, shape.out_h(), shape.out_w()];
    Ok((channels_first(y, &dims)?, channels_first(argmax, &dims)?))
}

pub(super) fn max_pool2d_backward<T: Stored>(shape: &PoolShape, dy: &Tensor, argmax: &Tensor) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<T>(shape.input_len());
    let argmax = Contiguous::of(&image(argmax)?)?;
    let argmax = argmax.read();
    let argmax = argmax.slice::<u32>()?;
    with([&image(dy)?], [], [], |[dy], [], []| kernels::max_pool2d_backward(shape, dy, argmax, &mut dx))?;
    channels_first(dx, &[shape.batch, shape.channels, shape.in_h, shape.in_w])
}

pub(super) fn avg_pool2d<T: Stored>(shape: &PoolShape, x: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.output_len());
    with([&image(x)?], [], [], |[x], [], []| kernels::avg_pool2d(shape, x, &mut y))?;
    channels_first(y, &[shape.batch, shape.channels, shape.out_h(), shape.out_w()])
}

pub(super) fn avg_pool2d_backward<T: Stored>(shape: &PoolShape, dy: &Tensor) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<T>(shape.input_len());
    with([&image(dy)?], [], [], |[dy], [], []| kernels::avg_pool2d_backward(shape, dy, &mut dx))?;
    channels_first(dx, &[shape.batch, shape.channels, shape.in_h, shape.in_w])
}

pub(super) fn global_avg_pool<T: Stored>(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<f32>(shape.batch * shape.channels);
    with::<T, 1, 0, 0, _>([&image(x)?], [], [], |[x], [], []| kernels::global_avg_pool(shape, x, &mut y))?;
    tensor(y, &[shape.batch, shape.channels])
}

pub(super) fn global_avg_pool_backward(shape: &NormShape, dy: &Tensor) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<f32>(shape.len());
    with::<f32, 1, 0, 0, _>([dy], [], [], |[dy], [], []| kernels::global_avg_pool_backward(shape, dy, &mut dx))?;
    channels_first(dx, &[shape.batch, shape.channels, shape.positions])
}

pub(super) fn linear(shape: &LinearShape, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let mut y = kernels::unwritten::<f32>(shape.batch * shape.out_features);
    with([x, weight], [bias], [], |[x, weight], [bias], []| kernels::linear(shape, x, weight, bias, &mut y))?;
    tensor(y, &[shape.batch, shape.out_features])
}

pub(super) fn linear_input_grad(shape: &LinearShape, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<f32>(shape.batch * shape.in_features);
    with([dy, weight], [], [], |[dy, weight], [], []| kernels::linear_input_grad(shape, dy, weight, &mut dx))?;
    tensor(dx, &[shape.batch, shape.in_features])
}

pub(super) fn linear_weight_grad(shape: &LinearShape, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let mut dweight = kernels::unwritten::<f32>(shape.out_features * shape.in_features);
    with([x, dy], [], [], |[x, dy], [], []| kernels::linear_weight_grad(shape, x, dy, &mut dweight))?;
    tensor(dweight, &[shape.out_features, shape.in_features])
}

/// Values of one type as values of another, in the order in which they are stored.
pub(super) fn convert(x: &Tensor, to: DType) -> Result<Tensor> {
    fn converted<T: Stored, U: Stored>(x: &Tensor) -> Result<Tensor> {
        let mut y = kernels::unwritten::<U>(x.elem_count());
        with::<T, 1, 0, 0, _>([&image(x)?], [], [], |[x], [], []| kernels::convert(x, &mut y))?;
        channels_first(y, x.dims())
    }
    match (x.dtype(), to) {
        (DType::F32, DType::BF16) => converted::<f32, bf16>(x),
        (DType::BF16, DType::F32) => converted::<bf16, f32>(x),
        _ => Ok(x.to_dtype(to)?),
    }
}

fn tensor<T: WithDType>(values: Vec<T>, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A tensor `[N, C, ...]` with its channels last, `[N, ..., C]`, in order; no copy if it is stored
/// so.
fn image(x: &Tensor) -> Result<Tensor> {
    let rank = x.rank();
    if rank < 3 {
        return Ok(x.contiguous()?);
    }
    let last: Vec<usize> = (0..1).chain(2..rank).chain([1]).collect();
    Ok(x.permute(last)?.contiguous()?)
}

/// Values stored channels last as a tensor of shape `[N, C, ...]`.
fn channels_first<T: WithDType>(values: Vec<T>, shape: &[usize]) -> Result<Tensor> {
    let rank = shape.len();
    if rank < 3 {
        return tensor(values, shape);
    }
    let stored: Vec<usize> = shape[..1].iter().chain(&shape[2..]).chain(&shape[1..2]).copied().collect();
    let first: Vec<usize> = (0..1).chain([rank - 1]).chain(1..rank - 1).collect();
    Ok(tensor(values, &stored)?.permute(first)?)
}

/// Calls `f` with the elements of images, those that must be there and those that may, and of
/// parameters.
fn with<T: Stored, const N: usize, const M: usize, const P: usize, R>(
    images: [&Tensor; N],
    optional: [Option<&Tensor>; M],
    params: [&Tensor; P],
    f: impl FnOnce([&[T]; N], [Option<&[T]>; M], [&[f32]; P]) -> R,
) -> Result<R> {
    let in_order = |tensors: &[&Tensor]| tensors.iter().map(|x| Contiguous::of(x)).collect::<Result<Vec<_>>>();
    let (images, params) = (in_order(&images)?, in_order(&params)?);
    let optional = optional.iter().map(|x| x.map(Contiguous::of).transpose()).collect::<Result<Vec<_>>>()?;
    let [images, params] = [&images, &params].map(|tensors| tensors.iter().map(Contiguous::read).collect::<Vec<_>>());
    let optional: Vec<Option<Read<'_>>> = optional.iter().map(|x| x.as_ref().map(Contiguous::read)).collect();
    let (mut required, mut maybe, mut floats) = ([[].as_slice(); N], [None; M], [[].as_slice(); P]);
    for (slice, read) in required.iter_mut().zip(&images) {
        *slice = read.slice()?;
    }
    for (slice, read) in maybe.iter_mut().zip(&optional) {
        *slice = read.as_ref().map(Read::slice).transpose()?;
    }
    for (slice, read) in floats.iter_mut().zip(&params) {
        *slice = read.slice()?;
    }
    Ok(f(required, maybe, floats))
}

/// A tensor whose elements lie in order; the tensor itself if they do already.
pub(super) struct Contiguous(Tensor);

impl Contiguous {
    pub(super) fn of(tensor: &Tensor) -> Result<Self> {
        Ok(Self(tensor.contiguous()?))
    }

    pub(super) fn read(&self) -> Read<'_> {
        let (storage, layout) = self.0.storage_and_layout();
        Read { storage, start: layout.start_offset(), len: self.0.elem_count() }
    }
}

/// The storage of a contiguous tensor, held for reading.
pub(super) struct Read<'a> {
    storage: StorageRef<'a>,
    start: usize,
    len: usize,
}

impl Read<'_> {
    pub(super) fn slice<T: WithDType>(&self) -> Result<&[T]> {
        let storage: &CpuStorage = match &*self.storage {
            Storage::Cpu(storage) => storage,
            _ => return Err(candle_core::Error::Msg("operands live on different devices".to_owned()).into()),
        };
        Ok(&storage.as_slice::<T>()?[self.start..self.start + self.len])
    }
}
