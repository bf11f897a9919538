//! What losses of logits are made of: log-softmax, divergence and cross-entropy of rows, softplus.
//!
//! Candle's fused softmax silently has no gradient; these have theirs from `ops::softmax`, on CUDA in one launch with the value.

use candle_core::Tensor;

use super::differentiable::Recorded;
use crate::error::Result;
use crate::ops::softmax as ops;

/// `log softmax` over the last axis, in any float type; logits of any finite size give finite results.
///
/// # Errors
/// A scalar, or a device that failed.
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    soften(logits, 1.0)
}

/// `log softmax(z / T)` over the last axis.
pub(super) fn soften(logits: &Tensor, temperature: f64) -> Result<Tensor> {
    let scale = 1.0 / temperature;
    let value = ops::log_softmax(&logits.detach(), scale)?;
    if !logits.track_op() {
        return Ok(value);
    }
    let y = value.clone();
    let backward = move |dy: &Tensor| Ok([ops::log_softmax_backward(&y, dy, scale)?]);
    Ok(logits.apply_op1(Recorded::new("log-softmax", value, backward))?)
}

/// `KL(p || softmax(z / T))` of each row, for constant `p` given by its logarithms: two of `[N, K]` to `[N]`.
pub(super) fn divergence_from(log_p: &Tensor, logits: &Tensor, temperature: f64) -> Result<Tensor> {
    rows("divergence", logits, ops::divergence(&log_p.detach(), &logits.detach(), 1.0 / temperature)?)
}

/// `-sum_k t_k log softmax(z)_k` of each row, for constant targets `t = (1 - s) labels + s / K` with smoothing `s`: two of
/// `[N, K]` to `[N]`.
pub(super) fn cross_entropy_rows(labels: &Tensor, logits: &Tensor, smoothing: f64) -> Result<Tensor> {
    rows("cross-entropy", logits, ops::cross_entropy(&labels.detach(), &logits.detach(), smoothing)?)
}

/// Values `[N]` whose gradient by `logits` is known already.
fn rows(name: &'static str, logits: &Tensor, [values, gradient]: [Tensor; 2]) -> Result<Tensor> {
    let backward = move |dy: &Tensor| Ok([gradient.broadcast_mul(&dy.unsqueeze(1)?)?]);
    Ok(logits.apply_op1(Recorded::new(name, values, backward))?)
}

/// `log (1 + exp(x))` of each element, without overflow; its gradient is the sigmoid. What is taken out before the exponential
/// is a constant of the gradient, because it cancels.
///
/// # Errors
/// A device that failed.
pub(super) fn softplus(x: &Tensor) -> Result<Tensor> {
    let most = x.detach().maximum(0.0)?;
    Ok((&most + (most.neg()?.exp()? + (x - &most)?.exp()?)?.log()?)?)
}
