//! What moves values and computes nothing.

use attar_kernels::{NormShape, PadShape};
use candle_core::Tensor;

use super::launch::{Arg, File, Gpu, Shape, Stored};
use super::memory::{Dense, ImageBuffer};
use super::pool::small;
use crate::error::Result;

pub(in crate::ops) fn concat(dims: &[usize], parts: &[Tensor]) -> Result<Tensor> {
    let gpu = Gpu::of(&parts[0])?;
    let stored = Stored::of(&parts[0])?;
    let y = ImageBuffer::new(&gpu, stored, dims.iter().product())?;
    let mut start = 0;
    for part in parts {
        let (x, count, width) = (Dense::image(part, stored)?, part.elem_count(), part.dims()[1]);
        let [width_arg, whole, at] = small([width, dims[1], start])?.map(Arg::from);
        let args = [(&x).into(), (&y).into(), (count as u64).into(), width_arg, whole, at];
        // SAFETY: `put_channels` declares these arguments, `x` holds `count` elements, and their rows lie inside of those
        // of `y`, whose every channel belongs to one part.
        unsafe { gpu.launch_for(stored, File::Moves, "put_channels", Shape::items(count), &args) }?;
        start += width;
    }
    y.image(&gpu, dims)
}

pub(in crate::ops) fn slice_channels(shape: &NormShape, x: &Tensor, start: usize, end: usize) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    dims[1] = end - start;
    channels("take_channels", shape, x, start, end - start, &dims)
}

pub(in crate::ops) fn slice_channels_backward(
    shape: &NormShape,
    dy: &Tensor,
    start: usize,
    x_shape: &[usize],
) -> Result<Tensor> {
    channels("widen_channels", shape, dy, start, dy.dims()[1], x_shape)
}

/// `width` channels from `start` of the rows of `shape`, read or written; the result has `dims`.
fn channels(kernel: &str, shape: &NormShape, x: &Tensor, start: usize, width: usize, dims: &[usize]) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    let (x, count) = (Dense::image(x, stored)?, dims.iter().product());
    let y = ImageBuffer::new(&gpu, stored, count)?;
    let [width, whole, start] = small([width, shape.channels, start])?.map(Arg::from);
    let args = [(&x).into(), (&y).into(), (count as u64).into(), width, whole, start];
    // SAFETY: the two callers name kernels that take these arguments and write `count` elements of `y`; the slice lies
    // inside of the channels, as who called them has checked.
    unsafe { gpu.launch_for(stored, File::Moves, kernel, Shape::items(count), &args) }?;
    y.image(&gpu, dims)
}

pub(in crate::ops) fn channel_shuffle(shape: &NormShape, x: &Tensor, groups: usize) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    let (dims, count) = (x.dims(), shape.len());
    let x = Dense::image(x, stored)?;
    let y = ImageBuffer::new(&gpu, stored, count)?;
    let [channels, groups] = small([shape.channels, groups])?.map(Arg::from);
    let args = [(&x).into(), (&y).into(), (count as u64).into(), channels, groups];
    // SAFETY: `shuffle_channels` declares these arguments, and the buffers are as large as it reads and writes.
    unsafe { gpu.launch_for(stored, File::Moves, "shuffle_channels", Shape::items(count), &args) }?;
    y.image(&gpu, dims)
}

pub(in crate::ops) fn pad2d(shape: &PadShape, x: &Tensor) -> Result<Tensor> {
    let [top, left] = small([shape.top, shape.left])?;
    let (inner, outer) = ([shape.in_h, shape.in_w], [shape.out_h(), shape.out_w()]);
    moved(shape, x, inner, outer, [top, left])
}

pub(in crate::ops) fn pad2d_backward(shape: &PadShape, dy: &Tensor) -> Result<Tensor> {
    let [top, left] = small([shape.top, shape.left])?;
    let (inner, outer) = ([shape.in_h, shape.in_w], [shape.out_h(), shape.out_w()]);
    moved(shape, dy, outer, inner, [-top, -left])
}

/// An image of `from` pixels, moved by `by`, as one of `to` pixels.
fn moved(shape: &PadShape, x: &Tensor, from: [usize; 2], to: [usize; 2], by: [i32; 2]) -> Result<Tensor> {
    let gpu = Gpu::of(x)?;
    let stored = Stored::of(x)?;
    let x = Dense::image(x, stored)?;
    let count = shape.batch * shape.channels * to[0] * to[1];
    let y = ImageBuffer::new(&gpu, stored, count)?;
    let [c, h, w, oh, ow] = small([shape.channels, from[0], from[1], to[0], to[1]])?.map(Arg::from);
    let [top, left] = by.map(Arg::from);
    let args = [(&x).into(), (&y).into(), (count as u64).into(), c, h, w, oh, ow, top, left];
    // SAFETY: `move_image` declares these arguments, and the buffers are as large as it reads and writes.
    unsafe { gpu.launch_for(stored, File::Moves, "move_image", Shape::items(count), &args) }?;
    y.image(&gpu, &[shape.batch, shape.channels, to[0], to[1]])
}
