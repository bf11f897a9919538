//! Whether recipes are trained on equal terms, and in what else they differ.

use anyhow::Result;

use super::Contender;

/// What must be the same in all recipes: sections and settings by the beginning of their key.
const EQUAL: [&str; 6] = ["data.", "student.", "stages", "train.epochs:", "train.batch:", "train.accumulate:"];

/// What a method is: it is expected to differ.
const METHOD: [&str; 6] = ["name:", "seed:", "teachers", "losses", "views", "peers"];

/// In what the recipes differ from the first one.
#[derive(Debug, Default, PartialEq)]
pub struct Terms {
    /// What should have been the same.
    pub unequal: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Holds every recipe against the first.
///
/// # Errors
/// When a recipe cannot be written as TOML, by which they are compared.
pub fn check(contenders: &[Contender]) -> Result<Terms> {
    let mut terms = Terms::default();
    let Some((first, others)) = contenders.split_first() else { return Ok(terms) };
    for other in others {
        for difference in first.recipe.differences(&other.recipe)? {
            let starts = |keys: &[&str]| keys.iter().any(|key| difference.starts_with(key));
            let (key, values) = difference.split_once(": ").unwrap_or((&difference, ""));
            let (before, after) = values.split_once(" -> ").unwrap_or((values, ""));
            let line = format!("{key}: {before} in {}, {after} in {}", first.name, other.name);
            if starts(&EQUAL) {
                terms.unequal.push(line);
            } else if !starts(&METHOD) {
                terms.notes.push(line);
            }
        }
    }
    Ok(terms)
}
