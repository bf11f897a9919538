//! How a network is rewritten before it learns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of a student's own network in floats, as a teacher of what was made of it.
pub const SELF: &str = "self";

/// A change of a network before it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Rewrite {
    /// The network becomes one of 8-bit integers, as `attar quantise` makes it, and learns as such: what trains is what is
    /// exported. Norms are folded first. Where losses need a teacher and there is none, the network in floats that it starts
    /// from is it, as `self`. (`quantize` is the same.)
    #[serde(alias = "quantize")]
    Quantise {
        /// Which scales there may be.
        #[serde(default)]
        scales: Scales,
        /// Bits of a weight, 2 to 8; with 7, CPUs without VNNI or dot products come to the same answers in every runtime.
        #[serde(default = "seven")]
        #[schemars(extend("minimum" = 2, "maximum" = 8, "x-unit" = "bits"))]
        weight_bits: u32,
        /// How ranges of values are found before the first step.
        #[serde(default)]
        calibrator: Calibrator,
        /// Training images that they are found by, of each class as many as of the others.
        #[serde(default = "many")]
        #[schemars(extend("minimum" = 1, "x-unit" = "images"))]
        images: usize,
        /// Whether scales learn (LSQ), too; else those of values stay, and those of weights follow the weights.
        #[serde(default = "yes")]
        learn_scales: bool,
        /// Nodes that stay in floats.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keep: Vec<String>,
    },
}

/// Which scales there may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scales {
    /// Powers of two, and even zero points: every runtime comes to the same bits.
    #[default]
    Exact,
    /// Any.
    Free,
}

/// How the range of a value is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Calibrator {
    /// The part of what was seen with the least squared error.
    #[default]
    Mse,
    /// All that was seen.
    MinMax,
    /// The middle of what was seen, so many of 100: `{ percentile = 99.99 }`.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 100))]
    Percentile(f64),
}

impl From<Scales> for attar_compress::Scales {
    fn from(scales: Scales) -> Self {
        match scales {
            Scales::Exact => Self::Exact,
            Scales::Free => Self::Free,
        }
    }
}

impl From<Calibrator> for attar_compress::Calibrator {
    fn from(calibrator: Calibrator) -> Self {
        match calibrator {
            Calibrator::Mse => Self::Mse,
            Calibrator::MinMax => Self::MinMax,
            Calibrator::Percentile(percent) => Self::Percentile { percent },
        }
    }
}

fn seven() -> u32 {
    7
}

fn many() -> usize {
    256
}

fn yes() -> bool {
    true
}
