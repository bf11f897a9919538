//! The epoch loop: batches in their order, steps, evaluation, metrics, checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use attar_data::{Dataset, Pipeline, balanced_order, epoch_order};
use attar_exec::Network;
use attar_formats::metrics::Row;
use attar_measures::percent;
use candle_core::Tensor;

use super::Run;
use super::events::Event;
use super::feed::evaluate::{Evaluation, Scores};
use super::feed::prefetch::{How, Prefetch, batches};
use super::feed::resident::ResidentImages;
use super::step::{Outcome, Position};
use crate::checkpoint::{Best, Checkpoint, Exact, Sums};
use crate::error::Result;
use crate::recipe::Sampling;

/// Where the batches of an epoch come from.
enum Feed {
    /// Made by the loaders.
    Host(Prefetch),
    /// Made of these images when they are due.
    Device(Arc<ResidentImages>),
}

impl Run<'_> {
    /// Trains to the last epoch.
    pub(super) fn train(&mut self) -> Result<()> {
        let start = self.start_to_go_back_to()?;
        while self.state.epochs_done < self.setup.recipe.train.epochs && self.stopped_early().is_none() {
            if let Err(error) = self.epoch() {
                self.roll_back(error, start.as_ref())?;
            }
        }
        self.tell_early_end()
    }

    /// One epoch, or the rest of one.
    fn epoch(&mut self) -> Result<()> {
        let begun = Instant::now();
        let epoch = self.state.epochs_done + 1;
        let steps_per_epoch = self.setup.steps_per_epoch;
        let mut batches = batches(&order(&self.setup, epoch), self.setup.recipe.train.batch);
        let accumulate = self.setup.recipe.train.accumulate.unwrap_or(1).max(1);
        let rest = batches.split_off((self.state.steps_done * accumulate).min(batches.len()));
        let pipelines = self.learner.views.pipelines(&self.setup.data.pipeline);
        let feed = self.feed(&rest, &pipelines, epoch);
        let before = self.state.sums.seconds;
        let mut last = None;
        for (step, group) in (self.state.steps_done..).zip(rest.chunks(accumulate)) {
            let at = Position { epoch, step, part: 0, steps_per_epoch };
            let outcome = match (&feed, group) {
                (Feed::Host(batches), [_]) => self.learner.step(&batches.next()?, at)?,
                (Feed::Device(images), [ids]) => self.learner.step_on(images, ids, &pipelines, at)?,
                (feed, group) => {
                    let sizes: Vec<usize> = group.iter().map(Vec::len).collect();
                    self.learner.step_of_many(&sizes, at, &mut |learner, part| match feed {
                        Feed::Host(batches) => learner.loaded_from(&batches.next()?),
                        Feed::Device(images) => learner.loaded_on(images, &group[part], &pipelines, epoch),
                    })?
                }
            };
            add(&mut self.state.sums, &outcome);
            self.state.steps_done = step + 1;
            self.tell(&Event::Step {
                epoch,
                step: step + 1,
                loss: outcome.loss,
                lr: outcome.lr,
                gradient_norm: outcome.gradient_norm,
            })?;
            self.setup.failpoint.hit(|| format!("step {epoch}+{}", step + 1));
            last = Some(outcome);
            let done = (epoch - 1) * steps_per_epoch + step + 1;
            let every = self.setup.recipe.train.checkpoint_every_steps;
            if every.is_some_and(|every| done.is_multiple_of(every)) && step + 1 < steps_per_epoch {
                self.state.sums.seconds = before + begun.elapsed().as_secs_f64();
                self.checkpoint(false)?;
            }
        }
        let Some(last) = last else { return Ok(()) };
        self.end_epoch(epoch, &last, before, begun)
    }

    /// The batches whose images `indices` names.
    fn feed(&self, indices: &[Vec<u32>], pipelines: &[(Pipeline, u64)], epoch: usize) -> Feed {
        let setup = &self.setup;
        if let Some(images) = &setup.resident {
            return Feed::Device(Arc::clone(images));
        }
        let how = How::Train { pipelines: pipelines.to_vec(), epoch: epoch as u64 };
        Feed::Host(Prefetch::start(Arc::clone(&setup.data.train), indices.to_vec(), how, Arc::clone(&setup.loaders)))
    }

    /// Evaluates, writes the row, keeps the best, and writes the checkpoint.
    fn end_epoch(&mut self, epoch: usize, last: &Outcome, before: f64, begun: Instant) -> Result<()> {
        let train = &self.setup.recipe.train;
        let is_last = epoch == train.epochs;
        let network = self.learner.evaluated()?;
        let mut scores = None;
        if (epoch.is_multiple_of(train.eval_every) || is_last) && !self.setup.data.validation.is_empty() {
            scores = Some(self.evaluate(&network, "validation")?);
        }
        if self.setup.recipe.train.report_best_on_test {
            let test = self.evaluate(&network, "test")?;
            better(&mut self.state.best_on_test, epoch, &test);
        }
        let is_best = match &scores {
            Some(scores) => better(&mut self.state.best, epoch, scores),
            None => is_last && self.state.best.is_none() && better(&mut self.state.best, epoch, &Scores::default()),
        };
        let sums = std::mem::take(&mut self.state.sums);
        let seconds = before + begun.elapsed().as_secs_f64();
        let row = self.row(epoch, last, &sums, scores.as_ref(), seconds);
        self.state.seconds += seconds;
        self.state.metrics.push(row.to_csv(&self.setup.loss_names()));
        self.state.epochs_done = epoch;
        self.state.steps_done = 0;
        self.tell(&Event::Epoch(row))?;
        self.checkpoint(is_best)?;
        self.write_metrics(&self.state.metrics)
    }

    fn row(&self, epoch: usize, last: &Outcome, sums: &Sums, val: Option<&Scores>, seconds: f64) -> Row {
        let mean = |(images, sum): &(usize, Exact)| sum.0 / *images as f64;
        let losses = self.setup.loss_names().into_iter().map(|name| {
            let value = sums.terms.get(&name).map(mean);
            (name, value)
        });
        Row {
            epoch,
            step: epoch * self.setup.steps_per_epoch,
            lr: last.lr,
            train_loss: sums.loss.0 / sums.images as f64,
            train_top1: percent(sums.correct, sums.images),
            val_loss: val.map(Scores::mean_loss),
            val_top1: val.map(Scores::top1),
            seconds,
            losses: losses.collect::<BTreeMap<_, _>>(),
            weights: last.weights.clone(),
        }
    }

    /// Writes `last`, and `best` before it where this is the best epoch: a kill between them repeats an epoch, it never
    /// loses one.
    fn checkpoint(&mut self, is_best: bool) -> Result<()> {
        let (epochs_done, steps_done) = (self.state.epochs_done, self.state.steps_done);
        let at =
            if steps_done == 0 { (epochs_done, self.setup.steps_per_epoch) } else { (epochs_done + 1, steps_done) };
        self.learner.check_finite(at.0, at.1)?;
        let which = if is_best { &["best", "last"][..] } else { &["last"] };
        for which in which {
            self.tell(&Event::Checkpoint { which, epochs_done, steps_done })?;
        }
        self.state.events_bytes = self.log.sync()?;
        let (model, trainer) = self.learner.pack()?;
        let checkpoint = Checkpoint { model, trainer, state: self.state.clone() };
        which.iter().try_for_each(|which| self.setup.store.write(which, &checkpoint))
    }

    /// Accuracy of the student on a split, telling how far it is.
    pub(super) fn evaluate(&mut self, network: &Network, split: &'static str) -> Result<Scores> {
        let data = &self.setup.data;
        let dataset = if split == "test" { &data.test } else { &data.validation };
        let (of, mut done) = (dataset.len(), 0);
        let observer = &mut *self.observer;
        evaluation(&self.setup, dataset).run(logits(network), |batch, _, _| {
            done += batch.labels.len();
            observer.event(&Event::Evaluated { split, done, of });
            Ok(())
        })
    }
}

/// The forward pass that evaluation takes.
pub(super) fn logits(network: &Network) -> impl Fn(&Tensor) -> Result<Tensor> + '_ {
    |x| Ok(network.eval(x, &[])?.logits)
}

/// Evaluation on a data set as this run does it.
pub(super) fn evaluation<'a>(setup: &'a super::Setup, dataset: &'a Arc<dyn Dataset>) -> Evaluation<'a> {
    Evaluation {
        dataset,
        preprocessing: &setup.data.pipeline.preprocessing,
        batch: setup.recipe.train.batch,
        device: &setup.device,
        pool: &setup.loaders,
    }
}

/// The images of an epoch in their order.
fn order(setup: &super::Setup, epoch: usize) -> Vec<u32> {
    let (train, seed) = (&setup.data.train, setup.recipe.seed);
    match setup.recipe.data.sampling {
        Sampling::All => epoch_order(train.len(), seed, epoch as u64),
        Sampling::Balanced => balanced_order(&train.labels(), seed, epoch as u64),
    }
}

fn add(sums: &mut Sums, outcome: &Outcome) {
    let images = outcome.images as f64;
    sums.images += outcome.images;
    sums.correct += outcome.correct;
    sums.loss.0 += outcome.loss * images;
    for (name, value) in &outcome.terms {
        let term = sums.terms.entry(name.clone()).or_default();
        term.0 += outcome.images;
        term.1.0 += value * images;
    }
}

/// Keeps the better of the two, the earlier one when they are equal; tells whether it is the new one.
fn better(best: &mut Option<Best>, epoch: usize, scores: &Scores) -> bool {
    let is_better = best.is_none_or(|best| scores.correct > best.correct);
    if is_better {
        *best = Some(Best { epoch, correct: scores.correct, of: scores.images });
    }
    is_better
}
