//! What becomes of samples that the teacher classifies wrongly: kept, dropped (GKD: Zhou et al. 2020, arXiv 2006.01683)
//! or repaired (knowledge adjustment, KA: Wen et al. 2019, arXiv 1911.07471).
//!
//! The text of KA could not be opened; its two repairs are those of others' implementations. The probability shift
//! swaps the teacher's values of its top class and of the label (before or after the softmax is the same at any one
//! temperature). The smoothed label stands in for the whole softened answer, and it is our reading that the temperature
//! then softens the student alone.

use candle_core::{D, DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::label_mask;
use crate::error::Result;
use crate::losses::parts::softmax::Shares;
use crate::losses::{BuildContext, Idle, changed};

/// What becomes of a sample whose label is not the teacher's top class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// It counts like any other.
    #[default]
    #[serde(alias = "none")]
    Keep,
    /// It does not count (GKD).
    #[serde(alias = "teacher-right")]
    Drop,
    /// The teacher's top class and the label exchange their values (KA, probability shift).
    Swap,
    /// A smoothed label stands in for the teacher's answer (KA, after label smoothing).
    Smooth,
}

/// What a sum without the dropped samples is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Denominator {
    /// The number of samples that count (1 if none does), as in the authors' code.
    #[default]
    Correct,
    /// The size of the batch, so that each sample weighs the same in every batch.
    Batch,
}

/// [`Wrong`] with what it needs to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repair {
    /// What becomes of wrong samples.
    pub wrong: Wrong,
    /// What the sum over the others is divided by where they are dropped.
    pub denominator: Denominator,
    /// Share of a smoothed label that the other classes get together, in `(0, 1)`.
    pub epsilon: f64,
}

pub(in crate::losses) fn tenth() -> f64 {
    0.1
}

/// Keeps every sample as it is.
impl Default for Repair {
    fn default() -> Self {
        Self { wrong: Wrong::Keep, denominator: Denominator::Correct, epsilon: tenth() }
    }
}

impl Repair {
    /// The teacher's logits, with the swaps that the repair asks for.
    pub(in crate::losses) fn logits(&self, teacher: &Tensor, labels: &Tensor) -> Result<Tensor> {
        match self.wrong {
            Wrong::Swap => swap(teacher, labels),
            _ => Ok(teacher.detach()),
        }
    }

    /// The logarithms of the targets, `[N, K]`: `log_soft` is the teacher's softened answer to [`Repair::logits`], into
    /// which the smoothed labels are put that the repair asks for.
    pub(in crate::losses) fn targets(&self, log_soft: Tensor, teacher: &Tensor, labels: &Tensor) -> Result<Tensor> {
        match self.wrong {
            Wrong::Smooth => {
                let smoothed = smooth(labels, log_soft.dim(1)?, self.epsilon)?.to_dtype(log_soft.dtype())?;
                let right = right(teacher, labels)?.unsqueeze(1)?.broadcast_as(log_soft.shape())?.contiguous()?;
                Ok(right.where_cond(&log_soft, &smoothed)?)
            }
            _ => Ok(log_soft),
        }
    }

    /// What each sample counts for in a mean over those that count.
    pub(in crate::losses) fn shares(&self, teacher: &Tensor, labels: &Tensor) -> Result<Shares> {
        let mean = Shares::mean(labels.dim(0)?);
        if self.wrong != Wrong::Drop {
            return Ok(mean);
        }
        let right = right(teacher, labels)?.to_dtype(teacher.dtype())?;
        match self.denominator {
            Denominator::Correct => Ok(Shares::of(&right.broadcast_div(&right.sum_all()?.maximum(1.0)?)?)),
            Denominator::Batch => Ok(mean.weighted(&right)),
        }
    }

    /// The settings that [`Wrong`] leaves unread.
    pub(in crate::losses) fn idle(&self) -> Vec<Idle> {
        let own = Self::default();
        let denominator = self.wrong != Wrong::Drop && self.denominator != own.denominator;
        let epsilon = self.wrong != Wrong::Smooth && self.epsilon != own.epsilon;
        let mut idle = changed([("denominator", denominator)], "only wrong = \"drop\" drops samples from the sum");
        idle.extend(changed([("epsilon", epsilon)], "only wrong = \"smooth\" smooths labels"));
        idle
    }

    pub(in crate::losses) fn check(&self, context: &BuildContext<'_>) -> Result<()> {
        if self.epsilon > 0.0 && self.epsilon < 1.0 {
            return Ok(());
        }
        Err(context.error("epsilon", format!("{}, expected a share between 0 and 1", self.epsilon)))
    }
}

/// Where the label is the teacher's top class, as truth values: `[N]` of `u8`. Of tied classes the first is the top
/// one, as in PyTorch.
fn right(teacher: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(teacher.detach().argmax(D::Minus1)?.eq(labels)?)
}

/// The teacher's logits `[N, K]` with the values of its top class and of the label exchanged, so that the label is on
/// top (the probability shift of KA). `labels` is `[N]` of `u32`. Right answers stay as they are.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn swap(teacher: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let teacher = teacher.detach().contiguous()?;
    let (_, classes) = teacher.dims2()?;
    let top = teacher.argmax(D::Minus1)?;
    let all = |row: &Tensor| row.unsqueeze(1)?.broadcast_as(teacher.shape())?.contiguous();
    let columns = Tensor::arange(0, u32::try_from(classes).unwrap_or_default(), teacher.device())?;
    let columns = columns.unsqueeze(0)?.broadcast_as(teacher.shape())?.contiguous()?;
    // Columns are exchanged, not values added and taken away, so that the numbers stay exact.
    let from = label_mask(&top, classes)?.where_cond(&all(labels)?, &columns)?;
    let from = label_mask(labels, classes)?.where_cond(&all(&top)?, &from)?;
    Ok(teacher.gather(&from, 1)?)
}

/// The logarithms (`[N, K]` of `f64`) of labels of which the other classes share `epsilon`: `1 - epsilon` for the label
/// and `epsilon / (K - 1)` elsewhere.
///
/// # Errors
/// A device that failed.
pub fn smooth(labels: &Tensor, classes: usize, epsilon: f64) -> Result<Tensor> {
    let (label, other) = ((1.0 - epsilon).ln(), (epsilon / (classes.max(2) - 1) as f64).ln());
    Ok(label_mask(labels, classes)?.to_dtype(DType::F64)?.affine(label - other, other)?)
}
