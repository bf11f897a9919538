//! Cross-entropy with the labels, optionally smoothed (Szegedy et al. 2016, arXiv 1512.00567, §7) and weighted by class;
//! both as PyTorch defines them.
//!
//! `L = -(1 / N) sum_n sum_k t'_nk log softmax(z_n)_k` with `t' = (1 - s) t + s / K`, `t` the targets (one-hot, or mixed where
//! the view mixes samples) and `s` the smoothing. With weights `w` of classes each `t'_nk` counts `w_k` times; the sum is then
//! divided by `sum_n w_(y_n)`, `y` the labels, and where the view mixes samples by `N` as before (PyTorch's rules for targets
//! that are classes and for targets that are probabilities).

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::class_weights::ClassWeights;
use crate::losses::parts::softmax::{Shares, cross_entropy_with};
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Teachers};

/// Settings of [`cross_entropy`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrossEntropySpec {
    /// Share of the target spread over all classes.
    #[serde(default)]
    #[schemars(extend("minimum" = 0, "maximum" = 1))]
    pub label_smoothing: f64,
    /// What each class counts; balanced: the more the rarer it is, so that all count alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// Whether the view mixes images; the plan says so.
    #[serde(skip)]
    mixes: bool,
}

/// `-(1/N) sum_n sum_k t'_nk log softmax(z_n)_k` with `t' = (1 - s) t + s / K`, for logits `z` and targets `t`, both
/// `[N, K]`, and smoothing `s`.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, label_smoothing: f64) -> Result<Tensor> {
    cross_entropy_with(&targets.to_dtype(logits.dtype())?, logits, label_smoothing, &Shares::mean(logits.dim(0)?))
}

/// The same with each `t'_nk` counting `w_k` times, for weights `[K]`: divided by `sum_n sum_k w_k t_nk`, which is the sum of
/// the labels' weights, or by `N` where the targets are `mixed`. A batch whose labels all weigh nothing gives 0.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn weighted_cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    label_smoothing: f64,
    weights: &[f64],
    mixed: bool,
) -> Result<Tensor> {
    let (rows, classes) = logits.dims2()?;
    let weights = Tensor::from_slice(weights, (1, classes), logits.device())?.to_dtype(logits.dtype())?;
    let targets = targets.detach().to_dtype(logits.dtype())?;
    let share = match mixed {
        true => 1.0 / rows.max(1) as f64,
        false => {
            let sum = targets.broadcast_mul(&weights)?.sum_all()?.to_dtype(candle_core::DType::F64);
            let sum = sum?.to_scalar::<f64>()?;
            if sum > 0.0 { 1.0 / sum } else { 0.0 }
        }
    };
    let smooth = targets.affine(1.0 - label_smoothing, label_smoothing / classes as f64)?;
    let weighted = smooth.broadcast_mul(&weights)?;
    cross_entropy_with(&weighted, logits, 0.0, &Shares::mean(1).times(share))
}

impl CrossEntropySpec {
    /// The same settings, the weights of classes as numbers.
    pub(in crate::losses) fn weighted(
        &self,
        context: &BuildContext<'_>,
        classes: &[String],
        counts: &[usize],
        mixes: bool,
    ) -> Result<Self> {
        let Some(weights) = &self.class_weights else { return Ok(self.clone()) };
        let settled = weights.settled(classes, counts).map_err(|problem| context.error("class_weights", problem))?;
        Ok(Self { class_weights: Some(ClassWeights::List(settled)), mixes, ..self.clone() })
    }
}

impl Spec for CrossEntropySpec {
    const ENTRY: Entry = Entry {
        kind: "cross-entropy",
        summary: "The labels decide: minus log of the probability given to the right class, mean over the batch.",
        paper: "label smoothing: Szegedy et al. 2016, arXiv 1512.00567",
        basis: Basis::Paper,
        teachers: Teachers::None,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return Err(context.error("label_smoothing", format!("{} is not in [0, 1]", self.label_smoothing)));
        }
        let weights = match &self.class_weights {
            None => None,
            Some(ClassWeights::List(weights)) => {
                let classes = context.student.output_shape().iter().product();
                ClassWeights::check(weights, classes).map_err(|problem| context.error("class_weights", problem))?;
                Some(weights.clone())
            }
            Some(_) => return Err(context.error("class_weights", "follow from the data, and there is none")),
        };
        Ok(Box::new(CrossEntropy { label_smoothing: self.label_smoothing, weights, mixes: self.mixes }))
    }
}

#[derive(Debug)]
struct CrossEntropy {
    label_smoothing: f64,
    weights: Option<Vec<f64>>,
    mixes: bool,
}

impl Loss for CrossEntropy {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        let (logits, targets) = (&view.student.logits, view.targets);
        match &self.weights {
            None => cross_entropy(logits, targets, self.label_smoothing),
            Some(weights) => weighted_cross_entropy(logits, targets, self.label_smoothing, weights, self.mixes),
        }
    }
}
