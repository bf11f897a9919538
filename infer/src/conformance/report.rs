//! What was found out, for programs and for the next time.

use attar_formats::certificate::Cpu;
use attar_formats::hash::sha256;
use serde::{Deserialize, Serialize};

use super::case::{Case, Family, Judge};
use super::define::Fault;
use super::judge::{Distance, Verdict};
use crate::engine::EngineKind;

/// The corpus, and what every engine answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Conformance {
    /// Which engines were asked.
    pub engines: Vec<Asked>,
    /// The CPU that they ran on.
    pub cpu: Cpu,
    /// The cases, in the order of the corpus.
    pub cases: Vec<Row>,
    /// For each simulated fault the cases that catch it.
    pub faults: Vec<Caught>,
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Asked {
    /// Which one.
    pub engine: EngineKind,
    /// Its version.
    pub version: String,
}

/// A case and its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Row {
    /// Name of the case.
    pub name: String,
    /// Its group.
    pub family: Family,
    /// What it is about.
    pub about: String,
    /// Its operator set.
    pub opset: i64,
    /// How answers are judged.
    pub judge: Judge,
    /// sha256 of its file.
    pub sha256: String,
    /// One an engine, in their order.
    pub answers: Vec<Answer>,
}

/// An engine's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// Whose.
    pub engine: EngineKind,
    /// What it is.
    pub verdict: Verdict,
    /// How far it is from what is right, where there are numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
    /// What the engine says where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// Why it is so, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
}

/// A simulated fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Caught {
    /// Which one.
    pub fault: Fault,
    /// The cases whose answer it spoils.
    pub by: Vec<String>,
}

impl Row {
    /// Without answers.
    pub(super) fn new(case: &Case, model: &[u8]) -> Self {
        Self {
            name: case.name.clone(),
            family: case.family,
            about: case.about.clone(),
            opset: case.opset(),
            judge: case.judge,
            sha256: sha256(model),
            answers: Vec::new(),
        }
    }
}

impl Conformance {
    /// How many answers of an engine are this.
    pub fn count(&self, engine: EngineKind, verdict: Verdict) -> usize {
        let answers = self.cases.iter().flat_map(|row| &row.answers);
        answers.filter(|answer| answer.engine == engine && answer.verdict == verdict).count()
    }

    /// Wrong answers and crashes of which nobody says why.
    pub fn unexplained(&self) -> Vec<(&Row, &Answer)> {
        let pairs = self.cases.iter().flat_map(|row| row.answers.iter().map(move |answer| (row, answer)));
        pairs.filter(|(_, answer)| answer.verdict.is_bad() && answer.known.is_none()).collect()
    }
}
