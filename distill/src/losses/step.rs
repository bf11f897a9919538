//! What a loss asks for before training ([`Taps`]) and what it sees at each step ([`Step`]).

use attar_models::{Graph, NodeId};
use candle_core::Tensor;

use crate::error::Result;
use crate::network::Outputs;

/// A node of the student that a loss reads, and the small network that its output passes through first.
#[derive(Debug, Clone, PartialEq)]
pub struct Tap {
    /// The node.
    pub node: NodeId,
    /// Trained with the student, never exported; run by the trainer, the loss sees only its output.
    pub connector: Option<Connector>,
}

/// A small network between a tap of the student and a loss. Its parameters live under `losses.<loss>.<connector>.`.
#[derive(Debug, Clone, PartialEq)]
pub struct Connector {
    /// Unique within its loss.
    pub name: String,
    /// From the tap's shape `[C, H, W]` to whatever the loss compares.
    pub graph: Graph,
}

/// The nodes a loss reads, in the order in which [`Outputs::taps`] hands them over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taps {
    /// Of the student.
    pub student: Vec<Tap>,
    /// Of the teacher.
    pub teacher: Vec<NodeId>,
}

/// One batch as a loss sees it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The batch in one or more views; the first is the plain one, `clean`.
    pub views: &'a [View<'a>],
    /// Time: fractional, from 1.
    pub epoch: f64,
}

/// One view of a batch (clean, mixed, ...) with what every network answered to it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Name of the view, e.g. `clean`.
    pub name: &'a str,
    /// Class of each sample, `[N]` of `u32`.
    pub labels: &'a Tensor,
    /// Probability of each class, `[N, K]`; one-hot unless the view mixes samples.
    pub targets: &'a Tensor,
    /// Index of each sample in the training set.
    pub ids: &'a [u32],
    /// Outputs of the students; connectors are applied to the taps.
    pub students: &'a [Outputs],
    /// Outputs of the teachers.
    pub teachers: &'a [Outputs],
}

impl<'a> Step<'a> {
    /// The plain view of the batch.
    ///
    /// # Errors
    /// When the step has no view.
    pub fn clean(&self) -> Result<&'a View<'a>> {
        self.views.first().ok_or_else(|| absent("a step has no view"))
    }
}

impl<'a> View<'a> {
    /// Outputs of the first student.
    ///
    /// # Errors
    /// When there is none.
    pub fn student(&self) -> Result<&'a Outputs> {
        self.students.first().ok_or_else(|| absent("a view has no student outputs"))
    }

    /// Outputs of the first teacher.
    ///
    /// # Errors
    /// When there is none.
    pub fn teacher(&self) -> Result<&'a Outputs> {
        self.teachers.first().ok_or_else(|| absent("a view has no teacher outputs"))
    }
}

/// A trainer that hands over less than the losses were built for.
fn absent(what: &str) -> crate::Error {
    candle_core::Error::Msg(what.to_owned()).into()
}
