//! Which parameters move, and how fast: `train.freeze` and `train.learning_rate_factors` by patterns of names.

use std::collections::{BTreeMap, BTreeSet};

use attar_models::did_you_mean;

use super::fail;
use crate::error::{Error, Result};
use crate::recipe::TrainSection;

/// Names that an error lists.
const SHOWN: usize = 12;

/// Patterns resolved to the parameters of a run, under their full names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Moves {
    /// Those that stay as they are.
    pub(crate) frozen: BTreeSet<String>,
    /// Those that move at a multiple of the learning rate.
    pub(crate) factors: BTreeMap<String, f64>,
}

impl Moves {
    /// Resolves the patterns of a recipe against the names of all parameters that could learn, the student's without a
    /// prefix.
    pub(crate) fn find(train: &TrainSection, names: &[String]) -> Result<Self> {
        let mut moves = Self::default();
        for pattern in &train.freeze {
            let found = names.iter().filter(|name| fits(pattern, name));
            let before = moves.frozen.len();
            moves.frozen.extend(found.cloned());
            if moves.frozen.len() == before && !moves.frozen.iter().any(|name| fits(pattern, name)) {
                return Err(unknown("train.freeze", pattern, names));
            }
        }
        for (i, factor) in train.learning_rate_factors.iter().enumerate() {
            let key = format!("train.learning_rate_factors.{i}");
            if !(factor.factor > 0.0 && factor.factor.is_finite()) {
                let problem = format!(
                    "{} is no multiple of a learning rate, expected a number above 0\n  hint: `train.freeze` is for what does not learn",
                    factor.factor
                );
                return Err(fail(&format!("{key}.factor"), problem));
            }
            let found: Vec<&String> = names.iter().filter(|name| fits(&factor.pattern, name)).collect();
            match found.iter().find(|name| !moves.frozen.contains(**name)) {
                None if found.is_empty() => return Err(unknown(&format!("{key}.match"), &factor.pattern, names)),
                None => {
                    let problem = format!("all that `{}` matches is frozen: its factor does nothing", factor.pattern);
                    return Err(fail(&format!("{key}.match"), problem));
                }
                Some(_) => moves.factors.extend(found.into_iter().map(|name| (name.clone(), factor.factor))),
            }
        }
        Ok(moves)
    }

    /// Fails where nothing that lies under `prefix` learns: the student's names have none, `others` are those that have.
    pub(crate) fn check(&self, names: &[String], others: &[String]) -> Result<()> {
        let own = |name: &&String| !others.iter().any(|prefix| name.starts_with(prefix.as_str()));
        if names.iter().filter(own).all(|name| self.frozen.contains(name)) {
            return Err(fail("train.freeze", "everything of the student is frozen, nothing is left to learn"));
        }
        Ok(())
    }

    /// The frozen ones whose names begin with `prefix`, without it.
    pub(crate) fn frozen_under(&self, prefix: &str) -> BTreeSet<String> {
        self.frozen.iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    }
}

/// Whether a pattern is a name or the beginning of it up to a dot; `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
    ends.into_iter().any(|end| glob(pattern.as_bytes(), &name.as_bytes()[..end]))
}

/// Whether a pattern with `*` is a whole text. Going back to the last star is enough.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(own) if *own == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

fn unknown(key: &str, pattern: &str, names: &[String]) -> Error {
    let starts: BTreeSet<&str> = names
        .iter()
        .flat_map(|name| name.match_indices('.').map(|(at, _)| &name[..at]).chain([name.as_str()]))
        .collect();
    let near = did_you_mean(pattern.trim_matches('*'), starts);
    let mut first: Vec<&str> = Vec::new();
    for name in names.iter().filter_map(|name| name.split('.').next()) {
        if !first.contains(&name) {
            first.push(name);
        }
    }
    let more = if first.len() > SHOWN { format!(", and {} more", first.len() - SHOWN) } else { String::new() };
    let known = first.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    fail(key, format!("no parameter matches `{pattern}`{near}\n  names begin with: {known}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{PLAIN, Recipe};

    fn find(settings: &[&str]) -> Result<Moves> {
        let ce = "[[losses]]\nname = \"ce\"\nweight = 1.0\nloss = { kind = \"cross-entropy\" }";
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        let recipe = Recipe::parse(&format!("{PLAIN}{ce}"), &settings).unwrap();
        let names = ["conv1.weight", "layer1.0.bn1.bias", "layer1.0.bn1.weight", "layer10.conv.weight", "fc.weight"];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let moves = Moves::find(&recipe.train, &names)?;
        moves.check(&names, &[])?;
        Ok(moves)
    }

    #[test]
    fn a_pattern_is_a_beginning_up_to_a_dot_or_has_stars() {
        let frozen = |pattern: &str| {
            find(&[&format!("train.freeze=[{pattern:?}]")]).unwrap().frozen.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(frozen("layer1"), "layer1.0.bn1.bias layer1.0.bn1.weight");
        assert_eq!(frozen("layer1*.weight"), "layer1.0.bn1.weight layer10.conv.weight");
        assert_eq!(frozen("*.bias"), "layer1.0.bn1.bias");
        assert_eq!(frozen("fc*"), "fc.weight");
        assert_eq!(frozen("*.bn1"), "layer1.0.bn1.bias layer1.0.bn1.weight");
        let factors = "train.learning_rate_factors=[{match=\"*\",factor=0.1},{match=\"fc\",factor=2.0}]";
        let factors = find(&[factors]).unwrap().factors;
        assert_eq!((factors.len(), factors["conv1.weight"], factors["fc.weight"]), (5, 0.1, 2.0));
    }

    #[test]
    fn what_matches_nothing_or_leaves_nothing_is_told() {
        for (settings, expected) in [
            (vec!["train.freeze=[\"layer11\"]"], "train.freeze: no parameter matches `layer11`, did you mean `layer1"),
            (vec!["train.freeze=[\"*\"]"], "nothing is left to learn"),
            (vec!["train.learning_rate_factors=[{match=\"fcc\",factor=2}]"], "did you mean `fc`?"),
            (vec!["train.learning_rate_factors=[{match=\"fc\",factor=0}]"], "train.learning_rate_factors.0.factor: 0"),
            (
                vec!["train.freeze=[\"fc\"]", "train.learning_rate_factors=[{match=\"fc\",factor=2}]"],
                "its factor does nothing",
            ),
        ] {
            let message = find(&settings).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
