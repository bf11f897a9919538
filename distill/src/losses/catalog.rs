//! The losses there are, described for people: what each does, where it comes from, its settings.

use serde::Serialize;

/// What the definition of a loss follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The behaviour of the authors' published code.
    AuthorsCode,
    /// The paper's own text.
    Paper,
    /// A reading of the paper or of others' accounts of it, where neither text nor code decides.
    Reading,
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
    /// The default; none if it must be written.
    pub default: Option<&'static str>,
    /// What it does.
    pub summary: &'static str,
}

const fn setting(
    name: &'static str,
    values: &'static str,
    default: Option<&'static str>,
    summary: &'static str,
) -> Setting {
    Setting { name, values, default, summary }
}

/// All kinds of loss.
pub fn catalog() -> &'static [Entry] {
    CATALOG
}

const CATALOG: &[Entry] = &[
    Entry {
        kind: "cross-entropy",
        summary: "The labels decide: minus log of the probability given to the right class, mean over the batch.",
        paper: "label smoothing: Szegedy et al. 2016, arXiv 1512.00567",
        basis: Basis::Paper,
        settings: &[setting("label_smoothing", "0 to 1", Some("0"), "share of the target spread over all classes")],
    },
    Entry {
        kind: "kd",
        summary: "The teacher's softened probabilities decide: T^2 KL(teacher || student), mean over the samples.",
        paper: "Hinton et al. 2015, arXiv 1503.02531; gate: Zhou et al. 2020, arXiv 2006.01683 (GKD)",
        basis: Basis::AuthorsCode,
        settings: &[
            setting("temperature", "above 0", None, "softens both networks' probabilities"),
            setting("gate", "none | teacher-right", Some("none"), "which samples count; teacher-right is GKD"),
            setting("denominator", "correct | batch", Some("correct"), "what a gated sum is divided by"),
        ],
    },
    Entry {
        kind: "channel",
        summary: "The teacher's mean activation of each channel decides, at the end of every stage: squared error.",
        paper: "Zhou et al. 2020, arXiv 2006.01683 (CD)",
        basis: Basis::AuthorsCode,
        settings: &[
            setting("pairs", "stages | [[student tap, teacher tap], ...]", Some("stages"), "what follows what"),
            setting("layers", "sum | mean", Some("sum"), "how the stages' terms make one number"),
            setting(
                "connector",
                "always | on-mismatch | none",
                Some("always"),
                "where a trained 1x1 convolution + batch norm adapts the student's channels",
            ),
            setting("relu", "true | false", Some("true"), "whether connectors end in a ReLU"),
        ],
    },
];
