//! Settings of training that most recipes leave alone: which images an epoch draws, and learning rates of parts of a network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `data.sampling`: which training images an epoch shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Each once.
    #[default]
    All,
    /// As many as there are, drawn with replacement: each class as likely as every other, in it each image.
    Balanced,
}

impl Sampling {
    pub(super) fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// `[[train.learning_rate_factors]]`: parameters that learn at a multiple of the learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateFactor {
    /// Which: the beginning of a dotted name (`layer1`, `features.0`), with `*` for anything.
    #[serde(rename = "match")]
    pub pattern: String,
    /// What the learning rate is multiplied by.
    pub factor: f64,
}
