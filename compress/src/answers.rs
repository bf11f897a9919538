//! What networks answer, and how far answers are apart.

use attar_exec::Network;
use attar_measures::log_softmax;
use candle_core::Tensor;

use crate::error::{Error, Result};

/// Logarithms of the probabilities that a network answers a batch `[N, C, H, W]` with, one row `[K]` an image.
///
/// # Errors
/// A network whose answer is not `[N, K]`; a device that failed.
pub(crate) fn log_probabilities(network: &Network, batch: &Tensor) -> Result<Vec<Vec<f64>>> {
    let logits = network.eval(batch, &[])?.logits;
    if logits.dims().len() != 2 {
        let problem = format!("its answer is {:?}, expected [N, K] logits", logits.dims());
        return Err(Error::setting(network.graph().name(), problem));
    }
    Ok(logits.to_vec2::<f32>()?.iter().map(|row| log_softmax(row)).collect())
}

/// Mean over images of `sum p (log p - log q)`, in nats.
pub(crate) fn mean_kl(reference: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    let of = |(p, q): (&Vec<f64>, &Vec<f64>)| p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
    reference.iter().zip(other).map(of).sum::<f64>() / reference.len().max(1) as f64
}
