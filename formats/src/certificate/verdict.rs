//! The verdict of a certificate, and which of several speaks for all.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Does the runtime decide like the network that was trained?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole interval of the accuracy difference lies above minus the margin.
    Equivalent,
    /// The whole interval lies below minus the margin.
    Worse,
    /// The interval holds minus the margin.
    Inconclusive {
        /// About this many more images like these would decide; `None` when no number would, because the observed
        /// difference is minus the margin.
        #[serde(skip_serializing_if = "Option::is_none")]
        more_images: Option<u64>,
    },
    /// No labelled image could be paired: logits were compared, decisions were not.
    NumbersOnly,
}

impl Verdict {
    /// The process exit code: 0 equivalent, 1 worse, 3 inconclusive or numbers only. (2 is any error.)
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Equivalent => 0,
            Self::Worse => 1,
            Self::Inconclusive { .. } | Self::NumbersOnly => 3,
        }
    }

    /// One word for a table: `equivalent`, `worse`, `inconclusive`, `numbers only`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Equivalent => "equivalent",
            Self::Worse => "worse",
            Self::Inconclusive { .. } => "inconclusive",
            Self::NumbersOnly => "numbers only",
        }
    }

    /// The verdict over several runtimes is the worst of theirs; numbers only counts as less than equivalent.
    pub fn worst(of: impl IntoIterator<Item = Self>) -> Option<Self> {
        of.into_iter().max_by_key(|verdict| match verdict {
            Self::Equivalent => (0, 0),
            Self::NumbersOnly => (1, 0),
            Self::Inconclusive { more_images } => (2, more_images.unwrap_or(u64::MAX)),
            Self::Worse => (3, 0),
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inconclusive { more_images: Some(more) } => write!(f, "inconclusive: about {more} more images"),
            Self::Inconclusive { more_images: None } => {
                write!(f, "inconclusive: the observed difference is the margin itself, no number of images decides")
            }
            other => f.write_str(other.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_runtime_speaks_for_all() {
        let undecided = Verdict::Inconclusive { more_images: Some(5) };
        assert_eq!(Verdict::worst([Verdict::Equivalent, Verdict::Worse, undecided]), Some(Verdict::Worse));
        assert_eq!(Verdict::worst([Verdict::Equivalent, Verdict::NumbersOnly]), Some(Verdict::NumbersOnly));
        assert_eq!(Verdict::worst([]), None);
    }
}
