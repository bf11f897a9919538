//! Sums, products and what has parameters along channels, on the CPU.

use attar_kernels as kernels;
use attar_kernels::NormShape;
use candle_core::Tensor;

use super::{Stored, channels_first, image, tensor, with};
use crate::error::Result;
use crate::ops::{Affine, NormGrads};

pub(in crate::ops) fn add<T: Stored>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(a.elem_count());
    with([&image(a)?, &image(b)?], [], [], |[a, b], [], []| kernels::add(a, b, &mut y))?;
    channels_first(y, a.dims())
}

pub(in crate::ops) fn add_channels<T: Stored>(shape: &NormShape, x: &Tensor, term: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.len());
    let operands = [&image(x)?, &image(term)?];
    with(operands, [], [], |[x, term], [], []| kernels::add_channels(shape, x, term, &mut y))?;
    channels_first(y, x.dims())
}

pub(in crate::ops) fn mul<T: Stored>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(a.elem_count());
    with([&image(a)?, &image(b)?], [], [], |[a, b], [], []| kernels::mul(a, b, &mut y))?;
    channels_first(y, a.dims())
}

pub(in crate::ops) fn mul_channels<T: Stored>(shape: &NormShape, x: &Tensor, factor: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.len());
    let operands = [&image(x)?, &image(factor)?];
    with(operands, [], [], |[x, factor], [], []| kernels::mul_channels(shape, x, factor, &mut y))?;
    channels_first(y, x.dims())
}

pub(in crate::ops) fn mul_channels_backward<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    factor: &Tensor,
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let mut dx = kernels::unwritten::<T>(shape.len());
    let mut dfactor = kernels::unwritten::<T>(shape.batch * shape.channels);
    with([&image(x)?, &image(factor)?, &image(dy)?], [], [], |[x, factor, dy], [], []| {
        kernels::mul_channels_backward(shape, x, factor, dy, &mut dx, &mut dfactor);
    })?;
    Ok((channels_first(dx, x.dims())?, channels_first(dfactor, factor.dims())?))
}

pub(in crate::ops) fn scale_backward<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
) -> Result<NormGrads> {
    let mut dx = kernels::unwritten::<T>(shape.len());
    let (mut dweight, mut dbias) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    let (zero, one) = (vec![0.0; shape.channels], vec![1.0; shape.channels]);
    with([&image(x)?, &image(dy)?], [], [weight], |[x, dy], [], [weight]| {
        let grads = kernels::NormGrads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias, dresidual: None };
        kernels::batch_norm_eval_backward(shape, x, weight, &zero, &one, 0.0, None, dy, grads);
    })?;
    grads(shape, x, dx, dweight, dbias)
}

pub(in crate::ops) fn prelu<T: Stored>(shape: &NormShape, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.len());
    with([&image(x)?], [], [weight], |[x], [], [weight]| kernels::prelu(shape, x, weight, &mut y))?;
    channels_first(y, x.dims())
}

pub(in crate::ops) fn prelu_backward<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (mut dx, mut dweight) = (kernels::unwritten::<T>(shape.len()), vec![0.0; shape.channels]);
    with([&image(x)?, &image(dy)?], [], [weight], |[x, dy], [], [weight]| {
        kernels::prelu_backward(shape, x, weight, dy, &mut dx, &mut dweight);
    })?;
    Ok((channels_first(dx, x.dims())?, tensor(dweight, &[shape.channels])?))
}

pub(in crate::ops) fn layer_norm<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    affine: Affine<'_>,
    eps: f64,
) -> Result<Tensor> {
    let mut y = kernels::unwritten::<T>(shape.len());
    with([&image(x)?], [], [affine.weight, affine.bias], |[x], [], [weight, bias]| {
        kernels::layer_norm(shape, x, weight, bias, eps, &mut y);
    })?;
    channels_first(y, x.dims())
}

pub(in crate::ops) fn layer_norm_backward<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
    dy: &Tensor,
) -> Result<NormGrads> {
    let mut dx = kernels::unwritten::<T>(shape.len());
    let (mut dweight, mut dbias) = (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    with([&image(x)?, &image(dy)?], [], [weight], |[x, dy], [], [weight]| {
        kernels::layer_norm_backward(shape, x, weight, eps, dy, &mut dx, &mut dweight, &mut dbias);
    })?;
    grads(shape, x, dx, dweight, dbias)
}

fn grads<T: Stored>(
    shape: &NormShape,
    x: &Tensor,
    dx: Vec<T>,
    dweight: Vec<f32>,
    dbias: Vec<f32>,
) -> Result<NormGrads> {
    let of_channels = |values: Vec<f32>| tensor(values, &[shape.channels]);
    let dx = channels_first(dx, x.dims())?;
    Ok(NormGrads { dx, dweight: of_channels(dweight)?, dbias: of_channels(dbias)?, dresidual: None })
}
