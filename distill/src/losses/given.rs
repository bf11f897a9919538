//! A loss of somebody else's program: what stands for it in the recipe of its run, and how a trainer takes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Basis, BuildContext, Entry, Loss, LossSpec, Spec, Teachers};
use crate::error::Result;

/// Stands in a recipe for a loss that a program gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenSpec {
    /// The loss as its program shows it (`Debug`), settings and all: a run is resumed with a loss that shows the same.
    pub what: String,
}

impl Spec for GivenSpec {
    const ENTRY: Entry = Entry {
        kind: "given",
        summary: "A loss of the program that made this run.",
        paper: "",
        basis: Basis::Reading,
        teachers: Teachers::Many,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        let problem = format!("`{}` is a loss of the program that made this run", self.what);
        Err(context.error("kind", format!("{problem}\n  hint: only that program can go on with it")))
    }
}

/// Builds a loss for the networks that it reads.
type Build = Box<dyn FnOnce(&BuildContext<'_>) -> Result<Box<dyn Loss>>>;

/// A loss as a trainer takes it: a [`Loss`] of one's own, the settings of a kind of the catalogue, or a function that builds a
/// loss once it is told the outlines of the networks ([`AnyLoss::built`]).
pub enum AnyLoss {
    /// The settings of a kind.
    Spec(LossSpec),
    /// A loss.
    Given(Box<dyn Loss>),
    /// What builds one.
    Built {
        /// What it is called in the recipe of the run, settings and all.
        what: String,
        /// How many teachers it reads.
        teachers: Teachers,
        /// Builds it.
        build: Build,
    },
}

impl fmt::Debug for AnyLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(spec) => spec.fmt(f),
            Self::Given(loss) => loss.fmt(f),
            Self::Built { what, .. } => f.write_str(what),
        }
    }
}

impl<L: Loss + 'static> From<L> for AnyLoss {
    fn from(loss: L) -> Self {
        Self::Given(Box::new(loss))
    }
}

impl From<Box<dyn Loss>> for AnyLoss {
    fn from(loss: Box<dyn Loss>) -> Self {
        Self::Given(loss)
    }
}

impl From<LossSpec> for AnyLoss {
    fn from(spec: LossSpec) -> Self {
        Self::Spec(spec)
    }
}

impl AnyLoss {
    /// A loss that must know its networks before it can say which of their values it reads, and through which connectors.
    /// `what` stands for it in the recipe of the run and should show its settings.
    pub fn built(
        what: impl Into<String>,
        teachers: Teachers,
        build: impl FnOnce(&BuildContext<'_>) -> Result<Box<dyn Loss>> + 'static,
    ) -> Self {
        Self::Built { what: what.into(), teachers, build: Box::new(build) }
    }

    /// What stands for it in a recipe.
    pub(crate) fn spec(&self) -> LossSpec {
        match self {
            Self::Spec(spec) => spec.clone(),
            Self::Given(loss) => LossSpec::Given(GivenSpec { what: format!("{loss:?}") }),
            Self::Built { what, .. } => LossSpec::Given(GivenSpec { what: what.clone() }),
        }
    }
}
