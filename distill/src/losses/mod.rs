//! What is minimised. The mathematics is plain functions of tensors; a [`Loss`] only holds settings.
//!
//! A new loss is one file here, one line in [`LossSpec`], one in [`catalog`] and one PyTorch fixture.

mod catalog;
pub mod channel;
pub mod cross_entropy;
pub mod kd;
mod softmax;
mod step;
#[cfg(test)]
mod tests;

use std::fmt;

use attar_models::Graph;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use catalog::{Basis, Entry, Setting, catalog};
pub use channel::ChannelSpec;
pub use cross_entropy::CrossEntropySpec;
pub use kd::KdSpec;
pub use softmax::log_softmax;
pub use step::{Connector, Step, Tap, Taps, View};

/// One term of what is minimised.
pub trait Loss: fmt::Debug + Send {
    /// The nodes it reads; [`View`] hands their outputs over in this order.
    fn taps(&self) -> Taps;

    /// The unweighted loss, a scalar, reduced as its paper says. Gradients flow to the student's outputs only.
    ///
    /// # Errors
    /// Outputs whose shapes are not those the loss was built for, or a device that failed.
    fn loss(&self, step: &Step<'_>) -> Result<Tensor>;

    /// Called once the step is taken: memory banks, averages.
    ///
    /// # Errors
    /// A device that failed.
    fn after(&mut self, _step: &Step<'_>) -> Result<()> {
        Ok(())
    }
}

/// A loss as a recipe writes it: `{ kind = "kd", temperature = 4.0 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LossSpec {
    /// Against the labels; see [`cross_entropy`].
    CrossEntropy(CrossEntropySpec),
    /// Against the teacher's softened probabilities, optionally only where it is right; see [`kd`].
    Kd(KdSpec),
    /// Against the teacher's mean activation of each channel; see [`channel`].
    Channel(ChannelSpec),
}

impl LossSpec {
    /// Checks the settings against the networks and builds the loss called `name`.
    ///
    /// # Errors
    /// [`Error::Recipe`] naming `losses.<name>.loss.<setting>`: a value out of range, an unknown tap, stages or channels
    /// that do not pair, class counts that differ, a missing teacher.
    pub fn build(&self, name: &str, student: &Graph, teachers: &[Graph]) -> Result<Box<dyn Loss>> {
        let site = Site { name };
        match self {
            Self::CrossEntropy(spec) => spec.build(site),
            Self::Kd(spec) => spec.build(site, student, site.only_teacher(teachers)?),
            Self::Channel(spec) => spec.build(site, student, site.only_teacher(teachers)?),
        }
    }

    /// Whether the loss learns from a teacher.
    pub fn needs_teacher(&self) -> bool {
        !matches!(self, Self::CrossEntropy(_))
    }
}

/// Where in the recipe a loss stands, for its errors.
#[derive(Clone, Copy)]
struct Site<'a> {
    name: &'a str,
}

impl Site<'_> {
    /// An error about one setting.
    fn error(self, setting: &str, problem: impl Into<String>) -> Error {
        Error::Recipe { key: format!("losses.{}.loss.{setting}", self.name), problem: problem.into() }
    }

    /// The one teacher that these losses read.
    fn only_teacher(self, teachers: &[Graph]) -> Result<&Graph> {
        match teachers {
            [teacher] => Ok(teacher),
            [] => Err(self
                .error("kind", "this loss learns from a teacher, and the recipe has none\n  hint: add [[teachers]]")),
            many => Err(self.error("kind", format!("this loss reads one teacher, and the recipe has {}", many.len()))),
        }
    }
}
