//! Cross-entropy with the labels, optionally smoothed (Szegedy et al. 2016, arXiv 1512.00567, §7; PyTorch's definition).
//!
//! `L = -(1 / N) sum_n sum_k t'_nk log softmax(z_n)_k` with `t' = (1 - s) t + s / K`, `t` the targets (one-hot, or mixed where
//! the view mixes samples) and `s` the smoothing.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::softmax::{Shares, cross_entropy_with};
use super::{Basis, Entry, Loss, Site, Spec, Step, Teachers, setting};
use crate::error::Result;

/// Settings of [`cross_entropy`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossEntropySpec {
    /// Share of the target spread evenly over all classes, in `[0, 1]`.
    #[serde(default)]
    pub label_smoothing: f64,
}

/// `-(1/N) sum_n sum_k t'_nk log softmax(z_n)_k` with `t' = (1 - s) t + s / K`, for logits `z` and targets `t`, both
/// `[N, K]`, and smoothing `s`.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, label_smoothing: f64) -> Result<Tensor> {
    cross_entropy_with(&targets.to_dtype(logits.dtype())?, logits, label_smoothing, &Shares::mean(logits.dim(0)?))
}

impl Spec for CrossEntropySpec {
    const ENTRY: Entry = Entry {
        kind: "cross-entropy",
        summary: "The labels decide: minus log of the probability given to the right class, mean over the batch.",
        paper: "label smoothing: Szegedy et al. 2016, arXiv 1512.00567",
        basis: Basis::Paper,
        teachers: Teachers::None,
        settings: &[setting("label_smoothing", "0 to 1", Some("0"), "share of the target spread over all classes")],
    };

    fn build(&self, site: &Site<'_>) -> Result<Box<dyn Loss>> {
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return Err(site.error("label_smoothing", format!("{} is not in [0, 1]", self.label_smoothing)));
        }
        Ok(Box::new(CrossEntropy { label_smoothing: self.label_smoothing }))
    }
}

#[derive(Debug)]
struct CrossEntropy {
    label_smoothing: f64,
}

impl Loss for CrossEntropy {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        cross_entropy(&view.student.logits, view.targets, self.label_smoothing)
    }
}
