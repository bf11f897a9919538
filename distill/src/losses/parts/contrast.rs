//! Contrastive terms: each anchor shall recognise its own among others.

use candle_core::{D, Tensor};

use crate::error::Result;
use crate::losses::log_softmax;
use crate::losses::parts::softmax::softplus;

/// InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) of each anchor, `[N]`:
/// `-log (exp(a_i · c_i / T) / sum_j exp(a_i · c_j / T))` for anchors `[N, D]` and candidates `[M, D]` of unit length,
/// `M >= N`, the `i`-th candidate belonging to the `i`-th anchor. 0 where there is nothing to tell apart.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn info_nce(anchors: &Tensor, candidates: &Tensor, temperature: f64) -> Result<Tensor> {
    let n = anchors.dims2()?.0;
    let scores = (anchors.matmul(&candidates.t()?)? / temperature)?;
    let own = Tensor::arange(0u32, n as u32, anchors.device())?.unsqueeze(1)?;
    Ok(log_softmax(&scores)?.gather(&own, 1)?.squeeze(1)?.neg()?)
}

/// Noise-contrastive estimation as in the code of CRD (Tian et al. 2020, arXiv 1910.10699, eq. 18), summed over `M`
/// negatives and averaged over anchors:
///
/// `-(1/B) sum_b [ log (P_b0 / (P_b0 + c + e)) + sum_m log (c / (P_bm + c + e)) ]`, `P = exp(score) / Z`, `c = M / samples`,
/// `e = 1e-7`, for scores `[B, 1 + M]` (similarity over temperature, each anchor's own first) and `log Z`.
///
/// Computed from logarithms, so that no temperature overflows.
///
/// # Errors
/// Not two axes or no negatives, or a device that failed.
pub fn noise_contrast(scores: &Tensor, log_partition: f64, samples: usize) -> Result<Tensor> {
    let (anchors, columns) = scores.dims2()?;
    let negatives = columns.saturating_sub(1);
    if anchors == 0 || negatives == 0 {
        return Err(candle_core::Error::Msg(format!("contrast of {:?} scores without negatives", scores.dims())).into());
    }
    let noise = negatives as f64 / samples as f64;
    let log_noise = (noise + 1e-7).ln();
    let log_odds = (scores - (log_partition + log_noise))?;
    let positive = softplus(&log_odds.narrow(1, 0, 1)?.neg()?)?.sum_all()?;
    let negative = softplus(&log_odds.narrow(1, 1, negatives)?)?.sum_all()?;
    let rest = negatives as f64 * (log_noise - noise.ln());
    Ok((((positive + negative)? / anchors as f64)? + rest)?)
}

/// `log (samples · mean exp(scores))`, the constant `Z` that CRD fixes from its first batch.
///
/// # Errors
/// No scores, or a device that failed.
pub fn log_partition(scores: &Tensor, samples: usize) -> Result<f64> {
    let scores = scores.detach().flatten_all()?.to_dtype(candle_core::DType::F64)?;
    let most = scores.max(0)?.to_scalar::<f64>()?;
    let mean = (scores - most)?.exp()?.mean(D::Minus1)?.to_scalar::<f64>()?;
    Ok(most + mean.ln() + (samples as f64).ln())
}
