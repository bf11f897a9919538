//! How a loss is described for people: what it does, where it comes from, its settings.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{LossSpec, catalog};
use crate::schema::{self, Key};

/// What the definition of a loss follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The behaviour of the authors' published code, or of the benchmark that reproduced it.
    AuthorsCode,
    /// The paper's own text.
    Paper,
    /// A reading of the paper or of others' accounts of it, where neither text nor code decides.
    Reading,
}

/// How many teachers a loss reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Teachers {
    /// None: labels, or the student itself.
    None,
    /// Exactly one.
    One,
    /// One or more.
    Many,
}

/// One kind of loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Entry {
    /// As written in a recipe: `kind = "..."`.
    pub kind: &'static str,
    /// What it asks of the student, in one sentence.
    pub summary: &'static str,
    /// The paper.
    pub paper: &'static str,
    /// What our definition follows.
    pub basis: Basis,
    /// How many teachers it reads.
    pub teachers: Teachers,
}

/// One setting of a loss, as its type says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Setting {
    /// As written in a recipe.
    pub name: String,
    /// Its values.
    pub values: String,
    /// The default; none if it must be written, or if leaving it out switches something off.
    pub default: Option<String>,
    /// What it does.
    pub summary: String,
}

/// A kind of loss with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Described {
    /// What it is.
    #[serde(flatten)]
    pub entry: &'static Entry,
    /// Its settings, those that must be written first.
    pub settings: Vec<Setting>,
}

/// All kinds of loss with the settings that their types say, from `distill/src/losses/mod.rs`'s registry.
pub fn described() -> Vec<Described> {
    let root = schema::of::<LossSpec>();
    let kinds = schema::alternatives(&root).map(Vec::as_slice).unwrap_or_default();
    let is = |kind: &str, table: &Value| table["properties"]["kind"]["const"] == kind;
    let settings = |entry: &Entry| -> Vec<Setting> {
        let table = kinds.iter().find(|table| is(entry.kind, table));
        let keys = table.map(|table| schema::keys(table, &root)).unwrap_or_default();
        keys.into_iter().filter(|key| key.name != "kind").map(Setting::from).collect()
    };
    catalog().iter().map(|entry| Described { entry, settings: settings(entry) }).collect()
}

impl From<Key> for Setting {
    fn from(Key { name, values, default, text, .. }: Key) -> Self {
        Self { name, values, default, summary: text }
    }
}
