//! Normalised knowledge distillation (NKD: Yang et al. 2023, arXiv 2303.13005): the label's cross-entropy weighted by
//! the teacher's trust in it, and a cross-entropy among the other classes, renormalised in both networks.
//!
//! `-(1 / N) sum_n [ p_t,y log p_s,y + gamma T^2 sum_k q_t,k log q_s,k ]` with `p` the softmax at temperature 1 and `q`
//! the softmax at `T` over the `K - 1` classes beside the label. It stands beside the ordinary cross-entropy.
//! Deviations from the authors' code: none.
//!
//! With `standardise` the label's term reads standardised logits too, where LSKD does not go: our reading.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::logits::{Standardise, at_label, beside_label, cross, several_classes, trust};
use crate::losses::parts::softmax::soften;
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Teachers, changed, log_softmax};

/// Settings of [`nkd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NkdSpec {
    /// Softens the probabilities of the other classes; the authors' CIFAR-100: 3.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Weight of the other classes; the authors' CIFAR-100: 3.5.
    #[serde(default = "one_and_a_half")]
    #[schemars(extend("minimum" = 0))]
    pub gamma: f64,
    /// Gives each sample's logits mean 0 and deviation 1 first, in both networks (LSKD, arXiv
    /// 2403.01427).
    #[serde(default)]
    pub standardise: Standardise,
}

fn one() -> f64 {
    1.0
}

fn one_and_a_half() -> f64 {
    1.5
}

/// `-(1 / N) sum_n p_t,y log p_s,y` at temperature 1, for logits `[N, K]` and labels `[N]` of `u32`: the label's
/// cross-entropy, weighted by the probability that the teacher, a constant, gives to it.
///
/// # Errors
/// Shapes that differ, labels beyond the classes, or a device that failed.
pub fn trusted_label(student: &Tensor, teacher: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok((at_label(&log_softmax(student)?, labels)? * trust(teacher, labels)?)?.mean_all()?.neg()?)
}

/// [`trusted_label`] plus `gamma T^2` times the mean cross-entropy between teacher and student over the classes beside
/// the label, for logits `[N, K]` (`K >= 2`) and labels `[N]` of `u32`. The teacher is a constant.
///
/// # Errors
/// Shapes that differ, labels beyond the classes, or a device that failed.
pub fn nkd(student: &Tensor, teacher: &Tensor, labels: &Tensor, temperature: f64, gamma: f64) -> Result<Tensor> {
    let other = soften(&beside_label(&teacher.detach(), labels)?, temperature)?;
    let own = soften(&beside_label(student, labels)?, temperature)?;
    let rest = cross(&other, &own)?.mean_all()?;
    Ok((trusted_label(student, teacher, labels)? + (rest * (gamma * temperature.powi(2)))?)?)
}

impl Spec for NkdSpec {
    const ENTRY: Entry = Entry {
        kind: "nkd",
        summary: "The label decides as far as the teacher trusts it, and the teacher among the other classes; beside the ordinary cross-entropy.",
        paper: "Yang et al. 2023, arXiv 2303.13005 (NKD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        match self.gamma == 0.0 {
            true => changed(
                [("temperature", self.temperature != one())],
                "gamma is 0, and it softens the other classes only",
            ),
            false => Vec::new(),
        }
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        context.at_least_zero("gamma", self.gamma)?;
        self.standardise.check(context)?;
        several_classes(context)?;
        Ok(Box::new(Nkd { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Nkd {
    spec: NkdSpec,
}

impl Loss for Nkd {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let (view, spec) = (step.view()?, &self.spec);
        let (student, teacher) = spec.standardise.pair(&view.student.logits, &view.teacher()?.logits)?;
        nkd(&student, &teacher, view.labels, spec.temperature, spec.gamma)
    }
}
