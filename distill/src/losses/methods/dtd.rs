//! Dynamic temperature distillation (DTD: Wen et al. 2019, arXiv 1911.07471): confusing samples are distilled at a
//! lower, sharper temperature, those at which student and teacher agree at a higher one.
//!
//! `tau_n = tau_0 + beta (mean(w) - w_n)` with the mean over the batch, and
//! `-(1 / N) sum_n sum_k softmax(z_t,n / tau_n)_k log softmax(z_s,n / tau_n)_k`, without the factor `T^2`. Two weights:
//! FLSW `w = (1 - cos(z_s, z_t))^gamma`, and CWSM `w = 1 / (max softmax(z_s) + 1e-3)`. No gradient passes `tau`.
//!
//! The paper's text could not be opened; this is how TextBrewer restates it, teachers repaired by a swap before the
//! temperatures are drawn included. Ours are the lower bound `least` (their `tau` falls below 0 for a large `beta`)
//! and, under `wrong = "drop"`, a mean of `w` over all samples.
//!
//! With `standardise` the angle of FLSW is between standardised logits too, where LSKD does not go: our reading.

use candle_core::{D, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::logits::{Denominator, Repair, Standardise, Wrong, cross, tenth};
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Teachers, log_softmax};

/// Settings of [`dtd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DtdSpec {
    /// The mean temperature of a batch.
    #[serde(default = "four")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// What lowers a sample's temperature: the angle between student and teacher to the power
    /// gamma, or a student unsure of itself; times beta, but never below least.
    #[serde(default)]
    pub dynamic: Dynamic,
    /// Samples that the teacher classifies wrongly: kept, dropped (GKD), the values of its top
    /// class and the label swapped (KA, our reading), or a smoothed label in place of its answer
    /// (KA, our reading).
    #[serde(default)]
    pub wrong: Wrong,
    /// What a sum without dropped samples is divided by; unused unless wrong = drop.
    #[serde(default)]
    pub denominator: Denominator,
    /// Share of the other classes in a smoothed label; unused unless wrong = smooth.
    #[serde(default = "tenth")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub epsilon: f64,
    /// Gives each sample's logits mean 0 and deviation 1 first, in both networks (LSKD, arXiv
    /// 2403.01427).
    #[serde(default)]
    pub standardise: Standardise,
}

/// How confusing a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Dynamic {
    /// By the angle between the logits of student and teacher, after the focal loss.
    Flsw {
        /// Temperature for each unit of the weight.
        #[serde(default = "one")]
        beta: f64,
        /// Power of one minus the cosine.
        #[serde(default = "two")]
        gamma: f64,
        /// The lowest temperature.
        #[serde(default = "one")]
        least: f64,
    },
    /// By the student's largest probability.
    Cwsm {
        /// Temperature for each unit of the weight.
        #[serde(default = "one")]
        beta: f64,
        /// The lowest temperature.
        #[serde(default = "one")]
        least: f64,
    },
}

fn one() -> f64 {
    1.0
}

fn two() -> f64 {
    2.0
}

fn four() -> f64 {
    4.0
}

/// By the angle, `beta` 1, `gamma` 2, at least 1.
impl Default for Dynamic {
    fn default() -> Self {
        Self::Flsw { beta: one(), gamma: two(), least: one() }
    }
}

impl Dynamic {
    fn least(self) -> f64 {
        match self {
            Self::Flsw { least, .. } | Self::Cwsm { least, .. } => least,
        }
    }

    fn check(self, context: &BuildContext<'_>) -> Result<()> {
        let (beta, gamma, least) = match self {
            Self::Flsw { beta, gamma, least } => (beta, gamma, least),
            Self::Cwsm { beta, least } => (beta, two(), least),
        };
        context.at_least_zero("dynamic.beta", beta)?;
        context.positive("dynamic.gamma", gamma)?;
        context.positive("dynamic.least", least)
    }
}

/// The temperature of each sample, `[N]`, around `base`: constants. Logits are `[N, K]`.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn temperatures(student: &Tensor, teacher: &Tensor, base: f64, dynamic: Dynamic) -> Result<Tensor> {
    let (student, teacher) = (student.detach(), teacher.detach());
    let (weights, beta) = match dynamic {
        Dynamic::Flsw { beta, gamma, .. } => {
            let unit = |z: &Tensor| z.broadcast_div(&(z.sqr()?.sum_keepdim(D::Minus1)?.sqrt()? + 1e-4)?);
            let cosine = (unit(&student)? * unit(&teacher)?)?.sum(D::Minus1)?;
            ((1.0 - cosine)?.maximum(0.0)?.powf(gamma)?, beta)
        }
        Dynamic::Cwsm { beta, .. } => {
            let most = log_softmax(&student)?.max(D::Minus1)?.exp()?;
            ((most + 1e-3)?.recip()?, beta)
        }
    };
    let moved = (weights.mean_keepdim(0)?.broadcast_sub(&weights)? * beta)?;
    Ok((moved + base)?.maximum(dynamic.least())?)
}

/// `-(1 / N) sum_n sum_k q_nk log softmax(z_s,n / tau_n)_k`, for logits `[N, K]`, `labels` `[N]` of `u32` and
/// temperatures `tau` from [`temperatures`] of the student and the repaired teacher; `q` is the teacher's answer at
/// `tau_n`, repaired where it is wrong. The teacher and the temperatures are constants.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn dtd(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    base: f64,
    dynamic: Dynamic,
    repair: &Repair,
) -> Result<Tensor> {
    let repaired = repair.logits(teacher, labels)?;
    let tau = temperatures(student, &repaired, base, dynamic)?.unsqueeze(1)?;
    let soft = log_softmax(&repaired.broadcast_div(&tau)?)?;
    let rows = cross(&repair.targets(soft, teacher, labels)?, &log_softmax(&student.broadcast_div(&tau)?)?)?;
    repair.shares(teacher, labels)?.total(&rows)
}

impl DtdSpec {
    fn repair(&self) -> Repair {
        Repair { wrong: self.wrong, denominator: self.denominator, epsilon: self.epsilon }
    }
}

impl Spec for DtdSpec {
    const ENTRY: Entry = Entry {
        kind: "dtd",
        summary: "The teacher's probabilities decide, softened less where a sample is confusing: soft cross-entropy, mean over the samples.",
        paper: "Wen et al. 2019, arXiv 1911.07471 (DTD, KA)",
        basis: Basis::Reading,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        self.repair().idle()
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        self.dynamic.check(context)?;
        if self.dynamic.least() > self.temperature {
            let problem = format!("{} is above the mean temperature {}", self.dynamic.least(), self.temperature);
            return Err(context.error("dynamic.least", problem));
        }
        self.repair().check(context)?;
        self.standardise.check(context)?;
        context.same_classes()?;
        Ok(Box::new(Dtd { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Dtd {
    spec: DtdSpec,
}

impl Loss for Dtd {
    /// The angle between logits is one of the logits themselves; standardised ones have mean 0 in any case.
    fn reads_raw_logits(&self) -> bool {
        matches!(self.spec.dynamic, Dynamic::Flsw { .. }) && !self.spec.standardise.is_on()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let (view, spec) = (step.view()?, &self.spec);
        let (student, teacher) = spec.standardise.pair(&view.student.logits, &view.teacher()?.logits)?;
        dtd(&student, &teacher, view.labels, spec.temperature, spec.dynamic, &spec.repair())
    }
}
