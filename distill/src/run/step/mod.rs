//! One step of training: views, teachers, students, connectors, losses; then gradients back the same way, and the update.
//!
//! Candle differentiates the losses only: student logits and taps enter them as variables, and the executor carries the
//! gradients of these to the parameters.

mod accumulate;
mod objective;
pub(in crate::run) mod split;
pub(in crate::run) mod student;
pub(in crate::run) mod students;
pub(in crate::run) mod teachers;
mod updates;
pub(in crate::run) mod views;

use std::collections::BTreeMap;

use attar_data::{Batch, Pipeline};
use attar_exec::{Network, Slots};
use attar_models::Weights;
use attar_pixels::Preprocessing;
use candle_core::{Device, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::plan::{Connectors, LossId, PlannedLoss, PlannedView, Table, ViewId};
use crate::recipe::TrainSection;
use crate::run::feed::batch::ViewBatch;
use crate::run::feed::resident::ResidentImages;
use attar_measures::argmax;

use objective::{LossInputs, Objective};
use split::{Part, Split, Stopwatch};
use student::Student;
use students::Students;
use teachers::Teachers;
use updates::{Turn, Updates};
use views::{Loaded, Views, generator};

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
    /// Weight of every loss, active or not.
    pub(in crate::run) weights: Table<LossId, f64>,
    /// Unweighted values of the active losses.
    pub(in crate::run) terms: Vec<(LossId, f64)>,
    /// Weighted total.
    pub(in crate::run) loss: f64,
    /// Images that the student got right.
    pub(in crate::run) correct: usize,
    /// By slot in what [`Students::gather`] collects.
    pub(in crate::run) gradients: Slots,
    inputs: LossInputs,
}

/// The state of training that steps change.
pub(in crate::run) struct Learner {
    pub(in crate::run) device: Device,
    pub(in crate::run) students: Students,
    pub(in crate::run) teachers: Teachers,
    pub(in crate::run) views: Views,
    pub(in crate::run) objective: Objective,
    pub(in crate::run) updates: Updates,
    seed: u64,
    pub(in crate::run) watch: Stopwatch,
}

/// What a learner is put together from.
pub(in crate::run) struct Parts {
    /// The student that is exported.
    pub(in crate::run) student: Student,
    pub(in crate::run) peers: Vec<Student>,
    pub(in crate::run) losses: Table<LossId, PlannedLoss>,
    pub(in crate::run) teachers: Teachers,
    pub(in crate::run) views: Table<ViewId, PlannedView>,
    /// What made pixels into input.
    pub(in crate::run) preprocessing: Preprocessing,
}

impl Parts {
    /// One student, its teachers and its losses, in the plain view.
    pub(in crate::run) fn plain(
        student: Network,
        teachers: Teachers,
        losses: Table<LossId, PlannedLoss>,
        preprocessing: Preprocessing,
    ) -> Self {
        let (student, views) = (Student::exported(student), Table::from_iter([PlannedView::clean()]));
        Self { student, peers: Vec::new(), losses, teachers, views, preprocessing }
    }
}

impl Learner {
    /// Everything at its start: students and teachers as given, fresh connectors and parameters of losses.
    pub(in crate::run) fn new(train: &TrainSection, seed: u64, parts: Parts) -> Result<Self> {
        let Parts { student, peers, losses, teachers, views, preprocessing } = parts;
        let device = student.network.device().clone();
        let Connectors { table, behind } = Connectors::of(&losses);
        let mut students = Students::new(student, peers, table, &losses, (seed, train.precision))?;
        let views = Views::new(views, &teachers, &losses, preprocessing, (seed, &device));
        Ok(Self {
            updates: Updates::new(train, &mut students)?,
            objective: Objective::new(losses, behind, views.names(), train.epochs),
            students,
            teachers,
            views,
            seed,
            watch: Stopwatch::new(),
            device,
        })
    }

    /// The student that is exported.
    pub(in crate::run) fn student(&self) -> &Network {
        self.students.exported()
    }

    /// What the student tells apart.
    pub(in crate::run) fn classes(&self) -> usize {
        self.student().graph().output_shape().iter().product()
    }

    /// The student as it is evaluated: in `f32`, as it will be exported, and averaged where an average is kept.
    pub(in crate::run) fn evaluated(&self) -> Result<Network> {
        self.students.evaluated(self.updates.averages())
    }

    /// Model and trainer for a checkpoint.
    pub(in crate::run) fn pack(&self) -> Result<(Weights, Weights)> {
        let mut trainer = Weights::default();
        self.students.pack(&mut trainer)?;
        self.objective.pack(&mut trainer)?;
        self.updates.pack(&self.students, &mut trainer)?;
        Ok((self.evaluated()?.params().to_weights()?, trainer))
    }

    /// Goes back to a checkpoint.
    pub(in crate::run) fn unpack(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let exported = self.updates.unpack(&self.students, checkpoint)?;
        self.students.unpack(&exported, checkpoint)?;
        self.objective.unpack(checkpoint, &self.device)
    }

    /// Fails if a parameter or buffer is not finite.
    pub(in crate::run) fn check_finite(&self, epoch: usize, step: usize) -> Result<()> {
        for (name, tensor, _) in self.students.gather()?.iter() {
            // NaN and infinities survive a sum of absolute values, unlike a maximum.
            let sum = tensor.abs()?.sum_all()?.to_scalar::<f32>()?;
            if !sum.is_finite() {
                return Err(Error::Diverged { epoch, step, what: format!("`{name}` is not finite") });
            }
        }
        Ok(())
    }

    /// Takes one step with the batches of [`Views::pipelines`], as the loaders made them.
    pub(in crate::run) fn step(&mut self, batches: &[Batch], at: Position) -> Result<Outcome> {
        self.watch.start();
        let loaded = self.loaded_from(batches)?;
        self.learn(&loaded, at)
    }

    /// Batches of [`Views::pipelines`] on the device.
    pub(in crate::run) fn loaded_from(&self, batches: &[Batch]) -> Result<Loaded> {
        let load = |batch| ViewBatch::loaded(batch, self.classes(), &self.device);
        self.views.group(batches.iter().map(load).collect::<Result<_>>()?)
    }

    /// The images `ids` that live on the device, as [`Views::pipelines`] make them.
    pub(in crate::run) fn loaded_on(
        &self,
        images: &ResidentImages,
        ids: &[u32],
        pipelines: &[(Pipeline, u64)],
        epoch: usize,
    ) -> Result<Loaded> {
        self.views.group(images.batches(ids, pipelines, epoch, self.classes())?)
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
        let loaded = self.loaded_on(images, ids, pipelines, at.epoch)?;
        self.learn(&loaded, at)
    }

    /// Once for all students, or in the turn of each.
    fn learn(&mut self, loaded: &Loaded, at: Position) -> Result<Outcome> {
        let mut all: Option<Outcome> = None;
        for turn in self.updates.turns.clone() {
            let own = self.turn(turn, loaded, at)?;
            all = Some(match all {
                None => own,
                Some(mut outcome) => {
                    outcome.loss += own.loss;
                    outcome.terms.extend(own.terms);
                    outcome.gradient_norm = outcome.gradient_norm.hypot(own.gradient_norm);
                    outcome.split = own.split;
                    outcome
                }
            });
        }
        Ok(all.unwrap_or_default())
    }

    /// Moves one student and what its losses train, or all of them.
    fn turn(&mut self, turn: Turn, loaded: &Loaded, at: Position) -> Result<Outcome> {
        let mut found = self.differentiate(turn, loaded, at)?;
        let gradients = std::mem::take(&mut found.gradients);
        let (lr, gradient_norm) = self.updates.apply(turn, gradients, &mut self.students, at)?;
        self.objective.after(&found.inputs, at)?;
        self.watch.lap(Part::Update)?;
        Ok(Outcome {
            images: loaded.len(),
            correct: found.correct,
            loss: found.loss,
            terms: found.terms.iter().map(|(id, term)| (self.name(*id), *term)).collect(),
            weights: self.objective.named(&found.weights),
            lr,
            gradient_norm,
            split: self.watch.split(),
        })
    }

    /// Name of a loss.
    fn name(&self, id: LossId) -> String {
        self.objective.losses[id].name.clone()
    }

    /// Forward through everything that is active in a turn, and back. Running statistics follow the batch; no parameter moves.
    pub(in crate::run) fn differentiate(&mut self, turn: Turn, loaded: &Loaded, at: Position) -> Result<Found> {
        let Self { students, teachers, views, objective, watch, .. } = self;
        let weights = objective.weights(at);
        let wiring = objective.wiring(&weights, turn);
        let made = views.make(loaded, &wiring.views, students, teachers, at)?;
        watch.lap(Part::Data)?;
        let answers = teachers.ask(&wiring, &made, at.epoch)?;
        watch.lap(Part::Teacher)?;
        let passes = students.forward(&wiring, &made, &objective.losses, &mut generator(self.seed, at, "dropout"))?;
        let inputs = objective.inputs(&wiring, made, &passes, &answers);
        let value = objective.value(&inputs, &weights, at)?;
        watch.lap(Part::Forward)?;
        let (view, logits) = passes.answer(wiring.judged);
        let store = value.sum.as_ref().map(Tensor::backward).transpose()?;
        let gradients = students.backward(store.as_ref(), passes, &objective.losses)?;
        watch.lap(Part::Backward)?;
        let correct = right(&logits, &inputs.labels(view)?)?;
        Ok(Found { weights, terms: value.terms, loss: value.loss, correct, gradients, inputs })
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
