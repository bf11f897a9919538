//! Teacher-free distillation (Tf-KD with a teacher made by hand: Yuan et al. 2020, arXiv 1909.11723): a teacher that is
//! always right and knows nothing of the other classes. The other half of the paper, a student taught by a trained
//! network like itself, is `kd` with that network as teacher.
//!
//! `KL(u || softmax(z_s))`, mean over the samples, with `u = softmax(h / T)` and `h` the probability `right` at the
//! label and `(1 - right) / (K - 1)` elsewhere. As in the authors' code, the temperature divides these probabilities,
//! not their logarithms, and does not touch the student: `u` is a smoothed label, and nearly uniform at their
//! temperatures. Deviation from the code: a sum over the classes, where theirs is a mean and a tuned multiplier of 1 to
//! 100 makes up for it.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::logits::smooth;
use crate::losses::parts::softmax::{Shares, divergence_from};
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Teachers};

/// Settings of [`tf_kd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TfKdSpec {
    /// Softens the made-up teacher, not the student; the authors': 10 to 40.
    #[serde(default = "twenty")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Probability that the made-up teacher gives to the label.
    #[serde(default = "nearly_one")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub right: f64,
}

fn twenty() -> f64 {
    20.0
}

fn nearly_one() -> f64 {
    0.99
}

/// `(1 / N) sum_n KL(u_n || softmax(z_n))` for logits `[N, K]` (`K >= 2`) and labels `[N]` of `u32`, with `u` the
/// softmax of `right / T` at the label and `(1 - right) / ((K - 1) T)` elsewhere.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn tf_kd(student: &Tensor, labels: &Tensor, temperature: f64, right: f64) -> Result<Tensor> {
    let (_, classes) = student.dims2()?;
    let others = (classes.max(2) - 1) as f64;
    let advantage = (right - (1.0 - right) / others) / temperature;
    let epsilon = (others / (others + advantage.exp())).max(f64::MIN_POSITIVE); // its logarithm is finite
    let targets = smooth(labels, classes, epsilon)?.to_dtype(student.dtype())?;
    divergence_from(&targets, student, 1.0, &Shares::mean(student.dim(0)?))
}

impl Spec for TfKdSpec {
    const ENTRY: Entry = Entry {
        kind: "tf-kd",
        summary: "A teacher made by hand decides, right about the label and without opinion on the other classes.",
        paper: "Yuan et al. 2020, arXiv 1909.11723 (Tf-KD, regularisation)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::None,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        if !(self.right > 0.0 && self.right <= 1.0) {
            return Err(context.error("right", format!("{} is not in (0, 1]", self.right)));
        }
        let classes: usize = context.student.output_shape().iter().product();
        if self.right * classes as f64 <= 1.0 {
            let problem = format!("{} is not above 1/{classes}: such a teacher is not right", self.right);
            return Err(context.error("right", problem));
        }
        Ok(Box::new(TfKd { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct TfKd {
    spec: TfKdSpec,
}

impl Loss for TfKd {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        tf_kd(&view.student.logits, view.labels, self.spec.temperature, self.spec.right)
    }
}
