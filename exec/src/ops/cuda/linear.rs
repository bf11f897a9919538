//! Linear layers, by cuBLAS through Candle in any order of memory; parameters and their gradients stay `f32`.

use attar_kernels::LinearShape;
use candle_core::{DType, Tensor};

use crate::error::Result;

pub(in crate::ops) fn linear(_: &LinearShape, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = x.matmul(&weight.to_dtype(x.dtype())?.t()?)?;
    Ok(match bias {
        Some(bias) => y.broadcast_add(&bias.to_dtype(x.dtype())?)?,
        None => y,
    })
}

pub(in crate::ops) fn linear_input_grad(_: &LinearShape, dy: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Ok(dy.matmul(&weight.to_dtype(dy.dtype())?)?)
}

pub(in crate::ops) fn linear_weight_grad(_: &LinearShape, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    Ok(dy.t()?.contiguous()?.matmul(x)?.to_dtype(DType::F32)?)
}
