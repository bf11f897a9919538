//! What a file's answers are: logits, probabilities or their logarithms.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an ONNX file gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Answers {
    /// Logits: any numbers, whose softmax are probabilities.
    #[default]
    Logits,
    /// Probabilities, which sum to one. Their logits are known up to a constant: `ln max(p, 2^-126)`.
    Probabilities,
    /// Logarithms of probabilities: logits that stay as they are.
    LogProbabilities,
}

impl Answers {
    /// Whether they are logits, so that there is nothing to say.
    pub fn are_logits(&self) -> bool {
        *self == Self::Logits
    }

    /// Whether logits are known only up to a constant of each image.
    pub fn normalised(self) -> bool {
        self != Self::Logits
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities (a softmax is in the file); their logarithms are taken as logits",
            Self::LogProbabilities => "log-probabilities (a log-softmax is in the file); taken as logits as they are",
        })
    }
}
