//! The layout of a run: the directory that training leaves.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint;
use crate::reference::GoldenKind;

/// Names of the files of a run.
pub mod file {
    /// Held while a process works on the run; never deleted.
    pub const LOCK: &str = "run.lock";
    /// How far the run is.
    pub const STATUS: &str = "status.json";
    /// The resolved recipe.
    pub const RECIPE: &str = "recipe.toml";
    /// The network as it is trained.
    pub use crate::graph::GRAPH_FILE as GRAPH;
    /// What the weights that leave are.
    pub const CARD: &str = "card.json";
    /// The numbers of the run and everything they depend on.
    pub const RECEIPT: &str = "receipt.json";
    /// One row an epoch.
    pub const METRICS: &str = "metrics.csv";
    /// One line an event.
    pub const EVENTS: &str = "events.jsonl";
    /// The page for people.
    pub const REPORT: &str = "report.html";
    /// Folder of the checkpoints.
    pub const CHECKPOINTS: &str = "checkpoints";
    /// Folder of the reference answers.
    pub const REFERENCE: &str = "reference";
    /// In [`REFERENCE`]: the answer to every validation and test image.
    pub const PREDICTIONS: &str = "predictions.safetensors";
    /// In [`REFERENCE`]: some test images under the recipe's attacks.
    pub const ATTACKS: &str = "attacks.safetensors";
}

/// The checkpoint of the last step.
pub const LAST: &str = "last";

/// The checkpoint of the highest validation accuracy.
pub const BEST: &str = "best";

/// One of the two checkpoints of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Highest validation accuracy, the first such epoch.
    #[default]
    Best,
    /// The last epoch.
    Last,
}

impl Which {
    /// As written in recipes and directory names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Best => BEST,
            Self::Last => LAST,
        }
    }
}

/// The file of goldens of a kind in [`file::REFERENCE`].
pub fn goldens(kind: GoldenKind) -> &'static str {
    match kind {
        GoldenKind::Real => "golden.safetensors",
        GoldenKind::Synthetic => "golden-synthetic.safetensors",
    }
}

/// The weights of the checkpoint `which` ([`LAST`], [`BEST`]) of the run in the directory `run`.
pub fn model(run: &Path, which: &str) -> PathBuf {
    run.join(file::CHECKPOINTS).join(which).join(checkpoint::file::MODEL)
}

/// The answers of the run in the directory `run`.
pub fn predictions(run: &Path) -> PathBuf {
    run.join(file::REFERENCE).join(file::PREDICTIONS)
}

/// Under which name the receipt of a run is kept that was given more epochs than these.
pub fn receipt_of(epochs: usize) -> String {
    format!("receipt-{epochs}-epochs.json")
}
