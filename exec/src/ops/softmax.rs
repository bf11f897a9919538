//! What losses of logits are made of, and their gradients: a launch each on CUDA, Candle's
//! operations elsewhere.
//!
//! Nothing here is recorded by Candle's autograd. Types are `f32` on CUDA, and any float where
//! Candle's operations compute.

use candle_core::{D, Tensor};

#[cfg(feature = "cuda")]
use super::{Backend, cuda, floats};
use crate::error::Result;

/// `log softmax(scale x)` over the last axis, finite for all finite logits.
pub fn log_softmax(x: &Tensor, scale: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::log_softmax(floats(Backend::for_tensor(x), x)?, scale as f32);
    }
    let x = (x * scale)?;
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&log_sum)?)
}

/// Gradient of [`log_softmax`] from its answer `y`.
pub fn log_softmax_backward(y: &Tensor, dy: &Tensor, scale: f64) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if y.device().is_cuda() {
        return cuda::log_softmax_backward(
            floats(Backend::for_tensor(y), y)?,
            floats(Backend::for_tensor(dy), dy)?,
            scale as f32,
        );
    }
    Ok(((dy - y.exp()?.broadcast_mul(&dy.sum_keepdim(D::Minus1)?)?)? * scale)?)
}

/// `KL(p || softmax(scale z))` of each row of logits `z`, and its gradient by them: from the
/// logarithms of `p`, `[N, K]` like `z`, to `[N]` and `[N, K]`.
pub fn divergence(log_p: &Tensor, z: &Tensor, scale: f64) -> Result<[Tensor; 2]> {
    alike(log_p, z)?;
    #[cfg(feature = "cuda")]
    if z.device().is_cuda() {
        return cuda::divergence(
            floats(Backend::for_tensor(log_p), log_p)?,
            floats(Backend::for_tensor(z), z)?,
            scale as f32,
        );
    }
    let (p, log_q) = (log_p.exp()?, log_softmax(z, scale)?);
    let rows = (&p * (log_p - &log_q)?)?.sum(D::Minus1)?;
    let gradient = (log_q.exp()?.broadcast_mul(&p.sum_keepdim(D::Minus1)?)? - p)?;
    Ok([rows, (gradient * scale)?])
}

/// `-sum_k t_k log softmax(z)_k` of each row of logits `z`, and its gradient by them, for the
/// targets `t = (1 - smoothing) labels + smoothing / K`: from `[N, K]` twice to `[N]` and `[N, K]`.
pub fn cross_entropy(labels: &Tensor, z: &Tensor, smoothing: f64) -> Result<[Tensor; 2]> {
    alike(labels, z)?;
    let (keep, share) = (1.0 - smoothing, smoothing / z.dim(D::Minus1)? as f64);
    #[cfg(feature = "cuda")]
    if z.device().is_cuda() {
        return cuda::cross_entropy(
            floats(Backend::for_tensor(labels), labels)?,
            floats(Backend::for_tensor(z), z)?,
            keep as f32,
            share as f32,
        );
    }
    let (targets, log_q) = (labels.affine(keep, share)?, log_softmax(z, 1.0)?);
    let rows = (&targets * &log_q)?.sum(D::Minus1)?.neg()?;
    let gradient = (log_q.exp()?.broadcast_mul(&targets.sum_keepdim(D::Minus1)?)? - targets)?;
    Ok([rows, gradient])
}

fn alike(a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dims() == b.dims() && a.rank() == 2 && a.dtype() == b.dtype() {
        return Ok(());
    }
    let shapes =
        format!("expects two of [N, K], got {:?} {:?} and {:?} {:?}", a.dims(), a.dtype(), b.dims(), b.dtype());
    Err(candle_core::Error::Msg(shapes).into())
}
