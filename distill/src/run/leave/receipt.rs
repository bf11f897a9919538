//! `receipt.json` and `card.json`: what came out, and from what.

use std::collections::BTreeMap;

use attar_exec::device;
use attar_formats::Card;
use attar_formats::card::{CARD_VERSION, NetworkFacts, Origin, Provenance};
use attar_models::zoo::NetworkSpec;
use attar_pixels::Preprocessing;
use serde::{Deserialize, Serialize};

use crate::checkpoint::TeacherCheck;
use crate::checkpoint::{Extended, Rollback, State};
use crate::plan::{Hashes, Plan};
use crate::recipe::{TeacherNorm, Which};
use crate::run::TestMeasures;
use crate::run::begin::PROGRAM;

/// What is known before the first step and stated at the end.
pub(in crate::run) struct Facts {
    network: NetworkSpec,
    labels: Vec<String>,
    preprocessing: Preprocessing,
    parameters: usize,
    macs: u64,
    device: &'static str,
    seed: u64,
    sizes: Sizes,
    hashes: Hashes,
    teachers: Vec<TeacherReceipt>,
}

impl Facts {
    pub(in crate::run) fn of(plan: &Plan) -> Self {
        let teachers = plan.teachers.rows().map(|teacher| TeacherReceipt {
            name: teacher.name.clone(),
            network: teacher.outline.name().to_owned(),
            weights_sha256: teacher.weights_sha256.clone(),
            bn: teacher.bn,
            val_top1: None,
            check: None,
            stated: teacher.stated.clone(),
        });
        Self {
            network: plan.network.clone(),
            labels: plan.data.classes().to_vec(),
            preprocessing: plan.data.pipeline.preprocessing.clone(),
            parameters: plan.student.parameter_count(),
            macs: plan.student.macs(),
            device: device::name(&plan.device),
            seed: plan.recipe.seed,
            sizes: Sizes {
                train: plan.data.train.len(),
                validation: plan.data.validation.len(),
                test: plan.data.test.len(),
                is_subset: plan.recipe.data.train_subset.is_some() || plan.recipe.data.test_subset.is_some(),
            },
            hashes: plan.data.hashes,
            teachers: teachers.collect(),
        }
    }
}

/// `receipt.json`: the numbers of a run and everything they depend on. Accuracies in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// [`RECEIPT_VERSION`]; receipts of before say none and are of version 1.
    #[serde(default = "first_version")]
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
    /// The student's network.
    pub network: NetworkSpec,
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

/// Version of the layout of `receipt.json`.
pub const RECEIPT_VERSION: u32 = 1;

fn first_version() -> u32 {
    1
}

/// What a run was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// What finishing a run measured.
pub(in crate::run) struct Measured {
    pub(in crate::run) best_epoch: usize,
    pub(in crate::run) val_last: Option<f64>,
    pub(in crate::run) val_best: Option<f64>,
    pub(in crate::run) test_last: f64,
    pub(in crate::run) test_best: f64,
    pub(in crate::run) measures: TestMeasures,
    pub(in crate::run) exported: Which,
    pub(in crate::run) exported_epoch: usize,
    pub(in crate::run) weights_sha256: String,
}

impl Facts {
    pub(in crate::run) fn receipt(&self, name: &str, averaged: bool, state: &State, measured: &Measured) -> Receipt {
        let teachers = self.teachers.iter().map(|teacher| {
            let val_top1 = state.teacher_top1.get(&teacher.name).map(|top1| top1.0);
            let check = state.teacher_checks.get(&teacher.name).cloned();
            TeacherReceipt { val_top1, check, ..teacher.clone() }
        });
        Receipt {
            version: RECEIPT_VERSION,
            attar: PROGRAM.to_owned(),
            name: name.to_owned(),
            seed: self.seed,
            device: self.device.to_owned(),
            threads: state.threads,
            recipe_sha256: state.recipe_sha256.clone(),
            data: DataReceipt {
                train: state.data.train.clone(),
                test: state.data.test.clone(),
                test_before: state.data.test_before.clone(),
                sizes: self.sizes,
                hashes: Some(self.hashes),
            },
            network: self.network.clone(),
            init_sha256: state.init_sha256.clone(),
            parameters: self.parameters,
            macs: self.macs,
            teachers: teachers.collect(),
            epochs: state.epochs_done,
            stopped_early: None,
            averaged,
            best_epoch: measured.best_epoch,
            val_top1_last: measured.val_last,
            val_top1_best: measured.val_best,
            test_top1_last: measured.test_last,
            test_top1_best: measured.test_best,
            test_top1_best_on_test: state.best_on_test.map(|best| best.percent()),
            measures: Some(measured.measures.clone()),
            exported: measured.exported,
            weights_sha256: measured.weights_sha256.clone(),
            wall_seconds: state.seconds,
            resumed: state.resumed,
            extended: state.extended.clone(),
            rollbacks: state.rollbacks.clone(),
        }
    }

    pub(in crate::run) fn card(&self, state: &State, measured: &Measured) -> Card {
        let (which, epoch) = (measured.exported, measured.exported_epoch);
        let (val, test) = match which {
            Which::Best => (measured.val_best, measured.test_best),
            Which::Last => (measured.val_last, measured.test_last),
        };
        self.card_of(state, format!("{}, epoch {epoch}", which.as_str()), val, test)
    }

    /// The card of the weights that `checkpoint` names in words, with their accuracies.
    pub(in crate::run) fn card_of(&self, state: &State, checkpoint: String, val: Option<f64>, test: f64) -> Card {
        let mut numbers = BTreeMap::from([("test_top1".to_owned(), test)]);
        numbers.extend(val.map(|val| ("val_top1".to_owned(), val)));
        Card {
            card_version: CARD_VERSION,
            network: NetworkFacts {
                name: self.network.name.clone(),
                classes: self.network.classes,
                input: self.network.input,
            },
            labels: self.labels.clone(),
            preprocessing: self.preprocessing.clone(),
            provenance: Provenance {
                program: PROGRAM.to_owned(),
                network: Some(Origin { zoo: Some(self.network.clone()) }),
                recipe_sha256: Some(state.recipe_sha256.clone()),
                data_sha256: Some(state.data.train.clone()),
                teachers: state.teachers.clone(),
                seed: Some(self.seed),
                checkpoint: Some(checkpoint),
                metrics: numbers,
                licence: None,
            },
        }
    }
}
