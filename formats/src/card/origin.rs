//! Where a network came from, as cards and receipts state it. It is no identity: the graph is what counts.

use std::fmt;
use std::path::{Path, PathBuf};

use attar_models::Graph;
use attar_models::zoo::NetworkSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::hash::{file_sha256, sha256};

/// How a network was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// By the zoo, of a name and options.
    Zoo(#[cfg_attr(feature = "schema", schemars(with = "std::collections::BTreeMap<String, Value>"))] NetworkSpec),
    /// It is that of a file, but for the number of classes.
    Graph(GraphFile),
    /// A program built it.
    Program {
        /// sha256 of its text as a `graph.json`, in hex.
        sha256: String,
    },
}

/// A file that a network was taken from: a `graph.json`, or an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GraphFile {
    /// Where it lay; in the files of a run as seen from the run's directory.
    pub path: PathBuf,
    /// sha256 of its bytes, in hex.
    pub sha256: String,
}

impl Origin {
    /// The file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn file(path: &Path) -> Result<Self> {
        let sha256 = file_sha256(path)?;
        Ok(Self::Graph(GraphFile { path: path.to_owned(), sha256 }))
    }

    /// A graph that no file holds.
    ///
    /// # Errors
    /// As [`Graph::to_json`].
    pub fn program(graph: &Graph) -> Result<Self> {
        Ok(Self::Program { sha256: sha256(graph.to_json()?.as_bytes()) })
    }

    /// Name and options in the zoo, where it made the network.
    pub fn zoo(&self) -> Option<&NetworkSpec> {
        match self {
            Self::Zoo(spec) => Some(spec),
            Self::Graph(_) | Self::Program { .. } => None,
        }
    }

    /// The same with the path of its file as `change` has it.
    #[must_use]
    pub fn with_path(self, change: impl FnOnce(&Path) -> PathBuf) -> Self {
        match self {
            Self::Graph(GraphFile { path, sha256 }) => Self::Graph(GraphFile { path: change(&path), sha256 }),
            other @ (Self::Zoo(_) | Self::Program { .. }) => other,
        }
    }
}

impl fmt::Display for Origin {
    /// `by the zoo`, `of runs/gate/graph.json (sha256 0123456789ab...)`, `by a program`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zoo(_) => f.write_str("by the zoo"),
            Self::Graph(GraphFile { path, sha256 }) => write!(f, "of {} (sha256 {sha256:.12}...)", path.display()),
            Self::Program { sha256 } => write!(f, "by a program (sha256 {sha256:.12}...)"),
        }
    }
}

/// What older files held as a network, name and options in the zoo, as an [`Origin`] in JSON.
pub(crate) fn of_zoo(spec: &Value) -> Value {
    serde_json::json!({ "zoo": spec })
}

/// The same as [`NetworkFacts`](super::NetworkFacts) in JSON.
pub(crate) fn facts_of(spec: &Value) -> Value {
    let facts = |key: &str| spec.get(key).map(|value| (key.to_owned(), value.clone()));
    Value::Object(["name", "classes", "input"].into_iter().filter_map(facts).collect())
}
