//! The receipt of a run, `receipt.json`: its numbers and everything they depend on.

mod measures;
mod teacher_check;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use measures::{TeacherMeasures, TestMeasures};
pub use teacher_check::{CheckedOn, TeacherCheck};

use crate::card::origin::{facts_of, of_zoo};
use crate::card::{NetworkFacts, Origin};
use crate::error::{Error, Result};
use crate::exact::Exact;
use crate::run::Which;
use crate::{files, json};

/// `receipt.json`: the numbers of a run and everything they depend on. Accuracies in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Receipt {
    /// [`RECEIPT_VERSION`].
    pub version: u32,
    /// Program and version.
    pub attar: String,
    /// Name of the run.
    pub name: String,
    /// Seed.
    pub seed: u64,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Threads that computed.
    pub threads: usize,
    /// sha256 of `recipe.toml`.
    pub recipe_sha256: String,
    /// Fingerprints of the images, and how many there were.
    pub data: DataReceipt,
    /// What the student's network takes and gives.
    pub network: NetworkFacts,
    /// How that network was made.
    pub origin: Origin,
    /// sha256 of the file of weights that the student started from; absent where it started from random ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_sha256: Option<String>,
    /// Trained parameters of the student.
    pub parameters: usize,
    /// Multiply-accumulates of the student for one image.
    pub macs: u64,
    /// The teachers.
    pub teachers: Vec<TeacherReceipt>,
    /// Epochs.
    pub epochs: usize,
    /// The epoch after which the run ended because the validation accuracy got no better for long (`train.patience`); absent
    /// where it went on to its last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_early: Option<usize>,
    /// Whether validation and export use an exponential moving average of the weights.
    pub averaged: bool,
    /// Epoch with the highest validation accuracy, the first of equal ones.
    pub best_epoch: usize,
    /// Validation accuracy after the last epoch.
    pub val_top1_last: Option<f64>,
    /// Highest validation accuracy.
    pub val_top1_best: Option<f64>,
    /// Test accuracy after the last epoch.
    pub test_top1_last: f64,
    /// Test accuracy of the best epoch by validation.
    pub test_top1_best: f64,
    /// Highest test accuracy after any epoch: the rule of the authors of channel distillation, who choose by the images
    /// that they are judged by. For comparison with their tables only; nothing here is chosen by it.
    pub test_top1_best_on_test: Option<f64>,
    /// What the exported weights are worth on the test images, and how like their teachers; absent from receipts of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measures: Option<TestMeasures>,
    /// Which weights leave the run.
    pub exported: Which,
    /// sha256 of their `model.safetensors`.
    pub weights_sha256: String,
    /// Seconds of training and evaluation, over all resumptions.
    pub wall_seconds: f64,
    /// How often the run was resumed.
    pub resumed: usize,
    /// When the run was given more epochs; what came before was trained under the schedule of fewer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<Extended>,
    /// When training left the finite numbers and went back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollbacks: Vec<Rollback>,
}

/// Version of the layout of `receipt.json`. Version 1, which the first receipts do not even say, held name and options in the zoo as
/// the network; it is read as this one.
pub const RECEIPT_VERSION: u32 = 2;

impl Receipt {
    /// Reads a receipt of this or an older version.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] with the path for what is no receipt, or one that [`check`](Self::check) refuses.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            files::read(path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::from_json(&bytes, path)
    }

    /// [`read`](Self::read) of bytes; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_json(bytes: &[u8], path: &Path) -> Result<Self> {
        let fail = |problem: String| Error::Format { path: path.to_owned(), problem };
        let mut value: Value = json::parse(path, bytes)?;
        let version = value.get("version").map_or(Some(1), Value::as_u64);
        match version {
            Some(1) => value.as_object_mut().into_iter().for_each(upgrade),
            Some(version) if version == u64::from(RECEIPT_VERSION) => {}
            Some(version) => return Err(fail(other_version(version))),
            None => return Err(fail("its `version` is no number: this is not a receipt of attar".to_owned())),
        }
        let receipt = Self::deserialize(value).map_err(|error| fail(format!("not a receipt: {error}")))?;
        receipt.check().map_err(|error| fail(error.to_string()))?;
        Ok(receipt)
    }

    /// Writes it, atomically.
    ///
    /// # Errors
    /// What [`check`](Self::check) refuses; a file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check()?;
        json::write(path, self)
    }

    /// Checks that it is of this version and says numbers that can be.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the part.
    pub fn check(&self) -> Result<()> {
        let fail = |problem: String| Err(Error::Setting { setting: "receipt", problem });
        if self.version != RECEIPT_VERSION {
            return fail(other_version(self.version.into()));
        }
        let NetworkFacts { classes, input, .. } = &self.network;
        if *classes == 0 || input.contains(&0) {
            return fail(format!("a network of {input:?} and {classes} classes"));
        }
        let percents = [
            ("val_top1_last", self.val_top1_last),
            ("val_top1_best", self.val_top1_best),
            ("test_top1_last", Some(self.test_top1_last)),
            ("test_top1_best", Some(self.test_top1_best)),
            ("test_top1_best_on_test", self.test_top1_best_on_test),
        ];
        let odd = percents.into_iter().find(|(_, top1)| top1.is_some_and(|top1| !(0.0..=100.0).contains(&top1)));
        match odd {
            Some((name, Some(top1))) => fail(format!("{name} is {top1}, expected percent from 0 to 100")),
            _ => Ok(()),
        }
    }
}

fn other_version(version: u64) -> String {
    format!("version {version}, this program reads 1 and {RECEIPT_VERSION}\n  hint: another version of attar wrote it")
}

/// A receipt of version 1 as one of version 2: what was the network is where it came from.
fn upgrade(keys: &mut serde_json::Map<String, Value>) {
    let Some(spec) = keys.get("network").cloned() else { return };
    keys.insert("network".to_owned(), facts_of(&spec));
    keys.insert("origin".to_owned(), of_zoo(&spec));
    keys.insert("version".to_owned(), RECEIPT_VERSION.into());
}

/// What a run was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DataReceipt {
    /// Fingerprint of the training images, validation included.
    pub train: String,
    /// Fingerprint of the test images.
    pub test: String,
    /// Fingerprints of the test images that there were when the run was started, where they were changed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test_before: Vec<String>,
    /// How many images.
    pub sizes: Sizes,
    /// Which hashes of images were read and which made when the run was last begun; absent from receipts of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Hashes>,
}

/// Numbers of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sizes {
    /// Learned from.
    pub train: usize,
    /// Chosen by.
    pub validation: usize,
    /// Judged by.
    pub test: usize,
    /// Whether the recipe left images out.
    pub is_subset: bool,
}

/// A teacher as the receipt states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TeacherReceipt {
    /// Its name.
    pub name: String,
    /// Its network.
    pub network: String,
    /// sha256 of its file of weights.
    pub weights_sha256: String,
    /// Statistics of its batch norms.
    pub bn: TeacherNorm,
    /// Accuracy on the validation split of this run, measured before training.
    pub val_top1: Option<f64>,
    /// What it was measured on before training, and what was suspicious; absent from receipts of before, and where its logits
    /// are of other classes than the data's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<TeacherCheck>,
    /// Numbers from its own card, by name.
    pub stated: BTreeMap<String, f64>,
}

/// Where the hashes of a run's images came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hashes {
    /// Known from a scan before, of files that have not changed since.
    pub read_from_cache: usize,
    /// Made anew.
    pub made: usize,
}

/// Statistics that a teacher's batch norms use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TeacherNorm {
    /// The running statistics, folded into the convolutions.
    #[default]
    Running,
    /// Those of the batch, as in the authors' code of channel distillation; forbids folding.
    Batch,
}

/// A run was given more epochs: what came before was trained under the schedule of fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Extended {
    /// Epochs of the recipe before.
    pub from: usize,
    /// Epochs of the recipe from then on.
    pub to: usize,
    /// Epochs that were complete.
    pub epochs_done: usize,
    /// Steps of the epoch under way that were.
    pub steps_done: usize,
}

/// Training left the finite numbers and went back to a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Epoch in which it diverged, from 1.
    pub epoch: usize,
    /// Step of that epoch, from 1.
    pub step: usize,
    /// Which number was not finite.
    pub what: String,
    /// Epochs of the checkpoint that it went back to; 0 with no steps is the start.
    pub epochs_done: usize,
    /// Steps of that checkpoint in the epoch after them.
    pub steps_done: usize,
    /// What the learning rate was multiplied with from then on.
    pub factor: Exact,
}
