//! Transformed teacher matching (TTM, and its weighted form WTTM: Zheng and Yang 2024, arXiv 2402.11148): the
//! temperature softens the teacher alone.
//!
//! `(1 / N) sum_n u_n KL(q_n || softmax(z_s,n))` with `q_k = p_k^gamma / sum_j p_j^gamma`, `p` the teacher's softmax
//! and `gamma = 1 / T`; `u` is 1 (TTM) or `sum_j p_j^gamma` (WTTM), larger where the teacher is less sure. No factor
//! `T^2`. Deviations from the authors' code: none in numbers; powers are taken of logarithms, so that they do not
//! underflow.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::logits::{Standardise, log_sum_exp};
use crate::losses::parts::softmax::{Shares, divergence_from};
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Teachers, log_softmax};

/// Settings of [`ttm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TtmSpec {
    /// Power of the teacher's probabilities, 1 / T; the paper's CIFAR-100: 0.1 to 0.4, ImageNet:
    /// 0.7 or 0.8.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub gamma: f64,
    /// Whether samples weigh more where the teacher is less sure (WTTM).
    #[serde(default)]
    pub weighted: bool,
    /// Gives each sample's logits mean 0 and deviation 1 first, in both networks (LSKD, arXiv
    /// 2403.01427).
    #[serde(default)]
    pub standardise: Standardise,
}

/// `(1 / N) sum_n u_n KL(q_n || softmax(z_s,n))` for logits `[N, K]`, with `q` the teacher's probabilities to the power
/// `gamma`, normalised, and `u` the sum of these powers, or 1 if not `weighted`. The teacher is a constant.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn ttm(student: &Tensor, teacher: &Tensor, gamma: f64, weighted: bool) -> Result<Tensor> {
    let powers = (log_softmax(&teacher.detach())? * gamma)?;
    let mean = Shares::mean(student.dim(0)?);
    let shares = if weighted { mean.weighted(&log_sum_exp(&powers)?.exp()?) } else { mean };
    divergence_from(&log_softmax(&powers)?, student, 1.0, &shares)
}

impl Spec for TtmSpec {
    const ENTRY: Entry = Entry {
        kind: "ttm",
        summary: "The teacher's probabilities to a power decide, and the student is not softened: KL(teacher || student), mean over the samples.",
        paper: "Zheng and Yang 2024, arXiv 2402.11148 (TTM, WTTM)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("gamma", self.gamma)?;
        self.standardise.check(context)?;
        context.same_classes()?;
        Ok(Box::new(Ttm { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Ttm {
    spec: TtmSpec,
}

impl Loss for Ttm {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        let (student, teacher) = self.spec.standardise.pair(&view.student.logits, &view.teacher()?.logits)?;
        ttm(&student, &teacher, self.spec.gamma, self.spec.weighted)
    }
}
