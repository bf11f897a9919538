//! Which weights a network starts from: a run, a bundle or a file, and what becomes of its last layer.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Rewrite, TeacherSource, Which};

/// Where the weights come from that a student starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "expected a table such as { kind = \"weights\", path = \"weights.pth\", head = \"new\" }"
)]
pub enum StudentSource {
    /// A run directory of ours.
    Run {
        /// The directory.
        path: PathBuf,
        /// Which of its checkpoints; the one its card describes if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Which>,
        /// What becomes of the last layer.
        #[serde(default, skip_serializing_if = "StartHead::is_given")]
        #[schemars(extend("default" = "given"))]
        head: StartHead,
        /// How the network is rewritten before it learns.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rewrites: Vec<Rewrite>,
    },
    /// An exported bundle of ours.
    Bundle {
        /// The directory.
        path: PathBuf,
        /// What becomes of the last layer.
        #[serde(default, skip_serializing_if = "StartHead::is_given")]
        #[schemars(extend("default" = "given"))]
        head: StartHead,
        /// How the network is rewritten before it learns.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rewrites: Vec<Rewrite>,
    },
    /// A file of weights. A run or bundle directory does as well: it is told by what it holds.
    Weights {
        /// `.safetensors` or `.pth`.
        path: PathBuf,
        /// Which dictionary of a checkpoint, dotted: `state_dict_ema`. The only one, or the average over its training, if
        /// left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// What becomes of the last layer.
        #[serde(default, skip_serializing_if = "StartHead::is_given")]
        #[schemars(extend("default" = "given"))]
        head: StartHead,
        /// How the network is rewritten before it learns.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rewrites: Vec<Rewrite>,
    },
    /// An ONNX file of whomever: its network and its weights. Batch norms that its exporter folded stay folded.
    Onnx {
        /// The file.
        path: PathBuf,
        /// What becomes of the last layer.
        #[serde(default, skip_serializing_if = "StartHead::is_given")]
        #[schemars(extend("default" = "given"))]
        head: StartHead,
        /// How the network is rewritten before it learns.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rewrites: Vec<Rewrite>,
    },
    /// A network of a program that trains it; no recipe can open it.
    #[schemars(skip)]
    Given {
        /// What the program calls it.
        what: String,
    },
}

/// What becomes of the last linear layer of the weights that a student starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartHead {
    /// It is taken, its rows in the order of the data's classes where a card beside the file names them.
    #[default]
    Given,
    /// It starts anew, as it would without `from`: the weights are of other classes.
    New,
}

impl StartHead {
    fn is_given(&self) -> bool {
        *self == Self::Given
    }
}

impl StudentSource {
    /// A file of weights, all of it taken.
    pub fn weights(path: impl Into<PathBuf>) -> Self {
        Self::Weights { path: path.into(), key: None, head: StartHead::Given, rewrites: Vec::new() }
    }

    /// Where it lies; nowhere if a program gives it.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Run { path, .. }
            | Self::Bundle { path, .. }
            | Self::Weights { path, .. }
            | Self::Onnx { path, .. } => Some(path),
            Self::Given { .. } => None,
        }
    }

    pub(super) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Run { path, .. }
            | Self::Bundle { path, .. }
            | Self::Weights { path, .. }
            | Self::Onnx { path, .. } => Some(path),
            Self::Given { .. } => None,
        }
    }

    /// How its network is rewritten.
    pub fn rewrites(&self) -> &[Rewrite] {
        match self {
            Self::Run { rewrites, .. }
            | Self::Bundle { rewrites, .. }
            | Self::Weights { rewrites, .. }
            | Self::Onnx { rewrites, .. } => rewrites,
            Self::Given { .. } => &[],
        }
    }

    /// What becomes of the last layer.
    pub fn head(&self) -> StartHead {
        match self {
            Self::Run { head, .. }
            | Self::Bundle { head, .. }
            | Self::Weights { head, .. }
            | Self::Onnx { head, .. } => *head,
            Self::Given { .. } => StartHead::Given,
        }
    }
}

impl TeacherSource {
    /// Which dictionary of its file of weights is meant, where that is said.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Weights { key, .. } => key.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{PLAIN, Recipe};

    const CE: &str = "[[losses]]\nname = \"ce\"\nweight = 1.0\nloss = { kind = \"cross-entropy\" }";

    fn from(setting: &str) -> crate::Result<Recipe> {
        Recipe::parse(&format!("{PLAIN}{CE}"), &[format!("student.from={setting}")])
    }

    #[test]
    fn what_is_written_reads_back() {
        let plain = from("{ kind = \"weights\", path = \"a.pth\" }").unwrap();
        assert_eq!(plain.student.from, Some(StudentSource::weights("a.pth")));
        assert_eq!(from("{ kind = \"weights\", path = \"a.pth\", rewrites = [] }").unwrap(), plain);
        for whole in [
            "{ kind = \"weights\", path = \"a.pth\", key = \"model.ema\", head = \"new\" }",
            "{ kind = \"run\", path = \"runs/a\", checkpoint = \"last\" }",
            "{ kind = \"bundle\", path = \"bundles/a\", head = \"new\" }",
            "{ kind = \"onnx\", path = \"a.onnx\", head = \"new\" }",
            "{ kind = \"onnx\", path = \"a.onnx\", rewrites = [{ kind = \"quantise\", calibrator = { percentile = 99.9 } }] }",
        ] {
            let recipe = from(whole).unwrap();
            assert_eq!(Recipe::parse(&recipe.to_toml().unwrap(), &[]).unwrap(), recipe);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (wrong, said) in [
            (
                "{ kind = \"weights\", path = \"a\", heads = \"new\" }",
                "student.from.heads: unknown key, did you mean `head`?",
            ),
            ("{ kind = \"weights\", path = \"a\", head = \"old\" }", "unknown value `old`\n  known: given, new"),
            (
                "{ kind = \"weight\", path = \"a\" }",
                "student.from.kind: unknown value `weight`, did you mean `weights`?",
            ),
            ("{ kind = \"bundle\", path = \"a\", key = \"ema\" }", "student.from.key: unknown key"),
            ("{ path = \"a\" }", "student.from.kind: is missing"),
            ("3", "{ kind = \"weights\", path = \"weights.pth\", head = \"new\" }"),
            (
                "{ kind = \"run\", path = \"a\", rewrites = [{ kind = \"prune\", share = 0.5 }] }",
                "unknown value `prune`\n  known: quantise",
            ),
            (
                "{ kind = \"run\", path = \"a\", rewrites = [{ kind = \"quantise\", weight_bit = 4 }] }",
                "unknown key, did you mean `weight_bits`?",
            ),
            (
                "{ kind = \"run\", path = \"a\", rewrites = [{ kind = \"quantise\", scales = \"power-of-two\" }] }",
                "unknown value `power-of-two`\n  known: exact, free",
            ),
        ] {
            let message = from(wrong).unwrap_err().to_string();
            assert!(message.contains("student.from") && message.contains(said), "{wrong}: {message}");
        }
    }
}
