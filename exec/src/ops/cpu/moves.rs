//! What moves values, by the kernels.

use attar_kernels as kernels;
use attar_kernels::{NormShape, PadShape};
use candle_core::Tensor;

use super::{Contiguous, Read, Stored, channels_first, image, with};
use crate::error::Result;

pub(in crate::ops) fn concat<T: Stored>(dims: &[usize], parts: &[Tensor]) -> Result<Tensor> {
    let held = parts.iter().map(|part| Contiguous::of(&image(part)?)).collect::<Result<Vec<_>>>()?;
    let read: Vec<Read<'_>> = held.iter().map(Contiguous::read).collect();
    let slices = read.iter().map(Read::slice::<T>).collect::<Result<Vec<_>>>()?;
    let len: usize = dims.iter().product();
    let mut y = kernels::unwritten::<T>(len);
    kernels::concat_channels(len / dims[1], &slices, &mut y);
    channels_first(y, dims)
}

pub(in crate::ops) fn slice_channels<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    start: usize,
    end: usize,
) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    dims[1] = end - start;
    let mut y = kernels::unwritten::<T>(dims.iter().product());
    with([&image(x)?], [], [], |[x], [], []| kernels::slice_channels(shape, start, x, &mut y))?;
    channels_first(y, &dims)
}

pub(in crate::ops) fn slice_channels_backward<T: Stored>(
    shape: &NormShape,
    dy: &Tensor,
    start: usize,
    x_shape: &[usize],
) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<T>(shape.len());
    with([&image(dy)?], [], [], |[dy], [], []| kernels::slice_channels_backward(shape, start, dy, &mut dx))?;
    channels_first(dx, x_shape)
}

pub(in crate::ops) fn channel_shuffle<T: Stored>(shape: &NormShape, x: &Tensor, groups: usize) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.len());
    with([&image(x)?], [], [], |[x], [], []| kernels::shuffle_channels(shape, groups, x, &mut y))?;
    channels_first(y, x.dims())
}

pub(in crate::ops) fn pad2d<T: Stored>(shape: &PadShape, x: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.output_len());
    with([&image(x)?], [], [], |[x], [], []| kernels::pad_image(shape, x, &mut y))?;
    channels_first(y, &[shape.batch, shape.channels, shape.out_h(), shape.out_w()])
}

pub(in crate::ops) fn pad2d_backward<T: Stored>(shape: &PadShape, dy: &Tensor) -> Result<Tensor> {
    let mut dx = kernels::unwritten::<T>(shape.input_len());
    with([&image(dy)?], [], [], |[dy], [], []| kernels::pad_image_backward(shape, dy, &mut dx))?;
    channels_first(dx, &[shape.batch, shape.channels, shape.in_h, shape.in_w])
}
