//! Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531, §2), and its guided form, which learns only from the
//! samples that the teacher classifies rightly (GKD: Zhou et al. 2020, arXiv 2006.01683).
//!
//! Deviations from the authors' code of GKD, which gives the same numbers where it is sound: a batch in which the teacher
//! is never right gives 0 (theirs divides by zero); wrong samples are left out by a weight of 0 on their row (theirs
//! rewrites zeros among the teacher's probabilities to ones, underflowed ones of right samples too, which then add
//! `-log p_s`).

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use super::{Basis, Entry, Loss, Site, Spec, Step, Teachers, log_softmax, setting};
use crate::error::Result;

/// Settings of [`kd`] and [`guided_kd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KdSpec {
    /// Divides the logits of both networks; above 1 it softens the probabilities.
    pub temperature: f64,
    /// Which samples count.
    #[serde(default)]
    pub gate: Gate,
    /// What the sum over the samples that count is divided by.
    #[serde(default)]
    pub denominator: Denominator,
}

/// Which samples a distillation loss counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// All of them.
    #[default]
    None,
    /// Those whose label is the teacher's top class (GKD).
    TeacherRight,
}

/// What a gated sum is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denominator {
    /// The number of samples that pass the gate (1 if none does), as in the authors' code.
    #[default]
    Correct,
    /// The size of the batch, so that each sample weighs the same in every batch.
    Batch,
}

/// `(T^2 / N) sum_n KL(p_t,n || p_s,n)` with `p = softmax(z / T)`, for logits `[N, K]`. The teacher is a constant.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn kd(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    Ok((divergence(student, teacher, temperature)?.mean_all()? * temperature.powi(2))?)
}

/// [`kd`] over the samples where the teacher's top class is the label: `(T^2 / n) sum_n m_n KL(p_t,n || p_s,n)` with
/// `n = max(sum_n m_n, 1)`, or the batch size. Exactly 0, with zero gradients, where the teacher is never right.
/// `labels` is `[N]` of `u32`; of tied classes the first is the top one, as in PyTorch.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn guided_kd(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
    denominator: Denominator,
) -> Result<Tensor> {
    let right = teacher.detach().argmax(D::Minus1)?.eq(labels)?.to_dtype(student.dtype())?;
    let rows = (divergence(student, teacher, temperature)? * &right)?;
    let mean = match denominator {
        Denominator::Correct => rows.sum_all()?.div(&right.sum_all()?.maximum(1.0)?)?,
        Denominator::Batch => rows.mean_all()?,
    };
    Ok((mean * temperature.powi(2))?)
}

/// `KL(p_t || p_s)` of each sample, `[N]`.
fn divergence(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let student = log_softmax(&(student / temperature)?)?;
    let teacher = log_softmax(&(teacher.detach() / temperature)?)?;
    Ok((teacher.exp()? * (teacher - student)?)?.sum(D::Minus1)?)
}

impl Spec for KdSpec {
    const ENTRY: Entry = Entry {
        kind: "kd",
        summary: "The teacher's softened probabilities decide: T^2 KL(teacher || student), mean over the samples.",
        paper: "Hinton et al. 2015, arXiv 1503.02531; gate: Zhou et al. 2020, arXiv 2006.01683 (GKD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
        settings: &[
            setting("temperature", "above 0", None, "softens both networks' probabilities"),
            setting("gate", "none | teacher-right", Some("none"), "which samples count; teacher-right is GKD"),
            setting("denominator", "correct | batch", Some("correct"), "what a gated sum is divided by"),
        ],
    };

    fn build(&self, site: &Site<'_>) -> Result<Box<dyn Loss>> {
        site.positive("temperature", self.temperature)?;
        site.same_classes()?;
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
        let (student, teacher) = (&view.student.logits, &view.teacher()?.logits);
        let KdSpec { temperature, gate, denominator } = self.spec;
        match gate {
            Gate::None => kd(student, teacher, temperature),
            Gate::TeacherRight => guided_kd(student, teacher, view.labels, temperature, denominator),
        }
    }
}
