//! The end of a run: the test split looked at for the first time, reference answers, card and receipt.

use attar_data::eval_batch;
use attar_exec::Network;
use attar_formats::hash::file_sha256;
use attar_formats::json;
use attar_formats::metrics::Metrics;
use attar_formats::receipt::{Receipt, TestMeasures};
use attar_formats::reference::Split;
use attar_formats::run::file;
use attar_pixels::Preprocessing;
use serde::Serialize;

use crate::batch::input;
use crate::checkpoint::Best;
use crate::error::{Error, Result};
use crate::recipe::Which;
use crate::run::Run;
use crate::run::events::Event;
use crate::run::leave::judge::Judge;
use crate::run::leave::receipt::Measured;
use crate::run::leave::reference::{self, Answers};
use crate::run::leave::robustness::robustness;
use crate::run::train::{evaluation, logits};

impl Run<'_> {
    /// Evaluates the last and the best weights on the test split and writes what the other rooms read.
    pub(in crate::run) fn finish(&mut self) -> Result<Receipt> {
        self.write_metrics(&self.state.metrics)?;
        let epochs = self.state.epochs_done;
        let best = self.state.best.unwrap_or(Best { epoch: epochs, correct: 0, of: 0 });
        let last_network = self.learner.evaluated()?;
        let best_network = if best.epoch == epochs { last_network.clone() } else { self.best_network()? };

        let which = self.setup.recipe.export.weights;
        let (exported, other) = match which {
            Which::Best => (&best_network, &last_network),
            Which::Last => (&last_network, &best_network),
        };
        let weights_sha256 = file_sha256(&self.setup.store.model(which.as_str()))?;
        let (val_exported, measures) = self.write_reference(exported, &weights_sha256)?;
        let test_exported = measures.student.top1;
        let (val_other, test_other) = match best.epoch == epochs {
            true => (val_exported, test_exported),
            false => (self.validation_top1(other)?, self.evaluate(other, "test")?.top1()),
        };
        let ((val_best, test_best), (val_last, test_last)) = match which {
            Which::Best => ((val_exported, test_exported), (val_other, test_other)),
            Which::Last => ((val_other, test_other), (val_exported, test_exported)),
        };
        let measured = Measured {
            best_epoch: best.epoch,
            val_last,
            val_best,
            test_last,
            test_best,
            measures,
            exported: which,
            exported_epoch: if which == Which::Best { best.epoch } else { epochs },
            weights_sha256,
        };
        let setup = &self.setup;
        let averaged = setup.recipe.train.ema.is_some();
        let receipt = setup.facts.receipt(&setup.recipe.name, averaged, &self.state, &measured);
        let receipt = Receipt { stopped_early: self.stopped_early(), ..receipt };
        self.write_json(file::CARD, &setup.facts.card(&self.state, &measured))?;
        receipt.write(&setup.directory.join(file::RECEIPT))?;
        self.tell(&Event::Finished {
            best_epoch: best.epoch,
            test_top1_last: measured.test_last,
            test_top1_best: measured.test_best,
        })?;
        self.log.sync()?;
        Ok(receipt)
    }

    fn best_network(&self) -> Result<Network> {
        let Some(checkpoint) = self.setup.store.read("best")? else {
            let path = self.setup.store.model("best");
            return Err(Error::Format { path, problem: "the checkpoint of the best epoch is gone".to_owned() });
        };
        Ok(Network::from_weights(self.learner.student().graph().clone(), &checkpoint.model, &self.setup.device)?)
    }

    fn validation_top1(&mut self, network: &Network) -> Result<Option<f64>> {
        if self.setup.data.validation.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.evaluate(network, "validation")?.top1()))
    }

    /// Golden files and answers of the exported weights; accuracy on validation, all measures on test.
    pub(in crate::run) fn write_reference(
        &mut self,
        network: &Network,
        weights_sha256: &str,
    ) -> Result<(Option<f64>, TestMeasures)> {
        self.observer.event(&Event::Preparing { what: "writing reference answers".to_owned() });
        let (setup, data) = (&self.setup, &self.setup.data);
        let directory = reference::directory(&setup.directory)?;
        reference::golden(&directory, data, logits(network), &setup.device)?;
        reference::golden_synthetic(&directory, data, setup.recipe.seed, logits(network), &setup.device)?;
        let mut answers = Answers::new(data.classes().len());
        let mut val = None;
        if !data.validation.is_empty() {
            let scores = answers.collect(
                &evaluation(setup, &data.validation),
                Split::Validation,
                logits(network),
                |_, _, _| Ok(()),
            )?;
            val = Some(scores.top1());
        }
        let teachers = &mut self.learner.teachers;
        let own = |how: &Preprocessing, ids: &[u32]| {
            let batch = setup.loaders.install(|| eval_batch(data.test.as_ref(), ids, how))?;
            input(&batch, &setup.device)
        };
        let mut judge = Judge::new(data.classes().len(), teachers.0.len());
        answers.collect(&evaluation(setup, &data.test), Split::Test, logits(network), |batch, input, rows| {
            judge.add(batch, input, rows, teachers, &own)
        })?;
        answers.write(&directory, weights_sha256)?;
        let mut measures = judge.measures(setup.recipe.export.weights, data.classes(), &self.learner.teachers)?;
        if !setup.recipe.robustness.is_empty() {
            self.observer.event(&Event::Preparing { what: "attacking the exported weights".to_owned() });
            let evaluation = evaluation(setup, &data.test);
            let attacks = &setup.recipe.robustness;
            let (accuracies, attacked) =
                robustness(attacks, network, data.input, &evaluation, setup.recipe.seed, weights_sha256)?;
            measures.robustness = accuracies;
            attacked.write(&directory.join(file::ATTACKS))?;
        }
        Ok((val, measures))
    }

    /// Writes `metrics.csv` of these rows.
    pub(in crate::run) fn write_metrics(&self, rows: &[String]) -> Result<()> {
        Ok(Metrics::write(&self.setup.directory.join(file::METRICS), &self.setup.loss_names(), rows)?)
    }

    pub(in crate::run) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        Ok(json::write(&self.setup.directory.join(name), value)?)
    }
}
