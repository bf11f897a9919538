//! Networks that learn beside the student, and the names by which a loss chooses among all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NetworkSection;

/// The name of the student that is exported, for a loss that has to say so.
pub const STUDENT: &str = "student";

/// `[[peers]]`: a network that learns beside the student (deep mutual learning), from its own losses and from the student;
/// never exported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// Name, unique among peers and teachers: a loss may name it as its `student` or its `teacher`.
    pub name: String,
    /// The network; classes and input size follow from the data where they are not written.
    pub network: NetworkSection,
}

/// In what order the student and its peers move in a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// All at once, each by what the others answered before the step.
    #[default]
    Together,
    /// One after the other, the student first and then the peers in their order, each by what the others answer once those
    /// before it have moved (deep mutual learning: Zhang et al. 2018, arXiv 1706.00384, Algorithm 1). Each turn runs the networks
    /// that it reads again, clips its own gradient and has an optimiser of its own.
    InTurn,
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a name or a list of names")]
pub enum Names {
    /// `"clean"`
    One(String),
    /// `["weak", "strong"]`
    Many(Vec<String>),
}

impl Names {
    /// The names in their order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}
