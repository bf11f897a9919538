//! Decoupled knowledge distillation (DKD: Zhao et al. 2022, arXiv 2203.08679): KD split into what the teacher says of
//! the right class and what it says among the others, each with a weight of its own.
//!
//! `T^2 (alpha KL(b_t || b_s) + beta KL(q_t || q_s))`, mean over the samples, with `b = (p_y, 1 - p_y)` and `q` the
//! softmax over the `K - 1` classes beside the label, both at temperature `T`. With `beta = 1 - p_t,y` for each sample
//! it were KD.
//!
//! Deviations from the authors' code (mdistiller), which gives the same numbers where it is sound: the label's column
//! is taken out, where theirs lowers its logit by 1000; the two terms are made of logarithms, where theirs takes the
//! logarithm of probabilities that may be 0. Its warm-up, `min(epoch / 20, 1)` on CIFAR-100 and one epoch on ImageNet, is the weight's business:
//! `weight = { at = [[1, 0.05], [20, 1.0]], join = "linear" }`.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::logits::several_classes;
use crate::losses::parts::logits::{Standardise, at_label, beside_label, divergence, log_sum_exp};
use crate::losses::parts::softmax::soften;
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Teachers, changed, log_softmax};

/// Settings of [`dkd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DkdSpec {
    /// Softens both networks' probabilities; the paper's ImageNet: 1.
    #[serde(default = "four")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Weight of the right class against the others.
    #[serde(default = "one")]
    #[schemars(extend("minimum" = 0))]
    pub alpha: f64,
    /// Weight of the other classes among themselves; the authors tune it between 0.5 and 8 for each
    /// pair of networks.
    #[serde(default = "eight")]
    #[schemars(extend("minimum" = 0))]
    pub beta: f64,
    /// Gives each sample's logits mean 0 and deviation 1 first, in both networks (LSKD, arXiv
    /// 2403.01427).
    #[serde(default)]
    pub standardise: Standardise,
}

fn one() -> f64 {
    1.0
}

fn four() -> f64 {
    4.0
}

fn eight() -> f64 {
    8.0
}

/// `T^2 (alpha TCKD + beta NCKD)`, mean over the samples, for logits `[N, K]` (`K >= 2`) and labels `[N]` of `u32`. The
/// teacher is a constant.
///
/// # Errors
/// Shapes that differ, labels beyond the classes, or a device that failed.
pub fn dkd(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
    alpha: f64,
    beta: f64,
) -> Result<Tensor> {
    let (student, teacher) = (soften(student, temperature)?, soften(&teacher.detach(), temperature)?);
    let (own, other) = (beside_label(&student, labels)?, beside_label(&teacher, labels)?);
    let target = divergence(&halves(&teacher, &other, labels)?, &halves(&student, &own, labels)?)?;
    let rest = divergence(&log_softmax(&other)?, &log_softmax(&own)?)?;
    Ok((((target * alpha)? + (rest * beta)?)?.mean_all()? * temperature.powi(2))?)
}

/// `(log p_y, log (1 - p_y))` of each row, `[N, 2]`, from the row and from what stands beside its label.
fn halves(log_p: &Tensor, beside: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(Tensor::stack(&[at_label(log_p, labels)?, log_sum_exp(beside)?], 1)?)
}

impl Spec for DkdSpec {
    const ENTRY: Entry = Entry {
        kind: "dkd",
        summary: "What the teacher says of the right class and what it says among the others decide apart, each with its weight.",
        paper: "Zhao et al. 2022, arXiv 2203.08679 (DKD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        let none = self.alpha == 0.0 && self.beta == 0.0;
        changed([("alpha", none)], "with beta it is 0, and the loss with them")
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        context.at_least_zero("alpha", self.alpha)?;
        context.at_least_zero("beta", self.beta)?;
        self.standardise.check(context)?;
        several_classes(context)?;
        Ok(Box::new(Dkd { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Dkd {
    spec: DkdSpec,
}

impl Loss for Dkd {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let (view, spec) = (step.view()?, &self.spec);
        let (student, teacher) = spec.standardise.pair(&view.student.logits, &view.teacher()?.logits)?;
        dkd(&student, &teacher, view.labels, spec.temperature, spec.alpha, spec.beta)
    }
}
