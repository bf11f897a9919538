//! What losses of logits are made of: log-softmax, divergence and cross-entropy of rows, whose gradients are those of
//! `ops::softmax` (Candle's fused softmax silently has none), and softplus of Candle's operations.

use attar_exec::ops::softmax;
use candle_core::Tensor;

use crate::error::Result;
use crate::losses::parts::differentiable::Recorded;

/// `log softmax` over the last axis; logits of any finite size give finite results. `f32`, and on the CPU any float type.
///
/// # Errors
/// A scalar, a type that the device does not compute in, or a device that failed.
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    soften(logits, 1.0)
}

/// `log softmax(z / T)` over the last axis.
pub(in crate::losses) fn soften(logits: &Tensor, temperature: f64) -> Result<Tensor> {
    let scale = 1.0 / temperature;
    let value = softmax::log_softmax(&logits.detach(), scale)?;
    if !logits.track_op() {
        return Ok(value);
    }
    let y = value.clone();
    let backward = move |dy: &Tensor| Ok([softmax::log_softmax_backward(&y, dy, scale)?]);
    Ok(logits.apply_op1(Recorded::new("log-softmax", value, backward))?)
}

/// What each row of a loss counts for in its sum; constants.
#[derive(Debug, Clone)]
pub(in crate::losses) struct Shares {
    /// Of each row, `[N]`; 1 where there are none.
    weights: Option<Tensor>,
    /// Of all rows.
    factor: f64,
}

impl Shares {
    /// Of a mean over `rows`.
    pub(in crate::losses) fn mean(rows: usize) -> Self {
        Self { weights: None, factor: 1.0 / rows.max(1) as f64 }
    }

    /// These, `[N]`, as they are.
    pub(in crate::losses) fn of(weights: &Tensor) -> Self {
        Self { weights: Some(weights.detach()), factor: 1.0 }
    }

    /// Each row also by its own weight, `[N]`.
    pub(in crate::losses) fn weighted(self, weights: &Tensor) -> Self {
        Self { factor: self.factor, ..Self::of(weights) }
    }

    /// All of it `factor` times.
    pub(in crate::losses) fn times(self, factor: f64) -> Self {
        Self { factor: self.factor * factor, ..self }
    }

    /// The sum of rows `[N]`.
    pub(in crate::losses) fn total(&self, rows: &Tensor) -> Result<Tensor> {
        let sum = match &self.weights {
            Some(weights) => (rows * weights)?.sum_all()?,
            None => rows.sum_all()?,
        };
        Ok((sum * self.factor)?)
    }
}

/// The sum by `shares` of `KL(p || softmax(z / T))` of each row, for constant `p` given by its logarithms: from two of `[N, K]`.
pub(in crate::losses) fn divergence_from(
    log_p: &Tensor,
    logits: &Tensor,
    temperature: f64,
    shares: &Shares,
) -> Result<Tensor> {
    summed("divergence", logits, softmax::divergence(&log_p.detach(), &logits.detach(), 1.0 / temperature)?, shares)
}

/// The sum by `shares` of `-sum_k t_k log softmax(z)_k` of each row, for constant targets `t = (1 - s) labels + s / K` with
/// smoothing `s`: from two of `[N, K]`.
pub(in crate::losses) fn cross_entropy_with(
    labels: &Tensor,
    logits: &Tensor,
    smoothing: f64,
    shares: &Shares,
) -> Result<Tensor> {
    summed("cross-entropy", logits, softmax::cross_entropy(&labels.detach(), &logits.detach(), smoothing)?, shares)
}

/// The sum of rows whose gradient by `logits` is known already.
fn summed(name: &'static str, logits: &Tensor, [rows, gradient]: [Tensor; 2], shares: &Shares) -> Result<Tensor> {
    let value = shares.total(&rows)?;
    let Shares { weights, factor } = shares.clone();
    let backward = move |dy: &Tensor| {
        let slope = (dy * factor)?;
        Ok([match &weights {
            Some(weights) => gradient.broadcast_mul(&weights.broadcast_mul(&slope)?.unsqueeze(1)?)?,
            None => gradient.broadcast_mul(&slope)?,
        }])
    };
    Ok(logits.apply_op1(Recorded::new(name, value, backward))?)
}

/// `log (1 + exp(x))` of each element, without overflow; its gradient is the sigmoid. What is taken out before the exponential
/// is a constant of the gradient, because it cancels.
///
/// # Errors
/// A device that failed.
pub(in crate::losses) fn softplus(x: &Tensor) -> Result<Tensor> {
    let most = x.detach().maximum(0.0)?;
    Ok((&most + (most.neg()?.exp()? + (x - &most)?.exp()?)?.log()?)?)
}
