//! What can go wrong with a network or its weights, said for people: what, where, what was expected, then a hint.

use strsim::levenshtein;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error about a graph or its weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node was given inputs whose shapes do not fit its operation.
    #[error("node `{node}`: {problem}")]
    Node {
        /// Name of the node.
        node: String,
        /// What does not fit, with the shapes involved.
        problem: String,
    },
    /// A name that is not in the list of known names (a network, a tap, an option).
    #[error("unknown {what} `{name}`{}\n  known: {known}", near(.nearest.as_deref()))]
    UnknownName {
        /// Kind of thing that was looked up, e.g. `network`.
        what: &'static str,
        /// The name as it was given.
        name: String,
        /// The closest known name, when one is close.
        nearest: Option<String>,
        /// All known names, comma separated.
        known: String,
    },
    /// A setting has a value that makes no network.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which setting, e.g. `width`.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// An option of a network that it does not have, or that it cannot be.
    #[error("{option}: {problem}")]
    Option {
        /// Name of the option, e.g. `width`.
        option: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Weights do not fit the graph: names or shapes differ.
    #[error("the weights do not fit `{network}`: {problem}")]
    Mismatch {
        /// Name of the network.
        network: String,
        /// The names or shapes that differ, on both sides.
        problem: String,
    },
}

fn near(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

impl Error {
    /// Builds [`Error::UnknownName`] with the nearest known name filled in.
    pub fn unknown(what: &'static str, name: &str, known: &[impl AsRef<str>]) -> Self {
        let nearest = nearest(name, known.iter().map(AsRef::as_ref)).map(str::to_owned);
        let known = known.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
        Self::UnknownName { what, name: name.to_owned(), nearest, known }
    }
}

/// The candidate closest to `name` by edit distance, if it is close enough to be a typing mistake (at most a third of
/// the letters, and at least one letter of slack).
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slack = (name.len() / 3).max(1);
    let ranked = candidates.into_iter().map(|candidate| (levenshtein(name, candidate), candidate));
    ranked.filter(|(distance, _)| *distance <= slack).min().map(|(_, candidate)| candidate)
}

/// `, did you mean `x`?` with the [`nearest`] candidate, to be put behind what is wrong with `name`; nothing where none is
/// close.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    near(nearest(name, candidates))
}

/// What is wrong with `name`, which name it may have been meant to be, and all that are known.
pub fn suggest(what: &str, name: &str, known: &[impl AsRef<str>]) -> String {
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let all = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("{what}{}\n  known: {all}", did_you_mean(name, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_name_and_noise_does_not() {
        let known = ["resnet20", "resnet56", "mobilenet_v2"];
        assert_eq!(nearest("resnet21", known), Some("resnet20"));
        assert_eq!(nearest("vgg", known), None);
        assert_eq!(suggest("no `vgg`", "vgg", &known), "no `vgg`\n  known: resnet20, resnet56, mobilenet_v2");
        assert_eq!(suggest("no such", "x", &[] as &[&str]), "no such\n  known: none");
    }
}
