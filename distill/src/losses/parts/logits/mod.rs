//! What the losses of logits share: softened probabilities, the right class and the others, divergences of rows; and
//! what may stand in front of any of them: [`Standardise`] and, where the teacher errs, [`Repair`].

mod standardise;
mod wrong;

use candle_core::{D, DType, Tensor};

use crate::error::Result;
use crate::losses::{BuildContext, log_softmax};

pub use standardise::{Deviation, Spread, Standardise, standardise};
pub use wrong::{Denominator, Repair, Wrong, smooth, swap};

pub(in crate::losses) use wrong::tenth;

/// `KL(p || q)` of each row, from the logarithms of both: two of `[N, K]` to `[N]`.
pub(in crate::losses) fn divergence(log_p: &Tensor, log_q: &Tensor) -> Result<Tensor> {
    Ok((log_p.exp()? * (log_p - log_q)?)?.sum(D::Minus1)?)
}

/// `-sum_k p_k log q_k` of each row, from the logarithms of both: two of `[N, K]` to `[N]`.
pub(in crate::losses) fn cross(log_p: &Tensor, log_q: &Tensor) -> Result<Tensor> {
    Ok((log_p.exp()? * log_q)?.sum(D::Minus1)?.neg()?)
}

/// `log sum_k exp(z_k)` of each row, `[N, K]` to `[N]`; finite for all finite rows.
pub(in crate::losses) fn log_sum_exp(rows: &Tensor) -> Result<Tensor> {
    let most = rows.detach().max_keepdim(D::Minus1)?;
    let log_sum = rows.broadcast_sub(&most)?.exp()?.sum(D::Minus1)?.log()?;
    Ok((log_sum + most.squeeze(D::Minus1)?)?)
}

/// The element of each row at its label: `[N, K]` and `[N]` of `u32` to `[N]`.
pub(in crate::losses) fn at_label(rows: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(rows.contiguous()?.gather(&labels.unsqueeze(1)?.contiguous()?, 1)?.squeeze(1)?)
}

/// The probability that logits `[N, K]` give to the label of each row, `[N]`; a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn trust(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(at_label(&log_softmax(&logits.detach())?, labels)?.exp()?)
}

/// The elements of each row beside the one at its label, in their order: `[N, K]` and `[N]` of `u32` to `[N, K - 1]`.
pub(in crate::losses) fn beside_label(rows: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (samples, classes) = rows.dims2()?;
    let last = u32::try_from(classes).unwrap_or_default().saturating_sub(1);
    let columns = Tensor::arange(0, last, rows.device())?.unsqueeze(0)?.broadcast_as((samples, last as usize))?;
    let beyond = columns.broadcast_ge(&labels.unsqueeze(1)?)?.to_dtype(DType::U32)?; // the label's column is stepped over
    Ok(rows.contiguous()?.gather(&(columns + beyond)?.contiguous()?, 1)?)
}

/// 1 at the label of each row and 0 elsewhere, as truth values: `[N]` of `u32` to `[N, K]` of `u8`.
pub(in crate::losses) fn label_mask(labels: &Tensor, classes: usize) -> Result<Tensor> {
    let columns = Tensor::arange(0, u32::try_from(classes).unwrap_or_default(), labels.device())?;
    Ok(labels.unsqueeze(1)?.broadcast_eq(&columns.unsqueeze(0)?)?)
}

/// Checks that student and teacher know the same classes, and that there are others beside the right one.
pub(in crate::losses) fn several_classes(context: &BuildContext<'_>) -> Result<usize> {
    match context.same_classes()? {
        0 | 1 => {
            Err(context.error("kind", "this loss compares the other classes, and the networks know a single class"))
        }
        classes => Ok(classes),
    }
}
