//! What losses of logits are made of, on CUDA. The CPU composes them, and would be compared with
//! itself.

use candle_core::Tensor;

use super::{Checks, ROUNDING, random};
use crate::context::Context;
use crate::error::Result;
use crate::ops::softmax;

pub(super) fn losses(checks: &mut Checks) -> Result<()> {
    for shape in [[1, 1], [7, 10], [64, 100], [3, 1000]] {
        for temperature in [1.0, 4.0] {
            let case = format!("{}x{}, temperature {temperature}", shape[0], shape[1]);
            let scale = 1.0 / temperature;
            checks.compare("log-softmax", &case, ROUNDING, |at| {
                let y = softmax::log_softmax(&logits(&shape, 1, at)?, scale)?;
                let dx = softmax::log_softmax_backward(&y, &random(&shape, 2, at)?, scale)?;
                Ok(vec![("y", y), ("dx", dx)])
            })?;
            checks.compare("divergence", &case, ROUNDING, |at| {
                let log_p = softmax::log_softmax(&logits(&shape, 3, at)?, scale)?;
                let [rows, gradient] = softmax::divergence(&log_p, &logits(&shape, 4, at)?, scale)?;
                Ok(vec![("rows", rows), ("gradient", gradient)])
            })?;
        }
        let case = format!("{}x{}, smoothed", shape[0], shape[1]);
        checks.compare("cross-entropy", &case, ROUNDING, |at| {
            let labels = softmax::log_softmax(&random(&shape, 5, at)?, 1.0)?.exp()?;
            let [rows, gradient] = softmax::cross_entropy(&labels, &logits(&shape, 6, at)?, 0.1)?;
            Ok(vec![("rows", rows), ("gradient", gradient)])
        })?;
    }
    Ok(())
}

/// As far apart as those of a network that is sure.
fn logits(shape: &[usize], seed: u64, at: &Context) -> Result<Tensor> {
    Ok((random(shape, seed, at)? * 30.0)?)
}
