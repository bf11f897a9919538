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
    /// Where a runtime that adds two products in 16 bits clips them; absent where no weights allow it, as none of 7 bits do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond_16_bits: Option<Beyond16Bits>,
    /// What was lost by quantising; absent where there is nothing of floats to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// What instructions of x86 clip that add two products of a byte and a weight in 16 bits (`vpmaddubsw`). ONNX Runtime uses them on
/// CPUs without VNNI, and does not come to the bits of the integer reference there (its documentation, "Quantize ONNX Models", on
/// U8S8 and saturation; with VNNI and on Arm it does not clip).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Beyond16Bits {
    /// Layers that have such weights.
    pub layers: usize,
    /// Pairs of neighbouring products in the images that the definition answered itself.
    pub pairs: u64,
    /// Those of them that are clipped.
    pub beyond: u64,
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

impl Cpu {
    /// Whether runtimes use instructions there that add two products in 16 bits.
    fn adds_pairs_in_16_bits(&self) -> bool {
        let vnni = |name: &String| ["avxvnni", "avx512vnni"].contains(&name.as_str());
        self.architecture == "x86_64" && !self.features.iter().any(vnni)
    }
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

impl Beyond16Bits {
    /// On which CPUs ONNX Runtime keeps the promise, for people; `cpu` is the one at hand.
    pub fn kept_on(&self, cpu: Option<&Cpu>) -> String {
        let Self { layers, pairs, beyond } = self;
        let here = match cpu.filter(|cpu| cpu.adds_pairs_in_16_bits()) {
            Some(_) => ", of which this is one",
            None => "",
        };
        format!(
            "weights of 8 bits: on x86 CPUs without VNNI{here} ONNX Runtime adds two products in 16 bits and clips what is beyond, \
             {beyond} of {pairs} pairs ({layers} layers have such weights); on those with VNNI and on Arm it keeps these integers"
        )
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
