//! Where a run is: position, sums of the epoch so far, best so far, the logs, and what it was made from.

use std::collections::BTreeMap;

use attar_formats::exact::Exact;
use attar_formats::receipt::{Extended, Rollback, TeacherCheck};
use serde::{Deserialize, Serialize};

/// `state.json` of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// [`CHECKPOINT_VERSION`](super::CHECKPOINT_VERSION).
    pub version: u32,
    /// Program and version that wrote it.
    pub program: String,
    /// Epochs that are complete.
    pub epochs_done: usize,
    /// Steps of the epoch under way that are complete; 0 between epochs. Order, augmentation and dropout are keyed by
    /// seed, epoch and step, so that no generator has a state to be kept.
    pub steps_done: usize,
    /// Sums over those steps.
    pub sums: Sums,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// The highest test accuracy after any epoch, where the recipe asks for it.
    pub best_on_test: Option<Best>,
    /// Rows of `metrics.csv` without the header.
    pub metrics: Vec<String>,
    /// Bytes of `events.jsonl` that belong to the part of the run before this checkpoint.
    pub events_bytes: u64,
    /// Seconds of training before this checkpoint.
    pub seconds: f64,
    /// Times the run has been resumed.
    pub resumed: usize,
    /// Threads the run computes with; other counts may give other bits.
    pub threads: usize,
    /// sha256 of the resolved recipe.
    pub recipe_sha256: String,
    /// What it learns from.
    pub data: Data,
    /// sha256 of the file of weights that the student started from, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_sha256: Option<String>,
    /// sha256 of each teacher's weights by name.
    pub teachers: BTreeMap<String, String>,
    /// Accuracy of each teacher on the validation split by name, in percent.
    pub teacher_top1: BTreeMap<String, Exact>,
    /// What each teacher was worth before the first step, by name; absent from checkpoints of before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub teacher_checks: BTreeMap<String, TeacherCheck>,
    /// When the run was given more epochs than it was started with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<Extended>,
    /// When it diverged and went back, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
}

/// The data a run was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Fingerprint of the training images and labels that are used, validation included.
    pub train: String,
    /// Fingerprint of the test images and labels that are used.
    pub test: String,
    /// Fingerprints of test images that there were before they were changed on the way, the first ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test_before: Vec<String>,
}

/// An epoch and how many images it got right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Images right.
    pub correct: usize,
    /// Images seen.
    pub of: usize,
}

impl Best {
    /// Accuracy in percent.
    pub fn percent(&self) -> f64 {
        attar_measures::percent(self.correct, self.of)
    }
}

/// Running sums of one epoch of training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Images seen.
    pub images: usize,
    /// Images that the student got right in training mode.
    pub correct: usize,
    /// Sum over images of the weighted total loss.
    pub loss: Exact,
    /// For each loss: images for which it was active, and the sum of its unweighted value over them.
    pub terms: BTreeMap<String, (usize, Exact)>,
    /// Seconds spent in the epoch before the checkpoint.
    pub seconds: f64,
}
