//! What the exported weights are worth on the test images, as a receipt states it.

use std::collections::BTreeMap;

use attar_measures::{Likeness, Measures};
use serde::{Deserialize, Serialize};

use crate::run::Which;

/// `measures` of `receipt.json`: what the exported weights are worth on the test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TestMeasures {
    /// Which weights: those that leave the run.
    pub weights: Which,
    /// The student against the labels.
    pub student: Measures,
    /// Name of its worst class.
    pub worst_class: String,
    /// The teachers on the same images, by name; those whose answers are stored are not asked.
    pub teachers: BTreeMap<String, TeacherMeasures>,
    /// Accuracy under the recipe's attacks by their names, in percent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub robustness: BTreeMap<String, f64>,
}

/// A teacher on the test images, as it answered the student: with its own preprocessing and the statistics that the recipe gives
/// its norms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TeacherMeasures {
    /// Its accuracy, in percent.
    pub top1: f64,
    /// Its mean negative log-likelihood of the labels.
    pub nll: f64,
    /// Its expected calibration error, 0 to 1.
    pub ece: f64,
    /// How far the student has become like it.
    #[serde(flatten)]
    pub likeness: Likeness,
}
