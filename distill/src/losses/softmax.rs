//! Log-softmax and softplus from primitives that Candle differentiates rightly; its fused softmax silently has no gradient.

use candle_core::{D, Tensor};

use crate::error::Result;

/// `log softmax` over the last axis, in any float type. The maximum is subtracted first, so logits of any finite size
/// give finite results; it is a constant of the gradient, because its contributions cancel.
///
/// # Errors
/// A scalar, or a device that failed.
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&log_sum)?)
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
