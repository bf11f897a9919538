//! What losses of logits are made of, on CUDA. The CPU composes them, and would be compared with itself.

use candle_core::{Device, Tensor};

use super::{Checks, ROUNDING, random};
use crate::error::Result;
use crate::ops::softmax;

pub(super) fn losses(checks: &mut Checks<'_>) -> Result<()> {
    for shape in [[1, 1], [7, 10], [64, 100], [3, 1000]] {
        for temperature in [1.0, 4.0] {
            let case = format!("{}x{}, temperature {temperature}", shape[0], shape[1]);
            let scale = 1.0 / temperature;
            checks.compare("log-softmax", &case, ROUNDING, |device| {
                let y = softmax::log_softmax(&logits(&shape, 1, device)?, scale)?;
                let dx = softmax::log_softmax_backward(&y, &random(&shape, 2, device)?, scale)?;
                Ok(vec![("y", y), ("dx", dx)])
            })?;
            checks.compare("divergence", &case, ROUNDING, |device| {
                let log_p = softmax::log_softmax(&logits(&shape, 3, device)?, scale)?;
                let [rows, gradient] = softmax::divergence(&log_p, &logits(&shape, 4, device)?, scale)?;
                Ok(vec![("rows", rows), ("gradient", gradient)])
            })?;
        }
        let case = format!("{}x{}, smoothed", shape[0], shape[1]);
        checks.compare("cross-entropy", &case, ROUNDING, |device| {
            let labels = softmax::log_softmax(&random(&shape, 5, device)?, 1.0)?.exp()?;
            let [rows, gradient] = softmax::cross_entropy(&labels, &logits(&shape, 6, device)?, 0.1)?;
            Ok(vec![("rows", rows), ("gradient", gradient)])
        })?;
    }
    Ok(())
}

/// As far apart as those of a network that is sure.
fn logits(shape: &[usize], seed: u64, device: &Device) -> Result<Tensor> {
    Ok((random(shape, seed, device)? * 30.0)?)
}
