//! Multi-level logit distillation (MLKD: Jin et al., CVPR 2023): student and teacher agree on each sample, on how alike
//! the samples of a batch are, and on how alike its classes are, at several temperatures at once.
//!
//! With `P` the `[N, K]` softmax at temperature `T`, for every `T` of the list: instance level `T^2 KL`, mean over the
//! samples; batch level `||P_s P_s' - P_t P_t'||^2 / N`; class level `||P_s' P_s - P_t' P_t||^2 / K`; without the
//! factor `T^2` in the latter two. The instance level is summed over all views that the loss reads (the authors': a
//! weak and a strong augmentation), batch and class level read the first view.
//!
//! Deviations from the authors' code, which `quirks = true` brings back: theirs multiplies the three terms of the weak
//! view by the share of samples (for the class level: of classes) of which the teacher is no surer than the median,
//! about one half, where a choice of samples was surely meant; and the strong view's instance terms from the fourth
//! temperature on read the weak view. As in the code of LSKD, standardisation stands in front of the instance level
//! only.

use std::ops::RangeInclusive;

use candle_core::{D, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::methods::kd::kd;
use crate::losses::parts::logits::Standardise;
use crate::losses::parts::softmax::soften;
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Teachers, changed, log_softmax};

/// Settings of [`mlkd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MlkdSpec {
    /// Terms are summed over them.
    pub temperatures: Vec<f64>,
    /// Weight of each sample's probabilities, summed over the views that the loss names: view =
    /// ["clean", "strong"].
    #[schemars(extend("minimum" = 0))]
    pub instance: f64,
    /// Weight of how alike samples are, in the first view.
    #[schemars(extend("minimum" = 0))]
    pub batch: f64,
    /// Weight of how alike classes are, in the first view.
    #[schemars(extend("minimum" = 0))]
    pub class: f64,
    /// Does what the authors' code does to the letter: about half the weight for the first view;
    /// needs two views.
    pub quirks: bool,
    /// Gives each sample's logits mean 0 and deviation 1 first, in both networks (LSKD, arXiv
    /// 2403.01427).
    pub standardise: Standardise,
}

/// The authors' temperatures, all levels alike.
impl Default for MlkdSpec {
    fn default() -> Self {
        Self {
            temperatures: vec![4.0, 3.0, 5.0, 2.0, 6.0],
            instance: 1.0,
            batch: 1.0,
            class: 1.0,
            quirks: false,
            standardise: Standardise::default(),
        }
    }
}

/// How many of the authors' temperatures read the strong view where it is the strong view's turn.
const STRONG_TEMPERATURES: usize = 3;

/// `||P_s P_s' - P_t P_t'||^2 / N` with `P = softmax(z / T)`, for logits `[N, K]`: how alike the samples of a batch
/// are. The teacher is a constant.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn batch_level(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let products = |logits: &Tensor| {
        let p = soften(logits, temperature)?.exp()?;
        Ok::<_, crate::Error>(p.matmul(&p.t()?)?)
    };
    let difference = (products(student)? - products(&teacher.detach())?)?;
    Ok((difference.sqr()?.sum_all()? / student.dim(0)? as f64)?)
}

/// `||P_s' P_s - P_t' P_t||^2 / K` with `P = softmax(z / T)`, for logits `[N, K]`: how alike the classes are over a
/// batch. The teacher is a constant.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn class_level(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let products = |logits: &Tensor| {
        let p = soften(logits, temperature)?.exp()?;
        Ok::<_, crate::Error>(p.t()?.matmul(&p)?)
    };
    let difference = (products(student)? - products(&teacher.detach())?)?;
    Ok((difference.sqr()?.sum_all()? / student.dim(1)? as f64)?)
}

/// The weighted sum of the three levels over the temperatures of `spec`, for the logits `[N, K]` of student and teacher
/// in one or more views. Teachers are constants.
///
/// # Errors
/// No view, one where the quirks need two, shapes that differ, or a device that failed.
pub fn mlkd(views: &[(&Tensor, &Tensor)], spec: &MlkdSpec) -> Result<Tensor> {
    let Some(first) = views.first() else { return Err(problem("multi-level distillation without a view")) };
    let (student, teacher) = first;
    let (of_samples, of_classes) = if spec.quirks { unsure_shares(teacher)? } else { (1.0, 1.0) };
    let instance = |view: &(&Tensor, &Tensor), temperature: f64| {
        let (student, teacher) = spec.standardise.pair(view.0, view.1)?;
        kd(&student, &teacher, temperature)
    };
    let mut total = Tensor::zeros((), student.dtype(), student.device())?;
    for (i, &temperature) in spec.temperatures.iter().enumerate() {
        total = (total + (instance(first, temperature)? * (spec.instance * of_samples))?)?;
        if spec.quirks {
            let [_, strong] = views else {
                return Err(problem("the quirks of multi-level distillation need two views"));
            };
            let view = if i < STRONG_TEMPERATURES { strong } else { first };
            total = (total + (instance(view, temperature)? * spec.instance)?)?;
        } else {
            for view in views.iter().skip(1) {
                total = (total + (instance(view, temperature)? * spec.instance)?)?;
            }
        }
        total = (total + (batch_level(student, teacher, temperature)? * (spec.batch * of_samples))?)?;
        total = (total + (class_level(student, teacher, temperature)? * (spec.class * of_classes))?)?;
    }
    Ok(total)
}

fn problem(what: &str) -> crate::Error {
    candle_core::Error::Msg(what.to_owned()).into()
}

/// The share of samples whose top probability is at most the median of the batch, and the share of classes whose
/// probability over the batch is at most the classes' median.
fn unsure_shares(teacher: &Tensor) -> Result<(f64, f64)> {
    let p = log_softmax(&teacher.detach())?.exp()?.to_dtype(candle_core::DType::F64)?;
    let share = |values: Vec<f64>| {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or_default();
        let (low, high) = (at(values.len().saturating_sub(1) / 2), at(values.len() / 2));
        let median = low + (high - low) / 2.0;
        values.iter().filter(|value| **value <= median).count() as f64 / values.len().max(1) as f64
    };
    Ok((share(p.max(D::Minus1)?.to_vec1()?), share(p.sum(0)?.to_vec1()?)))
}

impl Spec for MlkdSpec {
    const ENTRY: Entry = Entry {
        kind: "mlkd",
        summary: "The teacher decides at three levels, at several temperatures: each sample's probabilities, how alike samples are, how alike classes are.",
        paper: "Jin et al. 2023, Multi-Level Logit Distillation, CVPR (MLKD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        if self.instance > 0.0 {
            return Vec::new();
        }
        let none = self.batch == 0.0 && self.class == 0.0;
        let standardise =
            changed([("standardise", self.standardise.is_on())], "instance is 0, the only level it is for");
        [changed([("instance", none)], "with batch and class it is 0, and the loss with them"), standardise].concat()
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        if self.temperatures.is_empty() {
            return Err(context.error("temperatures", "the list is empty, expected at least one temperature"));
        }
        for &temperature in &self.temperatures {
            context.positive("temperatures", temperature)?;
        }
        for (name, weight) in [("instance", self.instance), ("batch", self.batch), ("class", self.class)] {
            context.at_least_zero(name, weight)?;
        }
        self.standardise.check(context)?;
        context.same_classes()?;
        Ok(Box::new(Mlkd { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Mlkd {
    spec: MlkdSpec,
}

impl Loss for Mlkd {
    fn views(&self) -> RangeInclusive<usize> {
        if self.spec.quirks { 2..=2 } else { 1..=usize::MAX }
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let mut views = Vec::with_capacity(step.views.len());
        for view in step.views {
            views.push((&view.student.logits, &view.teacher()?.logits));
        }
        mlkd(&views, &self.spec)
    }
}
