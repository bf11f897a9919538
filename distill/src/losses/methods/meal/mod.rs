//! Distillation from an ensemble without labels (MEAL V2: Shen and Savvides 2020, arXiv 2009.08453): the mean of the
//! teachers' probabilities decides, and optionally a discriminator that tells the student from its teachers.
//!
//! `-(1 / N) sum_n sum_k q_nk log p_s,nk` with `q` the mean of the teachers' softmaxes, temperature 1, no hard label;
//! plus `weight` times the discriminator's game, see [`Game`]. Deviations from the authors' code: the discriminator is
//! off unless asked for, and its layers are never narrower than 8.

mod discriminator;

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::methods::cross_entropy::cross_entropy;
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Param, Spec, Step, Teachers, changed, log_softmax};

use discriminator::Discriminator;
pub use discriminator::{DiscriminatorSpec, Game, Layer, discriminate, play, told_apart};

/// Settings of [`meal`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MealSpec {
    /// A small network that learns to tell the student's logits from the teachers' mean;
    /// adversarial (our reading): the student fools it, joint: the student helps it, as in the
    /// authors' code; weight 1 and widths of K/8 and K/64, at least 8, if not said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator: Option<DiscriminatorSpec>,
}

/// `-(1 / N) sum_n sum_k q_nk log softmax(z_n)_k` with `q` the mean of the teachers' softmaxes, for logits `[N, K]`.
/// The teachers are constants.
///
/// # Errors
/// No teacher, shapes that differ, or a device that failed.
pub fn meal(student: &Tensor, teachers: &[&Tensor]) -> Result<Tensor> {
    let answers =
        teachers.iter().map(|teacher| Ok(log_softmax(&teacher.detach())?.exp()?)).collect::<Result<Vec<_>>>()?;
    cross_entropy(student, &mean(&answers)?, 0.0)
}

/// The mean of tensors of one shape.
fn mean(tensors: &[Tensor]) -> Result<Tensor> {
    Ok(Tensor::stack(tensors, 0)?.mean(0)?)
}

impl Spec for MealSpec {
    const ENTRY: Entry = Entry {
        kind: "meal",
        summary: "The mean of several teachers' probabilities decides, without labels; optionally a discriminator tells the student from its teachers.",
        paper: "Shen and Savvides 2020, arXiv 2009.08453 (MEAL V2)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::Many,
    };

    fn idle(&self) -> Vec<Idle> {
        let played = |spec: &DiscriminatorSpec| spec.weight > 0.0;
        let idle = self.discriminator.as_ref().is_some_and(|spec| !played(spec));
        changed([("discriminator.weight", idle)], "it is 0, and the game is not played")
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        let classes = context.same_classes()?;
        let discriminator = self.discriminator.as_ref().map(|spec| spec.build(context, classes)).transpose()?;
        Ok(Box::new(Meal { discriminator }))
    }
}

#[derive(Debug)]
struct Meal {
    discriminator: Option<Discriminator>,
}

impl Loss for Meal {
    /// The discriminator does.
    fn reads_raw_logits(&self) -> bool {
        self.discriminator.is_some()
    }

    fn params(&self) -> Vec<Param> {
        self.discriminator.as_ref().map(Discriminator::params).unwrap_or_default()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        let student = &view.student.logits;
        let teachers: Vec<&Tensor> = view.teachers.iter().map(|teacher| &teacher.logits).collect();
        let likeness = meal(student, &teachers)?;
        let Some(discriminator) = &self.discriminator else { return Ok(likeness) };
        let teachers: Vec<Tensor> = teachers.into_iter().map(Tensor::detach).collect();
        Ok((likeness + discriminator.game(step, student, &mean(&teachers)?)?)?)
    }
}
