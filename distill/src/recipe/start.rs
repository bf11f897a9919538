//! Which weights a network starts from: a file, which dictionary in it, and what becomes of its last layer.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TeacherSource;

/// `student.init`: `"weights.pth"`, or `{ path = "weights.pth", key = "state_dict_ema", head = "new" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written", into = "Written")]
pub struct StartSection {
    /// Weights (`.safetensors`, `.pth`), or a run or bundle directory of ours.
    pub path: PathBuf,
    /// Which dictionary of a checkpoint, dotted; the only one, or the average over its training, if left out.
    pub key: Option<String>,
    /// What becomes of the last layer.
    pub head: StartHead,
}

/// What becomes of the last linear layer of the weights that a student starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartHead {
    /// It is taken, its rows in the order of the data's classes where a card beside the file names them.
    #[default]
    Given,
    /// It starts anew, as it would without `init`: the weights are of other classes.
    New,
}

impl StartHead {
    fn is_given(&self) -> bool {
        *self == Self::Given
    }
}

/// The two ways to write it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a file, or { path = \"...\", key = \"state_dict_ema\", head = \"new\" } with path and either or both of the others"
)]
enum Written {
    Path(PathBuf),
    Section(Section),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Section {
    path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "StartHead::is_given")]
    head: StartHead,
}

impl From<Written> for StartSection {
    fn from(written: Written) -> Self {
        match written {
            Written::Path(path) => path.into(),
            Written::Section(Section { path, key, head }) => Self { path, key, head },
        }
    }
}

impl From<StartSection> for Written {
    fn from(StartSection { path, key, head }: StartSection) -> Self {
        if key.is_none() && head.is_given() { Self::Path(path) } else { Self::Section(Section { path, key, head }) }
    }
}

impl From<PathBuf> for StartSection {
    fn from(path: PathBuf) -> Self {
        Self { path, key: None, head: StartHead::Given }
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

    fn init(setting: &str) -> crate::Result<Recipe> {
        Recipe::parse(&format!("{PLAIN}{CE}"), &[format!("student.init={setting}")])
    }

    #[test]
    fn a_file_and_a_table_say_the_same() {
        let plain = init("a.pth").unwrap();
        assert_eq!(plain.student.init, Some(PathBuf::from("a.pth").into()));
        assert_eq!(init("{ path = \"a.pth\" }").unwrap(), plain);
        assert!(plain.to_toml().unwrap().contains("init = \"a.pth\""));
        let whole = init("{ path = \"a.pth\", key = \"model.ema\", head = \"new\" }").unwrap();
        assert_eq!(Recipe::parse(&whole.to_toml().unwrap(), &[]).unwrap(), whole);
        for wrong in ["{ path = \"a\", heda = \"new\" }", "{ path = \"a\", head = \"old\" }", "3"] {
            let message = init(wrong).unwrap_err().to_string();
            assert!(message.contains("student.init") && message.contains("head = \"new\""), "{message}");
        }
    }
}
