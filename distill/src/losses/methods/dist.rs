//! Distillation from a stronger teacher (DIST: Huang et al. 2022, arXiv 2205.10536): the student need not give the
//! teacher's probabilities, only probabilities that correlate with them.
//!
//! `tau^2 [ beta mean_n (1 - rho(p_s,n, p_t,n)) + gamma mean_k (1 - rho(p_s,.k, p_t,.k)) ]` with `p = softmax(z / tau)`
//! and `rho` the correlation of Pearson: of each sample over the classes, and of each class over the batch. As in the
//! authors' code, 1e-8 is added to the product of the two norms below `rho`; their weight for the whole is 2. Deviation
//! from it: numbers without any spread (equal logits; a batch of one) have correlation 0 and count as of norm 1, where
//! theirs divides their gradient by 1e-8.

use candle_core::{D, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::logits::Standardise;
use crate::losses::parts::softmax::soften;
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Teachers, changed};

/// Settings of [`dist`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DistSpec {
    /// Softens both networks' probabilities; the authors' CIFAR-100: 4.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Weight of the correlation over the classes.
    #[serde(default = "one")]
    #[schemars(extend("minimum" = 0))]
    pub beta: f64,
    /// Weight of the correlation over the batch.
    #[serde(default = "one")]
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

/// `T^2 [ beta (1 - mean_n rho_n) + gamma (1 - mean_k rho_k) ]` for logits `[N, K]`, `rho_n` and `rho_k` being
/// Pearson's correlations between the probabilities of student and teacher over the classes of a sample and over the
/// samples of a class. The teacher is a constant.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn dist(student: &Tensor, teacher: &Tensor, temperature: f64, beta: f64, gamma: f64) -> Result<Tensor> {
    let student = soften(student, temperature)?.exp()?;
    let teacher = soften(&teacher.detach(), temperature)?.exp()?;
    let of_samples = (1.0 - correlation(&student, &teacher)?.mean_all()?)?;
    let of_classes = (1.0 - correlation(&student.t()?.contiguous()?, &teacher.t()?.contiguous()?)?.mean_all()?)?;
    Ok((((of_samples * beta)? + (of_classes * gamma)?)? * temperature.powi(2))?)
}

/// Pearson's correlation of each row of two `[R, L]`, `[R]`.
fn correlation(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    // Less the first, so that the mean of equal numbers is exactly theirs.
    let centre = |x: &Tensor| {
        let x = x.broadcast_sub(&x.detach().narrow(D::Minus1, 0, 1)?)?;
        x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)
    };
    let (a, b) = (centre(a)?, centre(b)?);
    let norms = (norm(&a)? * norm(&b)?)?;
    Ok(((a * b)?.sum(D::Minus1)? / (norms + 1e-8)?)?)
}

/// The Euclidean norm of each row, `[R]`; of a row of zeros, where it has no gradient, the constant 1.
fn norm(rows: &Tensor) -> Result<Tensor> {
    let square = rows.sqr()?.sum(D::Minus1)?;
    let none = square.detach().eq(0.0)?.to_dtype(rows.dtype())?;
    Ok((square + none)?.sqrt()?)
}

impl Spec for DistSpec {
    const ENTRY: Entry = Entry {
        kind: "dist",
        summary: "The student's probabilities must correlate with the teacher's: over the classes of each sample, and over the batch for each class.",
        paper: "Huang et al. 2022, arXiv 2205.10536 (DIST)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        let none = self.beta == 0.0 && self.gamma == 0.0;
        changed([("beta", none)], "with gamma it is 0, and the loss with them")
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        context.at_least_zero("beta", self.beta)?;
        context.at_least_zero("gamma", self.gamma)?;
        self.standardise.check(context)?;
        context.same_classes()?;
        Ok(Box::new(Dist { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Dist {
    spec: DistSpec,
}

impl Loss for Dist {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let (view, spec) = (step.view()?, &self.spec);
        let (student, teacher) = spec.standardise.pair(&view.student.logits, &view.teacher()?.logits)?;
        dist(&student, &teacher, spec.temperature, spec.beta, spec.gamma)
    }
}
