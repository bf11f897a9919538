//! What a loss asks for before training ([`Taps`]) and what it sees at each step ([`Step`]).

use std::collections::BTreeMap;

use attar_exec::Outputs;
use attar_models::{Graph, NodeId};
use candle_core::Tensor;

use crate::error::Result;

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
    /// Of each teacher, in the order of the loss's teachers; teachers beyond the list give logits only.
    pub teachers: Vec<Vec<NodeId>>,
}

/// One batch as a loss sees it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The batch in the views that the recipe names for this loss; plainly one, `clean`.
    pub views: &'a [View<'a>],
    /// Time: fractional epoch, from 1.
    pub time: f64,
    /// Epochs of the whole run.
    pub epochs: f64,
    /// The loss's own parameters by name; gradients flow to them.
    pub params: &'a BTreeMap<String, Tensor>,
}

/// One view of a batch (clean, mixed, adversarial, ...) with what the networks answered to it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Name of the view, e.g. `clean`.
    pub name: &'a str,
    /// Class of each sample, `[N]` of `u32`; where samples are mixed, that of the larger part.
    pub labels: &'a Tensor,
    /// Probability of each class, `[N, K]`; one-hot unless the view mixes samples.
    pub targets: &'a Tensor,
    /// Index of each sample in the training set.
    pub ids: &'a [u32],
    /// Outputs of the student; connectors are applied to the taps.
    pub student: &'a Outputs,
    /// Outputs of the loss's teachers, constants.
    pub teachers: &'a [Outputs],
}

impl<'a> Step<'a> {
    /// The first view of the batch.
    ///
    /// # Errors
    /// When the step has no view.
    pub fn view(&self) -> Result<&'a View<'a>> {
        self.views.first().ok_or_else(|| absent("a step has no view".to_owned()))
    }

    /// One of the loss's own parameters.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn param(&self, name: &str) -> Result<&'a Tensor> {
        self.params.get(name).ok_or_else(|| absent(format!("a step has no parameter `{name}`")))
    }
}

impl<'a> View<'a> {
    /// Outputs of the first teacher.
    ///
    /// # Errors
    /// When there is none.
    pub fn teacher(&self) -> Result<&'a Outputs> {
        self.teachers.first().ok_or_else(|| absent("a view has no teacher outputs".to_owned()))
    }
}

/// A trainer that hands over less than the losses were built for.
fn absent(what: String) -> crate::Error {
    candle_core::Error::Msg(what).into()
}
