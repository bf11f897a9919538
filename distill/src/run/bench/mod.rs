//! The speed of training: the very step that a run takes, on batches that are there already.
//!
//! Weights and batches come from the documented generators, so that another program can take the same steps from the same
//! place; [`Trainer::start`] hands them over, `attar bench-train --save` writes them down.

mod batches;
mod subject;

use std::time::{Duration, Instant};

use attar_data::Batch;
use attar_exec::optim::OptimiserSpec;
use attar_exec::profile::Profile;
use attar_exec::{Network, Params, Precision};
use attar_models::{Graph, Outline, Weights, generated};
use attar_pixels::Preprocessing;
use candle_core::Device;
use rayon::ThreadPool;

use super::begin::pool;
use super::step::Position;
use super::step::split::{Split, Stopwatch};
use super::step::students::Connector;
use super::step::teachers::{RunningTeacher, Teachers};
use super::step::{Learner, Parts};
use crate::error::{Error, Result};
use crate::losses::LossSpec;
use crate::losses::channel::ChannelSpec;
use crate::losses::cross_entropy::CrossEntropySpec;
use crate::losses::kd::KdSpec;
use crate::losses::logits::Wrong;
use crate::plan::{LossId, Participants, PlannedLoss, Table, available_threads, taps_of};
use crate::recipe::{LossSection, OnDivergence, TeacherNorm, TrainSection, Update};
use crate::teacher::ZooTeacher;

pub use batches::{bytes, generate, save};
pub use subject::Subject;

/// Seed of weights, batches and labels.
const SEED: u64 = 1;

/// Prefixes under which [`Trainer::start`] names the weights of student and teacher. Connectors have their own,
/// `losses.<loss>.<connector>.`.
pub const STUDENT: &str = "student.";
/// See [`STUDENT`].
pub const TEACHER: &str = "teacher.";

/// What to time: networks, batch, arithmetic. The optimiser is SGD with momentum 0.9 (Nesterov) and weight decay 5e-4 at
/// a fixed learning rate; the loss is cross-entropy, and with a teacher CE + 6 CD + 0.1 GKD (temperature 1), as the authors
/// of channel distillation weigh them once all three are on.
#[derive(Debug, Clone)]
pub struct Case {
    /// The network that learns.
    pub student: Subject,
    /// The network that it learns from: running statistics, folded.
    pub teacher: Option<Subject>,
    /// Images in a step.
    pub batch: usize,
    /// Learning rate of every step.
    pub learning_rate: f64,
    /// Where to compute.
    pub device: Device,
    /// How exactly to compute.
    pub precision: Precision,
    /// Threads to compute with; all of them if `None`.
    pub threads: Option<usize>,
}

/// Many steps.
#[derive(Debug, Clone)]
pub struct Round {
    /// From the first step's beginning to the last one's end.
    pub time: Duration,
    /// Where it went, all steps together.
    pub split: Split,
    /// Weighted total loss of each step, before its update.
    pub losses: Vec<f64>,
}

/// A student under training, without data set, schedule, evaluation or checkpoints.
pub struct Trainer {
    learner: Learner,
    teacher: Option<Weights>,
    batches: Vec<Batch>,
    pool: ThreadPool,
    done: usize,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("done", &self.done).finish_non_exhaustive()
    }
}

impl Trainer {
    /// Builds student, connectors and teacher. The steps walk through `batches` in their order, again and again. Everything
    /// starts from `init`, named as by [`Trainer::start`]; without it from the weights that networks came with, and where there
    /// are none, student and connectors start as a recipe without `init` would have them, and the teacher's are [`generated`].
    ///
    /// # Errors
    /// Networks that do not pair, weights that do not fit, no batch, a precision that the device does not have.
    pub fn new(case: Case, batches: Vec<Batch>, init: Option<&Weights>) -> Result<Self> {
        case.precision.check(&case.device)?;
        let train = train(&case);
        let channels = case.student.input()[0];
        check_pair(&case)?;
        if batches.is_empty() {
            return Err(fail("batches", "none, expected at least 1"));
        }
        let threads = case.threads.unwrap_or_else(available_threads);
        let pool = pool(threads)?;
        let Subject { graph: student, weights: own, .. } = case.student;
        let (teacher, taught) = case.teacher.map(|teacher| (teacher.graph, teacher.weights)).unzip();
        let params = match init.map(|init| init.under(STUDENT)).or(own) {
            Some(weights) => Params::from_weights(&student, &weights, &case.device)?,
            None => Params::init(&student, SEED, "", &case.device)?,
        };
        let (participants, losses) = losses(&student, teacher.as_ref())?;
        let mut network = Network::new(student, params, &case.device)?;
        network.set_precision(case.precision);
        let preprocessing = Preprocessing::normalise(vec![0.0; channels], vec![1.0; channels]);
        let taught = init.map(|init| init.under(TEACHER)).or(taught.flatten());
        let teacher_weights = teacher.as_ref().map(|graph| taught.unwrap_or_else(|| generated::weights(graph, SEED)));
        let mut teachers = Teachers::default();
        if let (Some(graph), Some(weights), Some(id)) = (&teacher, &teacher_weights, participants.teachers.ids().next())
        {
            let (taps, norm) = (taps_of(&losses, id), TeacherNorm::Running);
            let zoo = ZooTeacher::new(graph, weights, norm, &taps, network.context())?;
            teachers.0.push(RunningTeacher::plain("teacher", Box::new(zoo)));
        }
        let mut learner = Learner::new(&train, SEED, Parts::plain(network, teachers, losses, preprocessing))?;
        if let Some(init) = init {
            for Connector { prefix, network } in learner.students.connectors.rows_mut() {
                *network = Network::from_weights(network.graph().clone(), &init.under(prefix), network.context())?;
            }
        }
        Ok(Self { learner, teacher: teacher_weights, batches, pool, done: 0 })
    }

    /// Weights and buffers as they are now: the student's and the teacher's under [`STUDENT`] and [`TEACHER`], the
    /// connectors' under `losses.cd.<stage>.`.
    ///
    /// # Errors
    /// A device that failed.
    pub fn start(&self) -> Result<Weights> {
        let mut all = Weights::default();
        let mut add = |prefix: &str, weights: Weights| {
            all.0.extend(weights.0.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
        };
        add(STUDENT, self.learner.student().params().to_weights()?);
        add(TEACHER, self.teacher.clone().unwrap_or_default());
        for Connector { prefix, network } in self.learner.students.connectors.rows() {
            add(prefix, network.params().to_weights()?);
        }
        Ok(all)
    }

    /// The batches that steps walk through.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Threads it computes with.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Waits for the device after each part of a step from now on. Without it, the parts of a [`Split`] on a device that
    /// works asynchronously say when work was asked for, not when it was done.
    pub fn wait_for_parts(&mut self) {
        self.learner.watch = Stopwatch::waiting(&self.learner.device);
    }

    /// Takes this many steps.
    ///
    /// # Errors
    /// A loss that is not finite, or a device that failed.
    pub fn round(&mut self, steps: usize) -> Result<Round> {
        let Self { learner, batches, pool, done, .. } = self;
        pool.install(|| take(learner, batches, done, steps))
    }

    /// As [`Trainer::round`], and what each kind of operation took in it; slower, for every operation is waited for.
    ///
    /// # Errors
    /// As [`Trainer::round`].
    pub fn profile(&mut self, steps: usize) -> Result<(Round, Profile)> {
        let Self { learner, batches, pool, done, .. } = self;
        let profiler = learner.student().context().profiler().clone();
        let (round, profile) = profiler.watch(|| pool.install(|| take(learner, batches, done, steps)));
        Ok((round?, profile))
    }
}

/// Takes steps through the batches.
fn take(learner: &mut Learner, batches: &[Batch], done: &mut usize, steps: usize) -> Result<Round> {
    let begun = Instant::now();
    let mut split = Split::default();
    let mut losses = Vec::with_capacity(steps);
    for _ in 0..steps {
        let at = Position { epoch: 1, step: *done, part: 0, steps_per_epoch: usize::MAX };
        let outcome = learner.step(std::slice::from_ref(&batches[*done % batches.len()]), at)?;
        split += outcome.split;
        losses.push(outcome.loss);
        *done += 1;
    }
    learner.device.synchronize()?;
    Ok(Round { time: begun.elapsed(), split, losses })
}

/// Whether both networks look at the same images and tell the same number of classes apart.
fn check_pair(case: &Case) -> Result<()> {
    let facts = |subject: &Subject| (subject.input(), subject.classes());
    let found = case.teacher.as_ref().map(facts);
    match found.filter(|found| *found != facts(&case.student)) {
        Some(([c, h, w], classes)) => {
            let ([sc, sh, sw], known) = facts(&case.student);
            let problem =
                format!("{c}x{h}x{w} to {classes} classes, expected what the student has: {sc}x{sh}x{sw} to {known}");
            Err(fail("teacher", &problem))
        }
        None => Ok(()),
    }
}

fn fail(key: &str, problem: &str) -> Error {
    Error::Recipe { key: key.to_owned(), problem: problem.to_owned() }
}

/// The `[train]` section of a run like this.
fn train(case: &Case) -> TrainSection {
    TrainSection {
        epochs: 1,
        batch: case.batch,
        accumulate: None,
        learning_rate: case.learning_rate.into(),
        optimiser: OptimiserSpec::Sgd {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            no_decay_norm_and_bias: false,
        },
        learning_rate_factors: Vec::new(),
        freeze: Vec::new(),
        update: Update::Together,
        clip: None,
        ema: None,
        precision: case.precision,
        threads: case.threads,
        eval_every: 1,
        patience: None,
        checkpoint_every_steps: None,
        on_divergence: OnDivergence::Stop,
        report_best_on_test: false,
    }
}

/// CE; with a teacher CD and GKD too, called `ce`, `cd` and `gkd`.
fn losses(student: &Graph, teacher: Option<&Graph>) -> Result<(Participants, Table<LossId, PlannedLoss>)> {
    let gkd = KdSpec { wrong: Wrong::Drop, ..KdSpec::at(1.0) };
    let mut specs = vec![("ce", 1.0, LossSpec::CrossEntropy(CrossEntropySpec::default()))];
    if teacher.is_some() {
        specs.push(("cd", 6.0, LossSpec::Channel(ChannelSpec::default())));
        specs.push(("gkd", 0.1, LossSpec::Kd(gkd)));
    }
    let section = |(name, weight, loss): (&str, f64, LossSpec)| LossSection {
        name: name.to_owned(),
        weight: weight.into(),
        student: None,
        teacher: None,
        view: None,
        loss,
    };
    let teachers: Vec<Outline> = teacher.map(Outline::from).into_iter().collect();
    let participants = Participants::plain(student, &teachers, 1, SEED);
    let losses = specs.into_iter().map(|spec| participants.fit(&section(spec))).collect::<Result<_>>()?;
    Ok((participants, losses))
}

#[cfg(test)]
mod tests;
