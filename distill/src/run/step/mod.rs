//! One step of training: views, teachers, students, connectors, losses; then gradients back the same way, and the update.
//!
//! Candle differentiates the losses only: student logits and taps enter them as variables, and the executor carries the
//! gradients of these to the parameters.

pub(in crate::run) mod accumulate;
pub(in crate::run) mod frozen;
pub(in crate::run) mod learner;
pub(in crate::run) mod passes;
pub(in crate::run) mod split;
pub(in crate::run) mod views;

use std::collections::BTreeMap;

use attar_data::{Batch, Pipeline};
use attar_exec::Slots;
use attar_exec::optim::{Rates, clip_global_norm};
use attar_measures::argmax;
use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::recipe::Update;
use crate::run::feed::resident::ResidentImages;
use crate::run::step::learner::Learner;
use crate::run::step::passes::{Stage, views_of};
use crate::run::step::split::{Part, Split};
use crate::run::step::views::{Look, generator};

/// Where in the run a step is.
#[derive(Debug, Clone, Copy)]
pub(in crate::run) struct Position {
    /// Epoch, from 1.
    pub(in crate::run) epoch: usize,
    /// Step in the epoch, from 0.
    pub(in crate::run) step: usize,
    /// Batch of the step, from 0; a step has more than one where gradients accumulate.
    pub(in crate::run) part: usize,
    /// Steps in an epoch.
    pub(in crate::run) steps_per_epoch: usize,
}

impl Position {
    /// Fractional epoch, from 1.
    pub(in crate::run) fn time(&self) -> f64 {
        self.epoch as f64 + self.step as f64 / self.steps_per_epoch as f64
    }

    /// Steps of the run before this one.
    fn steps_before(&self) -> usize {
        (self.epoch - 1) * self.steps_per_epoch + self.step
    }
}

/// The decay of the average at a step: young averages forget faster, or the initial weights would stay in them for long.
fn warmed_up(decay: f64, at: Position) -> f64 {
    let n = at.steps_before() as f64 + 1.0;
    decay.min((1.0 + n) / (10.0 + n))
}

/// What a step found.
#[derive(Debug, Default)]
pub(in crate::run) struct Outcome {
    pub(in crate::run) images: usize,
    /// Images that the student got right before the update.
    pub(in crate::run) correct: usize,
    /// Weighted total loss.
    pub(in crate::run) loss: f64,
    /// Unweighted value of each active loss.
    pub(in crate::run) terms: BTreeMap<String, f64>,
    /// Weight of every loss.
    pub(in crate::run) weights: BTreeMap<String, f64>,
    pub(in crate::run) lr: f64,
    /// Global gradient norm before clipping.
    pub(in crate::run) gradient_norm: f64,
    /// Where the time went.
    pub(in crate::run) split: Split,
}

/// The losses of a batch and what they ask of the parameters.
pub(in crate::run) struct Found {
    /// Positions of the losses that were active.
    pub(in crate::run) active: Vec<usize>,
    /// Weight of every loss, active or not.
    pub(in crate::run) weights: Vec<f64>,
    /// Unweighted values of the active losses.
    pub(in crate::run) terms: Vec<f64>,
    /// Weighted total.
    pub(in crate::run) loss: f64,
    /// Images that the student got right.
    pub(in crate::run) correct: usize,
    pub(in crate::run) gradients: BTreeMap<String, Tensor>,
    stage: Stage,
}

impl Learner {
    /// Takes one step with the batches of [`Learner::loads`], as the loaders made them.
    pub(in crate::run) fn step(&mut self, batches: &[Batch], at: Position) -> Result<Outcome> {
        self.watch.start();
        let loaded = self.loaded_from(batches)?;
        self.learn(&loaded, at)
    }

    /// Batches of [`Learner::loads`] on the device.
    pub(in crate::run) fn loaded_from(&self, batches: &[Batch]) -> Result<Vec<Look>> {
        batches.iter().map(|batch| Look::loaded(batch, self.classes(), &self.device)).collect()
    }

    /// The same step on images that live on the device.
    pub(in crate::run) fn step_on(
        &mut self,
        images: &ResidentImages,
        ids: &[u32],
        pipelines: &[(Pipeline, u64)],
        at: Position,
    ) -> Result<Outcome> {
        self.watch.start();
        let loaded = images.looks(ids, pipelines, at.epoch, self.classes())?;
        self.learn(&loaded, at)
    }

    /// Once for all students, or in the turn of each.
    fn learn(&mut self, loaded: &[Look], at: Position) -> Result<Outcome> {
        let mut outcome = match self.train.update {
            Update::Together => return self.turn(None, loaded, at),
            Update::InTurn => self.turn(Some(0), loaded, at)?,
        };
        for student in 1..self.students.len() {
            let turn = self.turn(Some(student), loaded, at)?;
            outcome.loss += turn.loss;
            outcome.terms.extend(turn.terms);
            outcome.gradient_norm = outcome.gradient_norm.hypot(turn.gradient_norm);
            outcome.split = turn.split;
        }
        Ok(outcome)
    }

    /// Moves one student and what its losses train, or all of them.
    fn turn(&mut self, turn: Option<usize>, loaded: &[Look], at: Position) -> Result<Outcome> {
        let images = loaded.first().map_or(0, |look| look.ids.len());
        let mut found = self.differentiate(turn, loaded, at)?;
        let (lr, gradient_norm) = self.update(turn, std::mem::take(&mut found.gradients), at)?;
        self.after(&found, at)?;
        self.watch.lap(Part::Update)?;
        let name = |i: usize| self.losses[i].name.clone();
        Ok(Outcome {
            images,
            correct: found.correct,
            loss: found.loss,
            terms: found.active.iter().zip(found.terms).map(|(i, term)| (name(*i), term)).collect(),
            weights: self.named(&found.weights),
            lr,
            gradient_norm,
            split: self.watch.split(),
        })
    }

    /// Moves what learns in a turn along these gradients; the learning rate, and the norm of the gradients before clipping.
    pub(in crate::run) fn update(
        &mut self,
        turn: Option<usize>,
        gradients: BTreeMap<String, Tensor>,
        at: Position,
    ) -> Result<(f64, f64)> {
        let on = self.student().context().backend();
        let mut all = self.gather()?;
        let factors = self.factors(&all, turn);
        let slot = |(name, gradient): (String, Tensor)| Ok((all.id(&name)?, gradient));
        let mut gradients = gradients.into_iter().map(slot).collect::<Result<Slots>>()?;
        // A student that only answered in this turn has zeros there, and is excluded from the update.
        gradients.retain(|slot| factors[slot.index()].is_some());
        let gradient_norm = clip_global_norm(on, &mut gradients, self.train.clip.unwrap_or(f64::INFINITY))?;
        if !gradient_norm.is_finite() {
            return Err(diverged(at, format!("the gradient norm is {gradient_norm}")));
        }
        let lr = self.train.learning_rate.value(at.time(), self.train.epochs as f64);
        let rates = Rates::new(lr, &factors);
        self.optimisers[turn.unwrap_or(0)].step_at(on, &mut all, &gradients, &rates)?;
        self.scatter(&all)?;
        if let (Some(ema), Some(decay), None | Some(0)) = (&mut self.ema, self.train.ema, turn) {
            let params = self.students[0].network.params();
            ema.update(on, params, warmed_up(decay, at))?;
            ema.hold(params, self.moves.frozen.iter().filter_map(|name| params.id(name).ok()))?;
        }
        Ok((lr, gradient_norm))
    }

    /// Lets the losses that were active remember the batch.
    pub(in crate::run) fn after(&mut self, found: &Found, at: Position) -> Result<()> {
        for (slot, i) in found.active.iter().enumerate() {
            let loss = &mut self.losses[*i].loss;
            found.stage.with(slot, at.time(), |step| loss.after(step))?;
        }
        Ok(())
    }

    /// Weights of the losses by their names.
    pub(in crate::run) fn named(&self, weights: &[f64]) -> BTreeMap<String, f64> {
        self.losses.iter().zip(weights).map(|(loss, weight)| (loss.name.clone(), *weight)).collect()
    }

    /// Forward through everything that is active in a turn (all of it if `None`), and back. Running statistics follow the batch;
    /// no parameter moves.
    pub(in crate::run) fn differentiate(
        &mut self,
        turn: Option<usize>,
        loaded: &[Look],
        at: Position,
    ) -> Result<Found> {
        let (time, total) = (at.time(), self.train.epochs as f64);
        let weights: Vec<f64> = self.losses.iter().map(|loss| loss.weight.value(time, total)).collect();
        let has_turn = |i: usize| turn.is_none_or(|student| self.losses[i].student == student);
        let active: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] != 0.0 && has_turn(*i)).collect();

        let views = views_of(&active.iter().map(|i| &self.losses[*i]).collect::<Vec<_>>());
        let looks = self.look(loaded, &views, at)?;
        self.watch.lap(Part::Data)?;
        let answers = self.ask_teachers(&active, &looks, at.epoch)?;
        self.watch.lap(Part::Teacher)?;
        let passes = self.ask_students(&active, &looks, &mut generator(self.seed, at, "dropout"))?;
        let stage = self.stage(&active, looks, &passes, &answers)?;

        let mut sum: Option<Tensor> = None;
        let (mut terms, mut loss) = (Vec::with_capacity(active.len()), 0.0);
        for (slot, i) in active.iter().enumerate() {
            let planned = &self.losses[*i];
            let value = stage.with(slot, time, |step| planned.loss.loss(step))?;
            let number = f64::from(value.to_scalar::<f32>()?);
            if !number.is_finite() {
                return Err(diverged(at, format!("loss `{}` is {number}", planned.name)));
            }
            terms.push(number);
            loss += weights[*i] * number;
            let weighted = (value * weights[*i])?;
            sum = Some(match sum {
                None => weighted,
                Some(sum) => (sum + weighted)?,
            });
        }
        self.watch.lap(Part::Forward)?;
        let (view, logits) = passes.exported()?;
        let store = sum.as_ref().map(Tensor::backward).transpose()?;
        let gradients = self.back(&active, store.as_ref(), passes)?;
        self.watch.lap(Part::Backward)?;
        let correct = right(&logits, &stage.labels(view)?)?;
        Ok(Found { active, weights, terms, loss, correct, gradients, stage })
    }
}

/// How many rows of logits are largest at their label.
fn right(logits: &Tensor, labels: &[u32]) -> Result<usize> {
    let rows = logits.to_vec2::<f32>()?;
    Ok(rows.iter().zip(labels).filter(|(row, label)| argmax(row) == **label as usize).count())
}

fn diverged(at: Position, what: String) -> Error {
    Error::Diverged { epoch: at.epoch, step: at.step + 1, what }
}

#[cfg(test)]
mod learning;
#[cfg(test)]
mod tests;
