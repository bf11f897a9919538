//! Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531, §2): the student follows the teacher's softened
//! probabilities. What becomes of samples that the teacher classifies wrongly is a setting: kept, dropped (GKD: Zhou et
//! al. 2020, arXiv 2006.01683), or repaired (KA: Wen et al. 2019, arXiv 1911.07471); see [`Wrong`].
//!
//! Deviations from the authors' code of GKD, which gives the same numbers where it is sound: a batch in which the
//! teacher is never right gives 0 (theirs divides by zero); wrong samples are left out by a weight of 0 on their row
//! (theirs rewrites zeros among the teacher's probabilities to ones, underflowed ones of right samples too, which then
//! add `-log p_s`). KA's text could not be opened: its repairs follow others' code, `T^2 KL` is kept for them, and the
//! labels' own cross-entropy is a loss of its own, to be left out as the paper is said to do.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::logits::{Denominator, Repair, Standardise, Wrong, tenth};
use crate::losses::parts::softmax::{Shares, divergence_from, soften};
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Teachers};

/// Settings of [`kd`] and [`repaired_kd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KdSpec {
    /// Softens both networks' probabilities.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Samples that the teacher classifies wrongly: kept, dropped (GKD), the values of its top
    /// class and the label swapped (KA, our reading), or a smoothed label in place of its answer
    /// (KA, our reading). `gate = "teacher-right"` is an older way to write `wrong = "drop"`.
    #[serde(default, alias = "gate")]
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

impl KdSpec {
    /// Plain KD at this temperature.
    pub fn at(temperature: f64) -> Self {
        let Repair { wrong, denominator, epsilon } = Repair::default();
        Self { temperature, wrong, denominator, epsilon, standardise: Standardise::default() }
    }

    fn repair(&self) -> Repair {
        Repair { wrong: self.wrong, denominator: self.denominator, epsilon: self.epsilon }
    }
}

/// `(T^2 / N) sum_n KL(p_t,n || p_s,n)` with `p = softmax(z / T)`, for logits `[N, K]`. The teacher is a constant.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn kd(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let shares = Shares::mean(student.dim(0)?).times(temperature.powi(2));
    divergence_from(&soften(&teacher.detach(), temperature)?, student, temperature, &shares)
}

/// [`kd`] that does not trust a teacher where it is wrong. With [`Wrong::Drop`] it is GKD,
/// `(T^2 / n) sum_n m_n KL(p_t,n || p_s,n)` with `m` 1 where the teacher's top class is the label, and
/// `n = max(sum_n m_n, 1)` or the batch size: exactly 0, with zero gradients, where the teacher is never right. With
/// [`Wrong::Swap`] and [`Wrong::Smooth`] it is `(T^2 / N) sum_n KL(q_n || p_s,n)` with repaired targets `q`. `labels`
/// is `[N]` of `u32`.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn repaired_kd(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
    repair: &Repair,
) -> Result<Tensor> {
    let soft = soften(&repair.logits(teacher, labels)?, temperature)?;
    let shares = repair.shares(teacher, labels)?.times(temperature.powi(2));
    divergence_from(&repair.targets(soft, teacher, labels)?, student, temperature, &shares)
}

impl Spec for KdSpec {
    const ENTRY: Entry = Entry {
        kind: "kd",
        summary: "The teacher's softened probabilities decide: T^2 KL(teacher || student), mean over the samples.",
        paper: "Hinton et al. 2015, arXiv 1503.02531; drop: Zhou et al. 2020, arXiv 2006.01683 (GKD); swap, smooth: Wen et al. 2019, arXiv 1911.07471 (KA); standardise: Sun et al. 2024, arXiv 2403.01427 (LSKD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        self.repair().idle()
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        self.repair().check(context)?;
        self.standardise.check(context)?;
        context.same_classes()?;
        Ok(Box::new(Kd { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Kd {
    spec: KdSpec,
}

impl Loss for Kd {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        let (student, teacher) = self.spec.standardise.pair(&view.student.logits, &view.teacher()?.logits)?;
        repaired_kd(&student, &teacher, view.labels, self.spec.temperature, &self.spec.repair())
    }
}
