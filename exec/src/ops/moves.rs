//! Operations that move values and compute nothing: channels joined, cut and dealt out anew, zeros around an image.
//! A value is an image `[N, C, H, W]` or a row `[N, F]`, whose features are its channels.

use attar_kernels::PadShape;
use attar_models::op::Pad2d;
use candle_core::{DType, Tensor};
use half::bf16;

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Backend, cpu, dispatch, fits, floats, image, norm_shape, portable, refused};
use crate::error::{Error, Result};

/// The channels of `parts` behind each other. All of them have the type of the first.
pub fn concat(on: Backend, parts: &[Tensor]) -> Result<Tensor> {
    let [first, others @ ..] = parts else { return Err(wrong("joins 0 inputs, expected at least 1".to_owned())) };
    norm_shape(first.dims())?;
    let mut dims = first.dims().to_vec();
    for other in others {
        norm_shape(other.dims())?;
        let mut expected = first.dims().to_vec();
        expected[1] = other.dims()[1];
        fits("a part to be joined", other, &expected)?;
        if other.dtype() != first.dtype() {
            return Err(wrong(format!("cannot join {:?} and {:?}", first.dtype(), other.dtype())));
        }
        dims[1] += other.dims()[1];
    }
    floats(on, first)?;
    dispatch!(on, first concat(&dims, parts))
}

/// Gradients of the parts of [`concat()`], of which `widths` tells the channels.
pub fn concat_backward(on: Backend, dy: &Tensor, widths: &[usize]) -> Result<Vec<Tensor>> {
    let ends = widths.iter().scan(0, |end, width| {
        *end += width;
        Some((*end - width, *end))
    });
    ends.map(|(start, end)| slice_channels(on, dy, start, end)).collect()
}

/// Channels `start` up to, but without, `end`.
pub fn slice_channels(on: Backend, x: &Tensor, start: usize, end: usize) -> Result<Tensor> {
    let shape = norm_shape(x.dims())?;
    if start >= end || end > shape.channels {
        return Err(wrong(format!("channels {start} to {end} of {}", shape.channels)));
    }
    dispatch!(on, x slice_channels(&shape, floats(on, x)?, start, end))
}

/// Gradient of [`slice_channels`] in an input of shape `x_shape`.
pub fn slice_channels_backward(on: Backend, dy: &Tensor, start: usize, x_shape: &[usize]) -> Result<Tensor> {
    let shape = norm_shape(x_shape)?;
    let width = norm_shape(dy.dims())?.channels;
    let mut expected = x_shape.to_vec();
    expected[1] = width;
    fits("the gradient of a slice", dy, &expected)?;
    if start + width > shape.channels {
        return Err(wrong(format!("channels {start} to {} of {}", start + width, shape.channels)));
    }
    dispatch!(on, dy slice_channels_backward(&shape, floats(on, dy)?, start, x_shape))
}

/// Channels as `[groups, C / groups]`, transposed.
pub fn channel_shuffle(on: Backend, x: &Tensor, groups: usize) -> Result<Tensor> {
    let shape = norm_shape(x.dims())?;
    if groups == 0 || !shape.channels.is_multiple_of(groups) {
        return Err(wrong(format!("{groups} groups of {} channels", shape.channels)));
    }
    dispatch!(on, x channel_shuffle(&shape, floats(on, x)?, groups))
}

/// Gradient of [`channel_shuffle`]: what undoes it.
pub fn channel_shuffle_backward(on: Backend, dy: &Tensor, groups: usize) -> Result<Tensor> {
    let channels = norm_shape(dy.dims())?.channels;
    channel_shuffle(on, dy, channels / groups.max(1))
}

/// Zeros around an image.
pub fn pad2d(on: Backend, x: &Tensor, pad: Pad2d) -> Result<Tensor> {
    let shape = pad_shape(pad, x.dims())?;
    dispatch!(on, x pad2d(&shape, floats(on, x)?))
}

/// Gradient of [`pad2d`] in an input of shape `x_shape`.
pub fn pad2d_backward(on: Backend, dy: &Tensor, pad: Pad2d, x_shape: &[usize]) -> Result<Tensor> {
    let shape = pad_shape(pad, x_shape)?;
    fits("the gradient of a padded image", dy, &[shape.batch, shape.channels, shape.out_h(), shape.out_w()])?;
    dispatch!(on, dy pad2d_backward(&shape, floats(on, dy)?))
}

fn pad_shape(pad: Pad2d, x: &[usize]) -> Result<PadShape> {
    let ([batch, channels, in_h, in_w], Pad2d { top, left, bottom, right }) = (image(x)?, pad);
    let shape = PadShape { batch, channels, in_h, in_w, top, left, bottom, right };
    shape.checked().map_err(|error| refused(&error))
}

fn wrong(problem: String) -> Error {
    candle_core::Error::Msg(problem).into()
}
