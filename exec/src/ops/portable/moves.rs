//! What moves values, of Candle's operations.

use attar_kernels::{NormShape, PadShape};
use candle_core::Tensor;

use crate::error::Result;

pub(in crate::ops) fn concat(_dims: &[usize], parts: &[Tensor]) -> Result<Tensor> {
    let dense = parts.iter().map(Tensor::contiguous).collect::<candle_core::Result<Vec<_>>>()?;
    Ok(Tensor::cat(&dense, 1)?)
}

pub(in crate::ops) fn slice_channels(_: &NormShape, x: &Tensor, start: usize, end: usize) -> Result<Tensor> {
    Ok(x.narrow(1, start, end - start)?.contiguous()?)
}

pub(in crate::ops) fn slice_channels_backward(
    shape: &NormShape,
    dy: &Tensor,
    start: usize,
    x_shape: &[usize],
) -> Result<Tensor> {
    let behind = shape.channels - start - dy.dims()[1];
    Ok(dy.contiguous()?.pad_with_zeros(1, start, behind)?.reshape(x_shape)?)
}

pub(in crate::ops) fn channel_shuffle(shape: &NormShape, x: &Tensor, groups: usize) -> Result<Tensor> {
    let piles = x.reshape((shape.batch, groups, shape.channels / groups, shape.positions))?;
    Ok(piles.transpose(1, 2)?.contiguous()?.reshape(x.dims())?)
}

pub(in crate::ops) fn pad2d(shape: &PadShape, x: &Tensor) -> Result<Tensor> {
    let rows = x.contiguous()?.pad_with_zeros(2, shape.top, shape.bottom)?;
    Ok(rows.pad_with_zeros(3, shape.left, shape.right)?)
}

pub(in crate::ops) fn pad2d_backward(shape: &PadShape, dy: &Tensor) -> Result<Tensor> {
    Ok(dy.narrow(2, shape.top, shape.in_h)?.narrow(3, shape.left, shape.in_w)?.contiguous()?)
}
