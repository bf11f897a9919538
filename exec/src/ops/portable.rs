//! The operations composed from Candle's own, for devices that have no kernels of ours: right
//! first, not fast.
//!
//! Everything with a window is built from two adjoint primitives, [`take`] and [`put`], so that no
//! shape needs a case of its own and a gradient cannot disagree with its forward pass.

mod activation;
mod channels;
mod levels;
mod moves;
mod pool;

use attar_kernels::{ConvShape, LinearShape, NormShape, PoolShape};
use attar_models::Activation;
use candle_core::{D, Tensor};

use super::{Affine, BatchStats, NormGrads, Tail};
use crate::error::Result;

pub(super) use activation::{activate, activate_backward};
pub(super) use channels::{
    add, add_channels, layer_norm, layer_norm_backward, mul, mul_channels, mul_channels_backward, prelu,
    prelu_backward, scale_backward,
};
pub(super) use levels::{
    dequantize, dequantize_backward, quantize, quantize_backward, softmax_channels, softmax_channels_backward,
};
pub(super) use moves::{channel_shuffle, concat, pad2d, pad2d_backward, slice_channels, slice_channels_backward};
pub(super) use pool::{avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward};

/// Elements `start`, `start + stride`, ... along `dim`, `count` of them.
pub(super) fn take(x: &Tensor, dim: usize, start: usize, count: usize, stride: usize) -> Result<Tensor> {
    let span = (count - 1) * stride + 1;
    let x = x.narrow(dim, start, span)?;
    if stride == 1 {
        return Ok(x);
    }
    let x = x.pad_with_zeros(dim, 0, count * stride - span)?;
    let mut shape = x.dims().to_vec();
    shape.splice(dim..=dim, [count, stride]);
    Ok(x.reshape(shape)?.narrow(dim + 1, 0, 1)?.squeeze(dim + 1)?)
}

/// The adjoint of [`take`]: `y` at `start`, `start + stride`, ... along `dim` of zeros of length
/// `len`.
pub(super) fn put(y: &Tensor, dim: usize, start: usize, stride: usize, len: usize) -> Result<Tensor> {
    let count = y.dims()[dim];
    let span = (count - 1) * stride + 1;
    let mut shape = y.dims().to_vec();
    shape[dim] = count * stride;
    let y = y.unsqueeze(dim + 1)?.pad_with_zeros(dim + 1, 0, stride - 1)?.reshape(shape)?;
    Ok(y.narrow(dim, 0, span)?.pad_with_zeros(dim, start, len - start - span)?)
}

pub(super) fn conv2d(
    shape: &ConvShape,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let square = |pair: [usize; 2]| pair[0] == pair[1];
    let mut y = if shape.groups == 1 && square(shape.stride) && square(shape.padding) && square(shape.dilation) {
        x.contiguous()?.conv2d(weight, shape.padding[0], shape.stride[0], shape.dilation[0], 1)?
    } else {
        conv2d_by_offsets(shape, x, weight)?
    };
    if let Some(bias) = bias {
        y = y.broadcast_add(&per_channel(bias)?.unsqueeze(D::Minus1)?)?;
    }
    if let Some(residual) = tail.residual {
        y = add(&y, residual)?;
    }
    match tail.activation {
        Some(activation) => activate(activation, &y),
        None => Ok(y),
    }
}

/// One product a kernel offset: `y = Σ W[.., a, b] · x shifted by (a, b)`, group by group in one
/// batched product.
fn conv2d_by_offsets(shape: &ConvShape, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let windows = Windows::of_conv(shape);
    let x = windows.pad(x)?;
    let mut y = None;
    for offset in windows.offsets() {
        let view = windows.view(&x, offset)?.reshape(&group_inputs(shape))?;
        let weight = weight_at(shape, weight, offset)?;
        let term = if shape.in_channels == shape.groups {
            weight.unsqueeze(0)?.broadcast_mul(&view)? // [1, G, O/G, 1] · [N, G, 1, P]
        } else {
            weight.broadcast_matmul(&view)? // [G, O/G, C/G] · [N, G, C/G, P]
        };
        y = Some(sum(y, term)?);
    }
    finish(y, &[shape.batch, shape.out_channels, shape.out_h(), shape.out_w()])
}

pub(super) fn conv2d_input_grad(shape: &ConvShape, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let windows = Windows::of_conv(shape);
    let dy = dy.reshape(&group_outputs(shape))?;
    let mut dx = None;
    for offset in windows.offsets() {
        let weight = weight_at(shape, weight, offset)?.transpose(1, 2)?.contiguous()?;
        let term = weight.broadcast_matmul(&dy)?; // [G, C/G, O/G] · [N, G, O/G, P]
        let term = term.reshape((shape.batch, shape.in_channels, shape.out_h(), shape.out_w()))?;
        dx = Some(sum(dx, windows.unview(&term, offset)?)?);
    }
    let padded = finish(dx, &[shape.batch, shape.in_channels, windows.padded(0), windows.padded(1)])?;
    windows.unpad(&padded)
}

pub(super) fn conv2d_weight_grad(shape: &ConvShape, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let windows = Windows::of_conv(shape);
    let x = windows.pad(x)?;
    let dy = dy.reshape(&group_outputs(shape))?;
    let mut offsets = Vec::new();
    for offset in windows.offsets() {
        let view = windows.view(&x, offset)?.reshape(&group_inputs(shape))?;
        // [N, G, O/G, P] · [N, G, P, C/G]
        let dweight = dy.matmul(&view.transpose(2, 3)?.contiguous()?)?.sum(0)?;
        offsets.push(dweight.reshape((shape.out_channels, shape.in_channels / shape.groups))?);
    }
    let [kh, kw] = shape.kernel;
    finish(Some(Tensor::stack(&offsets, 2)?), &[shape.out_channels, shape.in_channels / shape.groups, kh, kw])
}

pub(super) fn channel_sums(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    Ok(planes(shape, x)?.sum((0, 2))?)
}

pub(super) fn batch_norm_train(
    shape: &NormShape,
    x: &Tensor,
    affine: Affine<'_>,
    eps: f64,
    tail: Tail<'_>,
) -> Result<(Tensor, BatchStats)> {
    let count = shape.values_per_channel() as f64;
    let planes = planes(shape, x)?;
    let mean = (planes.sum((0, 2))? / count)?;
    let squares = planes.broadcast_sub(&per_channel(&mean)?)?.sqr()?.sum((0, 2))?;
    let inv_std = ((&squares / count)? + eps)?.sqrt()?.recip()?;
    let y = normalise(x, &planes, &mean, &inv_std, affine, tail)?;
    Ok((y, BatchStats { mean, inv_std, unbiased_variance: (squares / (count - 1.0))? }))
}

pub(super) fn batch_norm_eval(
    shape: &NormShape,
    x: &Tensor,
    affine: Affine<'_>,
    (mean, variance): (&Tensor, &Tensor),
    eps: f64,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let inv_std = (variance + eps)?.sqrt()?.recip()?;
    normalise(x, &planes(shape, x)?, mean, &inv_std, affine, tail)
}

fn normalise(
    x: &Tensor,
    planes: &Tensor,
    mean: &Tensor,
    inv_std: &Tensor,
    affine: Affine<'_>,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let scale = per_channel(&(affine.weight * inv_std)?)?;
    let y = planes.broadcast_sub(&per_channel(mean)?)?.broadcast_mul(&scale)?;
    let mut y = y.broadcast_add(&per_channel(affine.bias)?)?.reshape(x.dims())?;
    if let Some(residual) = tail.residual {
        y = (y + residual)?;
    }
    tail.activation.map_or_else(|| Ok(y.clone()), |activation| activate(activation, &y))
}

pub(super) fn batch_norm_backward(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    stats: &BatchStats,
    activated: Option<(&Tensor, Activation)>,
    dy: &Tensor,
    wants_residual: bool,
) -> Result<NormGrads> {
    let passed = match activated {
        Some((y, activation)) => activate_backward(activation, y, dy)?,
        None => dy.clone(),
    };
    let dy = planes(shape, &passed)?;
    let centred = planes(shape, x)?.broadcast_sub(&per_channel(&stats.mean)?)?;
    let normalised = centred.broadcast_mul(&per_channel(&stats.inv_std)?)?;
    let dbias = dy.sum((0, 2))?;
    let dweight = (&dy * &normalised)?.sum((0, 2))?;
    let count = shape.values_per_channel() as f64;
    let mean_part = per_channel(&(&dbias / count)?)?;
    let slope_part = normalised.broadcast_mul(&per_channel(&(&dweight / count)?)?)?;
    let dx = (dy.broadcast_sub(&mean_part)? - slope_part)?;
    let dx = dx.broadcast_mul(&per_channel(&(weight * &stats.inv_std)?)?)?.reshape(x.dims())?;
    Ok(NormGrads { dx, dweight, dbias, dresidual: wants_residual.then_some(passed) })
}

pub(super) fn global_avg_pool(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    Ok((planes(shape, x)?.sum(2)? / shape.positions as f64)?)
}

pub(super) fn global_avg_pool_backward(shape: &NormShape, dy: &Tensor) -> Result<Tensor> {
    let dx = (dy / shape.positions as f64)?.unsqueeze(2)?;
    Ok(dx.broadcast_as((shape.batch, shape.channels, shape.positions))?.contiguous()?)
}

pub(super) fn linear(_: &LinearShape, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = x.matmul(&weight.t()?)?;
    Ok(match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    })
}

pub(super) fn linear_input_grad(_: &LinearShape, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Ok(dy.matmul(weight)?)
}

pub(super) fn linear_weight_grad(_: &LinearShape, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    Ok(dy.t()?.contiguous()?.matmul(x)?)
}

/// `[C] -> [1, C, 1]`.
fn per_channel(x: &Tensor) -> Result<Tensor> {
    Ok(x.reshape((1, x.elem_count(), 1))?)
}

/// `[N, C, ...] -> [N, C, positions]`.
fn planes(shape: &NormShape, x: &Tensor) -> Result<Tensor> {
    Ok(x.reshape((shape.batch, shape.channels, shape.positions))?)
}

/// `[N, G, C/G, P]` of a convolution's (shifted) input.
fn group_inputs(shape: &ConvShape) -> [usize; 4] {
    [shape.batch, shape.groups, shape.in_channels / shape.groups, shape.out_h() * shape.out_w()]
}

/// `[N, G, O/G, P]` of a convolution's output.
fn group_outputs(shape: &ConvShape) -> [usize; 4] {
    [shape.batch, shape.groups, shape.out_channels / shape.groups, shape.out_h() * shape.out_w()]
}

/// `[G, O/G, C/G]`: the weight at one kernel offset.
fn weight_at(shape: &ConvShape, weight: &Tensor, offset: [usize; 2]) -> Result<Tensor> {
    let at = weight.narrow(2, offset[0], 1)?.narrow(3, offset[1], 1)?;
    let groups = shape.groups;
    Ok(at.reshape((groups, shape.out_channels / groups, shape.in_channels / groups))?)
}

fn sum(so_far: Option<Tensor>, term: Tensor) -> Result<Tensor> {
    match so_far {
        Some(so_far) => Ok((so_far + term)?),
        None => Ok(term),
    }
}

fn finish(y: Option<Tensor>, shape: &[usize]) -> Result<Tensor> {
    match y {
        Some(y) => Ok(y.reshape(shape)?.contiguous()?),
        None => Err(candle_core::Error::Msg("a window without elements".to_owned()).into()),
    }
}

/// Windows sliding over the last two axes.
struct Windows {
    size: [usize; 2],
    outputs: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    /// Behind the image, as far as the last windows reach at least.
    padding_end: [usize; 2],
    dilation: [usize; 2],
}

impl Windows {
    fn of_conv(shape: &ConvShape) -> Self {
        let &ConvShape { kernel, stride, padding, dilation, .. } = shape;
        let (size, outputs) = ([shape.in_h, shape.in_w], [shape.out_h(), shape.out_w()]);
        Self { size, outputs, kernel, stride, padding, padding_end: padding, dilation }
    }

    fn of_pool(shape: &PoolShape) -> Self {
        let &PoolShape { kernel, stride, padding, .. } = shape;
        let (size, outputs) = ([shape.in_h, shape.in_w], [shape.out_h(), shape.out_w()]);
        let reach = |axis: usize| (outputs[axis] - 1) * stride[axis] + kernel[axis];
        let padding_end =
            [0, 1].map(|axis| shape.padding_end[axis].max(reach(axis).saturating_sub(padding[axis] + size[axis])));
        Self { size, outputs, kernel, stride, padding, padding_end, dilation: [1, 1] }
    }

    /// Positions inside the kernel, in row-major order.
    fn offsets(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [rows, columns] = self.kernel;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
    }

    fn padded(&self, axis: usize) -> usize {
        self.padding[axis] + self.size[axis] + self.padding_end[axis]
    }

    fn pad(&self, x: &Tensor) -> Result<Tensor> {
        let ([top, left], [bottom, right]) = (self.padding, self.padding_end);
        Ok(x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?)
    }

    fn unpad(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.narrow(2, self.padding[0], self.size[0])?.narrow(3, self.padding[1], self.size[1])?.contiguous()?)
    }

    /// What every window sees at one offset: `[N, C, out_h, out_w]` of the padded input.
    fn view(&self, padded: &Tensor, offset: [usize; 2]) -> Result<Tensor> {
        let start = |axis: usize| offset[axis] * self.dilation[axis];
        let rows = take(padded, 2, start(0), self.outputs[0], self.stride[0])?;
        take(&rows, 3, start(1), self.outputs[1], self.stride[1])
    }

    /// The adjoint of [`Windows::view`].
    fn unview(&self, y: &Tensor, offset: [usize; 2]) -> Result<Tensor> {
        let start = |axis: usize| offset[axis] * self.dilation[axis];
        let rows = put(y, 3, start(1), self.stride[1], self.padded(1))?;
        put(&rows, 2, start(0), self.stride[0], self.padded(0))
    }
}
