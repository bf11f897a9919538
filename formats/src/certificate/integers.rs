//! What a certificate says of 8-bit files: the answers that their integers are defined to give, how far a runtime is from them,
//! and what was lost by quantising.

use attar_measures::Interval;
use serde::{Deserialize, Serialize};

use super::{Flip, GoldenNumbers, Paired, Verdict};

/// The answers of an 8-bit file as the integer arithmetic defines them, to which its runtimes are held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IntegerReference {
    /// The file that was computed: an ONNX file, compiled to a plan, or a plan whose ONNX file is not at hand.
    pub file: String,
    /// Its sha256, 64 hexadecimal digits.
    pub file_sha256: String,
    /// Number of the integer arithmetic.
    pub arithmetic: u32,
    /// Whether all is computed in integers, so that logits are defined to the bit; else some layers are of floats.
    pub exact: bool,
    /// Distance of two neighbouring logits; absent where the last layer is of floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantum: Option<f64>,
    /// Images that the definition answered itself, in slow plain Rust.
    pub by_definition: usize,
    /// Images that one of the engine's SIMD levels answered in its place, because its logits of all those before were the
    /// same bytes.
    pub by_level: usize,
    /// That level: another than the one that is judged, where the CPU has one that is quick.
    pub level: String,
    /// What was lost by quantising; absent where there is nothing of floats to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// An integer reference against the network that was trained, or against the file that it was quantised from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Compression {
    /// The goldens, if there are some; not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goldens: Option<GoldenNumbers>,
    /// Decisions over the paired images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paired: Option<Paired>,
    /// The verdict on the file.
    pub verdict: Verdict,
}

/// What a runtime may differ by from the integer reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Allowed {
    /// Nothing: the same bytes. Of Attar's own engine, where all is computed in integers.
    Bytes,
    /// So many quanta in each logit, and few decisions.
    Quanta {
        /// Most quanta.
        most: u32,
    },
    /// Few decisions, where logits have no quantum.
    Decisions,
}

/// A runtime against the integer reference of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Implementation {
    /// sha256 of the file of the [`IntegerReference`].
    pub reference_sha256: String,
    /// What it may differ by.
    pub allowed: Allowed,
    /// Images that both answered.
    pub images: usize,
    /// `labelled`, or without labelled images `golden` or `seeded`.
    pub of: String,
    /// Images whose logits are the same bytes.
    pub equal: usize,
    /// Largest difference of a logit.
    pub max_diff: f64,
    /// The same in quanta, where logits have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_quanta: Option<f64>,
    /// Images with another top-1 class.
    pub flips: usize,
    /// Their share in percent, with the score interval that counts each as lost.
    pub flip_share: Interval,
    /// Flipped labelled images, the largest margin of the reference first; at most as many as were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flipped: Vec<Flip>,
    /// The verdict on the runtime.
    pub verdict: Verdict,
    /// Why it is worse, where that is not for its decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The CPU that computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cpu {
    /// `x86_64`, `aarch64`, ...
    pub architecture: String,
    /// Which of the instruction sets that runtimes choose their kernels by it has.
    pub features: Vec<String>,
}

impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.architecture)?;
        self.features.iter().enumerate().try_for_each(|(at, name)| {
            let before = if at == 0 { " with" } else { "" };
            write!(f, "{before} {name}")
        })
    }
}

impl IntegerReference {
    /// Who answered, for people.
    pub fn answered(&self) -> String {
        let Self { by_definition: definition, by_level, level, .. } = self;
        match (by_level, self.exact) {
            (0, true) => format!("the definition itself answered {definition} images"),
            (0, false) => {
                format!("the definition itself answered {definition} images; layers of floats agree to rounding")
            }
            _ => format!(
                "the definition itself answered {definition} images, and as the level `{level}` gave the same bytes for all \
                 of them, it answered the other {by_level}"
            ),
        }
    }
}

impl Implementation {
    /// What was found, for people.
    pub fn found(&self) -> String {
        let Self { images, of, equal, max_diff, flips, flip_share, .. } = self;
        if equal == images {
            return format!("the same bytes for all {images} {of} images");
        }
        let far = match self.max_quanta {
            Some(quanta) => format!("{max_diff:.2e} = {quanta:.2} quanta"),
            None => format!("{max_diff:.2e}"),
        };
        format!(
            "the same bytes for {equal} of {images} {of} images; largest difference of a logit {far}; {flips} decisions \
             flipped, {:.3} % [{:.3}, {:.3}]",
            100.0 * *flips as f64 / (*images).max(1) as f64,
            flip_share.low,
            flip_share.high
        )
    }

    /// The verdict and why, for people.
    pub fn said(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {reason}", self.verdict),
            None => self.verdict.to_string(),
        }
    }
}
