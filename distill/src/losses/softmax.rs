//! Log-softmax from primitives that Candle differentiates rightly; its fused softmax silently has no gradient.

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
