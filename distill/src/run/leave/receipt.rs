//! What `receipt.json` and `card.json` say of a run: what came out, and from what.

use std::collections::BTreeMap;
use std::path::Path;

use attar_exec::device;
use attar_formats::Card;
use attar_formats::card::{CARD_VERSION, NetworkFacts, Origin, Provenance};
use attar_formats::receipt::{DataReceipt, Hashes, RECEIPT_VERSION, Receipt, Sizes, TeacherReceipt, TestMeasures};
use attar_pixels::Preprocessing;

use crate::checkpoint::State;
use crate::error::Result;
use crate::plan::Plan;
use crate::recipe::{Which, relative};
use crate::run::begin::PROGRAM;

/// What is known before the first step and stated at the end.
pub(in crate::run) struct Facts {
    network: NetworkFacts,
    origin: Origin,
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
    /// Files are named as `directory` sees them, the run's own.
    pub(in crate::run) fn of(plan: &Plan, directory: &Path) -> Result<Self> {
        let teachers = plan.teachers.rows().map(|teacher| TeacherReceipt {
            name: teacher.name.clone(),
            network: teacher.outline.name().to_owned(),
            weights_sha256: teacher.weights_sha256.clone(),
            bn: teacher.bn,
            val_top1: None,
            check: None,
            stated: teacher.stated.clone(),
        });
        Ok(Self {
            network: NetworkFacts::of(&plan.student)?,
            origin: plan.origin.clone().with_path(|path| relative(path, directory)),
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
        })
    }
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
            origin: self.origin.clone(),
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
            network: self.network.clone(),
            labels: self.labels.clone(),
            preprocessing: self.preprocessing.clone(),
            provenance: Provenance {
                program: PROGRAM.to_owned(),
                network: Some(self.origin.clone()),
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
