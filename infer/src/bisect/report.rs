//! What was found out, for programs.

use std::path::PathBuf;

use serde::Serialize;

use super::measure::{Errors, Unit};

/// Two sides, compared.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bisection {
    /// Side A.
    pub a: SideFacts,
    /// Side B.
    pub b: SideFacts,
    /// How many images both answered.
    pub images: usize,
    /// Where they part first; nothing where they agree throughout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Found>,
    /// Every value that both sides have, in the order of the file.
    pub values: Vec<Compared>,
    /// How many values of A and of B have no counterpart.
    pub unmatched: [usize; 2],
    /// The answers of both files as they are, no value on the way being asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<Errors>,
    /// The folder with the smallest file that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repro: Option<PathBuf>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SideFacts {
    /// The file, or the recorded values.
    pub file: PathBuf,
    /// The runtime; nothing for recorded values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// sha256 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Precision of its arithmetic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

/// Where two sides part first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Found {
    /// The value.
    pub value: String,
    /// The node that computes it.
    pub node: String,
    /// Its operation.
    pub op: String,
    /// How its difference came about.
    pub finding: Finding,
    /// What the two files say otherwise of this node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// What a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// There is none.
    Equal,
    /// Rounding explains it.
    Rounding,
    /// More than rounding, but the node computes right of what it is given.
    Inherited,
    /// More than rounding, also where the node is given the other side's numbers.
    Own,
    /// More than rounding; what the node does by itself could not be told.
    Unknown,
    /// The answers part only where no value on the way is asked for: what the runtime fuses then is guilty.
    Fused,
}

impl Finding {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Rounding => "rounding",
            Self::Inherited => "inherited",
            Self::Own => "its own",
            Self::Unknown => "apart",
            Self::Fused => "fused",
        }
    }
}

/// A value on both sides.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Compared {
    /// Its name on side A.
    pub value: String,
    /// Its name on side B, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// The node that computes it.
    pub node: String,
    /// Its operation.
    pub op: String,
    /// How many compared values lie on the longest way to it, itself included.
    pub depth: usize,
    /// What differences are counted in.
    pub unit: Unit,
    /// Whether one side has bytes where the other has floats, or other bytes: then differences are what quantising costs.
    pub quantising: bool,
    /// B less A, as both run.
    pub total: Errors,
    /// The same where the node's inputs are the other side's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<Errors>,
    /// The image with the largest difference, counted from 0.
    pub image: usize,
    /// What it is.
    pub finding: Finding,
}

impl Bisection {
    /// 0 they agree throughout, 1 they part, 3 there was nothing to compare.
    pub fn exit_code(&self) -> u8 {
        match (&self.first, self.values.is_empty()) {
            (Some(_), _) => 1,
            (None, true) => 3,
            (None, false) => 0,
        }
    }
}
