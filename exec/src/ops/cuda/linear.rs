//! Linear layers, by cuBLAS through Candle in any order of memory; parameters and their gradients
//! stay `f32`.

use attar_kernels::LinearShape;
use candle_core::{DType, Tensor};

use super::precision::rounding;
use crate::error::Result;

pub(in crate::ops) fn linear(
    tf32: bool,
    _: &LinearShape,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let weight = weight.to_dtype(x.dtype())?.t()?;
    let y = rounding(tf32, || x.matmul(&weight))?;
    Ok(match bias {
        Some(bias) => y.broadcast_add(&bias.to_dtype(x.dtype())?)?,
        None => y,
    })
}

pub(in crate::ops) fn linear_input_grad(tf32: bool, _: &LinearShape, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let weight = weight.to_dtype(dy.dtype())?;
    Ok(rounding(tf32, || dy.matmul(&weight))?)
}

pub(in crate::ops) fn linear_weight_grad(tf32: bool, _: &LinearShape, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let dy = dy.t()?.contiguous()?;
    Ok(rounding(tf32, || dy.matmul(x))?.to_dtype(DType::F32)?)
}
