//! One recipe trained with one seed, and what came of it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use attar_distill::run::{Receipt, TestMeasures};
use attar_formats::metrics::Metrics;
use attar_formats::run::file;
use attar_infer::bundle::{Predictions, Split};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run and what came of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// The run directory.
    pub directory: PathBuf,
    /// Why there is no outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What came of it, where it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What came of a run. Accuracies in percent.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Outcome {
    /// Test accuracy after the last epoch.
    pub test_top1_last: f64,
    /// Test accuracy of the best epoch by validation.
    pub test_top1_best: f64,
    /// That epoch, from 1.
    pub best_epoch: usize,
    /// `last` or `best`: the weights that the measures and the answers below are of.
    pub exported: &'static str,
    /// What these weights are worth; absent from older receipts.
    pub measures: Option<TestMeasures>,
    /// Median over the epochs of an epoch's seconds, evaluation included, a step.
    pub seconds_per_step: Option<f64>,
    /// What the training cost, where somebody watched.
    pub cost: Option<Cost>,
    /// Fingerprint of the test images.
    pub test_images: String,
    /// For each test image, whether the exported weights are right.
    #[serde(skip)]
    pub right: Vec<bool>,
}

/// `cost.json`, which is left in a run directory: what only who watched the training can tell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// The comparison that had it trained, by the milliseconds since 1970 at which it began to.
    pub call: u64,
    /// Most resident memory of the process that trained it.
    pub peak_memory_bytes: Option<u64>,
}

/// Its file in a run directory.
pub const COST: &str = "cost.json";

impl Outcome {
    /// From a run directory that is finished.
    ///
    /// # Errors
    /// When a file of the run cannot be read.
    pub fn read(receipt: Receipt, directory: &Path) -> Result<Self> {
        let predictions = Predictions::read(&attar_formats::run::predictions(directory))?;
        let tested = (0..predictions.len()).filter(|row| predictions.split[*row] == Split::Test);
        let cost = std::fs::read(directory.join(COST)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Self {
            test_top1_last: receipt.test_top1_last,
            test_top1_best: receipt.test_top1_best,
            best_epoch: receipt.best_epoch,
            exported: receipt.exported.as_str(),
            measures: receipt.measures,
            seconds_per_step: seconds_per_step(&Metrics::read(&directory.join(file::METRICS))?),
            cost,
            test_images: receipt.data.test,
            right: tested.map(|row| predictions.top1[row] == predictions.label[row]).collect(),
        })
    }
}

/// Median over the epochs, of which one in two may have been disturbed.
fn seconds_per_step(metrics: &Metrics) -> Option<f64> {
    let (steps, seconds) = (metrics.over_epochs("step"), metrics.over_epochs("seconds"));
    let before = std::iter::once(0.0).chain(steps.iter().map(|(_, step)| *step));
    let mut each: Vec<f64> =
        steps.iter().zip(before).zip(&seconds).map(|(((_, step), before), (_, time))| time / (step - before)).collect();
    each.sort_by(f64::total_cmp);
    each.get(each.len() / 2).copied().filter(|seconds| seconds.is_finite())
}
