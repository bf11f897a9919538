//! How a loss is described for people: what it does, where it comes from, its settings.

use serde::Serialize;

/// What the definition of a loss follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    /// Its settings.
    pub settings: &'static [Setting],
}

/// One setting of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// As written in a recipe.
    pub name: &'static str,
    /// Its values.
    pub values: &'static str,
    /// The default; none if it must be written, or if leaving it out switches something off.
    pub default: Option<&'static str>,
    /// What it does.
    pub summary: &'static str,
}

/// A setting, for the entries of losses.
pub(super) const fn setting(
    name: &'static str,
    values: &'static str,
    default: Option<&'static str>,
    summary: &'static str,
) -> Setting {
    Setting { name, values, default, summary }
}
