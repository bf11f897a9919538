//! Everything that a step of training changes: student, connectors, losses, teachers, optimiser, average.

use std::collections::BTreeMap;

use attar_exec::Network;
use attar_exec::Params;
use attar_exec::Precision;
use attar_exec::optim::{Ema, Optimiser};
use attar_formats::checkpoint;
use attar_models::{Graph, NodeId, Role, Weights};
use attar_pixels::Preprocessing;
use candle_core::{Device, Tensor};

use crate::arrays::{to_tensors, to_weights};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::plan::{Moves, PlannedLoss, PlannedTeacher, PlannedView, Sight, Source, prefix};
use crate::recipe::{TrainSection, Update};
use crate::run::step::split::Stopwatch;
use crate::teacher::{Question, Teacher};

/// The state of training that steps change.
pub(in crate::run) struct Learner {
    pub(in crate::run) device: Device,
    /// The student that is exported, then the peers.
    pub(in crate::run) students: Vec<Student>,
    /// By the prefix of their parameters.
    pub(in crate::run) connectors: BTreeMap<String, Network>,
    /// What losses train themselves, under full names.
    pub(in crate::run) own: Params,
    pub(in crate::run) losses: Vec<PlannedLoss>,
    pub(in crate::run) views: Vec<PlannedView>,
    /// What made pixels into input.
    pub(in crate::run) preprocessing: Preprocessing,
    pub(in crate::run) teachers: Vec<RunningTeacher>,
    /// One of each turn of a step.
    pub(in crate::run) optimisers: Vec<Box<dyn Optimiser>>,
    pub(in crate::run) ema: Option<Ema>,
    pub(in crate::run) train: TrainSection,
    /// Which parameters move, and how fast.
    pub(in crate::run) moves: Moves,
    pub(in crate::run) seed: u64,
    pub(in crate::run) watch: Stopwatch,
}

/// What a learner is put together from.
pub(in crate::run) struct Parts {
    /// The student that is exported first.
    pub(in crate::run) students: Vec<Student>,
    pub(in crate::run) losses: Vec<PlannedLoss>,
    pub(in crate::run) teachers: Vec<PlannedTeacher>,
    pub(in crate::run) views: Vec<PlannedView>,
    pub(in crate::run) preprocessing: Preprocessing,
}

impl Parts {
    /// One student and its losses; teachers may be added to the learner.
    pub(in crate::run) fn plain(student: Network, losses: Vec<PlannedLoss>, preprocessing: Preprocessing) -> Self {
        let students = vec![Student::exported(student)];
        Self { students, losses, teachers: Vec::new(), views: Vec::new(), preprocessing }
    }
}

/// A network that learns.
pub(in crate::run) struct Student {
    /// Of its parameters: nothing for the one that is exported, `peers.<name>.` for a peer.
    pub(in crate::run) prefix: String,
    pub(in crate::run) network: Network,
}

impl Student {
    /// The student that is exported.
    pub(in crate::run) fn exported(network: Network) -> Self {
        Self { prefix: String::new(), network }
    }

    /// A peer with fresh parameters of its own, other than those of the student.
    pub(in crate::run) fn peer(name: &str, graph: Graph, seed: u64, device: &Device) -> Result<Self> {
        let prefix = checkpoint::peer(name);
        let params = Params::init(&graph, seed, &prefix, device)?;
        Ok(Self { network: Network::new(graph, params, device)?, prefix })
    }
}

/// A teacher at work.
pub(in crate::run) struct RunningTeacher {
    pub(in crate::run) name: String,
    pub(in crate::run) teacher: Box<dyn Teacher>,
    pub(in crate::run) sight: Sight,
    /// By what it can be judged; nothing where its logits are of other classes than the data's.
    pub(in crate::run) worth: Option<Worth>,
}

/// By what a teacher can be judged.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::run) struct Worth {
    /// Its own preprocessing.
    pub(in crate::run) preprocessing: Preprocessing,
    /// An accuracy of its card in percent, with its name.
    pub(in crate::run) stated: Option<(&'static str, f64)>,
    /// Least accuracy, a share.
    pub(in crate::run) at_least: Option<f64>,
}

impl Worth {
    fn of(teacher: &PlannedTeacher) -> Option<Self> {
        let stated = |name: &'static str| teacher.stated.get(name).map(|value| (name, *value));
        teacher.logits.is_ok().then(|| Self {
            preprocessing: teacher.preprocessing.clone(),
            stated: stated("test_top1").or_else(|| stated("val_top1")),
            at_least: teacher.at_least,
        })
    }
}

impl RunningTeacher {
    /// A network that sees the student's batches and is not judged.
    pub(in crate::run) fn plain(name: impl Into<String>, teacher: Box<dyn Teacher>) -> Self {
        Self { name: name.into(), teacher, sight: Sight::Same, worth: None }
    }

    /// Answers to a batch as its sight has it loaded: the student's, or its own.
    pub(in crate::run) fn outputs(&mut self, question: &Question<'_>, taps: &[NodeId]) -> Result<attar_exec::Outputs> {
        let pixels = self.sight.apply(question.pixels)?;
        self.teacher.outputs(&Question { pixels: &pixels, ..*question }, taps)
    }

    /// Gradient of something of its logits in the pixels as the student sees them, up to a positive factor a channel.
    pub(in crate::run) fn input_gradient(
        &mut self,
        input: &Tensor,
        slope: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.teacher.input_gradient(&self.sight.apply(input)?, slope)
    }
}

impl Learner {
    /// Everything at its start: students as given, fresh connectors and parameters of losses.
    pub(in crate::run) fn new(train: &TrainSection, seed: u64, parts: Parts) -> Result<Self> {
        let Parts { mut students, losses, teachers, views, preprocessing } = parts;
        students.iter_mut().for_each(|student| student.network.set_precision(train.precision));
        let Some(student) = students.first() else {
            return Err(candle_core::Error::Msg("a learner without a student".to_owned()).into());
        };
        let context = student.network.context().clone();
        let device = context.device().clone();
        let mut connectors = BTreeMap::new();
        let mut own = Params::default();
        for loss in &losses {
            for connector in loss.taps.student.iter().filter_map(|tap| tap.connector.as_ref()) {
                let prefix = prefix(&loss.name, &connector.name);
                let params = Params::init(&connector.graph, seed, &prefix, &device)?;
                connectors.insert(prefix, Network::new(connector.graph.clone(), params, &context)?);
            }
            own.merge("", Params::loose(&checkpoint::loss(&loss.name), &loss.params, seed, &device)?)?;
        }
        let mut running = Vec::with_capacity(teachers.len());
        for (i, teacher) in teachers.into_iter().enumerate() {
            let (name, sight, worth) = (teacher.name.clone(), teacher.sight.clone(), Worth::of(&teacher));
            let teacher = teacher.start(&taps_of(&losses, Source::Teacher(i)), &context)?;
            running.push(RunningTeacher { name, teacher, sight, worth });
        }
        let mut learner = Self {
            optimisers: (0..turns(train, students.len()))
                .map(|_| train.optimiser.build())
                .collect::<attar_exec::Result<_>>()?,
            ema: train.ema.map(|_| Ema::new(student.network.params())),
            device,
            students,
            connectors,
            own,
            losses,
            views,
            preprocessing,
            teachers: running,
            train: train.clone(),
            moves: Moves::default(),
            seed,
            watch: Stopwatch::new(),
        };
        learner.settle_moves()?;
        Ok(learner)
    }

    /// The student that is exported.
    pub(in crate::run) fn student(&self) -> &Network {
        &self.students[0].network // `new` refuses to be without
    }

    /// What the student tells apart.
    pub(in crate::run) fn classes(&self) -> usize {
        self.student().graph().output_shape().iter().product()
    }

    /// Everything that learns, under full names; tensors are shared, not copied.
    pub(in crate::run) fn gather(&self) -> Result<Params> {
        let mut all = self.own.clone();
        for student in &self.students {
            all.merge(&student.prefix, student.network.params().clone())?;
        }
        for (prefix, network) in &self.connectors {
            all.merge(prefix, network.params().clone())?;
        }
        Ok(all)
    }

    /// Of each tensor of what [`Learner::gather`] collected, the multiple of the learning rate at which it moves in the turn of a
    /// student: itself, and what its losses train. All of it if everybody moves at once; `None` for what keeps still.
    pub(in crate::run) fn factors(&self, all: &Params, turn: Option<usize>) -> Vec<Option<f64>> {
        let peer = |name: &str| (1..self.students.len()).find(|i| name.starts_with(&self.students[*i].prefix));
        let of_loss = |name: &str| self.losses.iter().find(|loss| name.starts_with(&checkpoint::loss(&loss.name)));
        let student = |name: &str| of_loss(name).map_or_else(|| peer(name).unwrap_or(0), |loss| loss.student);
        let factor = |(name, ..): (&str, &Tensor, Role)| {
            let moves = turn.is_none_or(|turn| student(name) == turn) && !self.moves.frozen.contains(name);
            moves.then(|| self.moves.factors.get(name).copied().unwrap_or(1.0))
        };
        all.iter().map(factor).collect()
    }

    /// Puts what [`Learner::gather`] collected back.
    pub(in crate::run) fn scatter(&mut self, all: &Params) -> Result<()> {
        for Student { prefix, network } in &mut self.students {
            put(network, prefix, all)?;
        }
        self.connectors.iter_mut().try_for_each(|(prefix, network)| put(network, prefix, all))?;
        let names: Vec<String> = self.own.iter().map(|(name, ..)| name.to_owned()).collect();
        Ok(names.iter().try_for_each(|name| self.own.set(name, all.get(name)?.clone()))?)
    }

    /// The student as it is evaluated: in `f32`, as it will be exported, and averaged where an average is kept.
    pub(in crate::run) fn evaluated(&self) -> Result<Network> {
        let mut network = self.student().clone();
        network.set_precision(Precision::F32);
        if let Some(ema) = &self.ema {
            put(&mut network, "", ema.params())?;
        }
        Ok(network)
    }

    /// Model and trainer for a checkpoint.
    pub(in crate::run) fn pack(&self) -> Result<(Weights, Weights)> {
        let model = self.evaluated()?.params().to_weights()?;
        let mut trainer = Weights::default();
        let mut add = |prefix: &str, weights: Weights| {
            trainer.0.extend(weights.0.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
        };
        if self.ema.is_some() {
            add(checkpoint::STUDENT, self.student().params().to_weights()?);
        }
        for peer in &self.students[1..] {
            add(&peer.prefix, peer.network.params().to_weights()?);
        }
        add("", self.own.to_weights()?);
        for loss in &self.losses {
            add(&checkpoint::loss_state(&loss.name), to_weights(loss.loss.state()?)?);
        }
        for (prefix, network) in &self.connectors {
            add(prefix, network.params().to_weights()?);
        }
        let all = self.gather()?;
        for (i, optimiser) in self.optimisers.iter().enumerate() {
            add(&checkpoint::optimiser(i), to_weights(optimiser.state(&all)?)?);
        }
        Ok((model, trainer))
    }

    /// Goes back to a checkpoint.
    pub(in crate::run) fn unpack(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let graph = self.student().graph().clone();
        let model = Params::from_weights(&graph, &checkpoint.model, &self.device)?;
        match &mut self.ema {
            None => put(&mut self.students[0].network, "", &model)?,
            Some(ema) => {
                ema.load(model.iter().map(|(name, tensor, _)| (name.to_owned(), tensor.clone())).collect())?;
                let own = Params::from_weights(&graph, &checkpoint.trainer.under(checkpoint::STUDENT), &self.device)?;
                put(&mut self.students[0].network, "", &own)?;
            }
        }
        for Student { prefix, network } in &mut self.students[1..] {
            let own = Params::from_weights(network.graph(), &checkpoint.trainer.under(prefix), &self.device)?;
            put(network, "", &own)?;
        }
        let names: Vec<String> = self.own.iter().map(|(name, ..)| name.to_owned()).collect();
        for name in names {
            let Some(array) = checkpoint.trainer.get(&name) else {
                let problem = format!("the checkpoint lacks `{name}`, which a loss trains");
                return Err(candle_core::Error::Msg(problem).into());
            };
            self.own.set(&name, Tensor::from_slice(array.f32()?, array.shape.as_slice(), &self.device)?)?;
        }
        for loss in &mut self.losses {
            let state = to_tensors(checkpoint.trainer.under(&checkpoint::loss_state(&loss.name)), &self.device)?;
            loss.loss.load(state)?;
        }
        for (prefix, network) in &mut self.connectors {
            let weights = checkpoint.trainer.under(prefix);
            let own = Params::from_weights(&network.graph().clone(), &weights, &self.device)?;
            put(network, "", &own)?;
        }
        let all = self.gather()?;
        for (i, optimiser) in self.optimisers.iter_mut().enumerate() {
            let state = to_tensors(checkpoint.trainer.under(&checkpoint::optimiser(i)), &self.device)?;
            optimiser.load(&all, state)?;
        }
        Ok(())
    }

    /// Fails if a parameter or buffer is not finite.
    pub(in crate::run) fn check_finite(&self, epoch: usize, step: usize) -> Result<()> {
        for (name, tensor, _) in self.gather()?.iter() {
            // NaN and infinities survive a sum of absolute values, unlike a maximum.
            let sum = tensor.abs()?.sum_all()?.to_scalar::<f32>()?;
            if !sum.is_finite() {
                return Err(Error::Diverged { epoch, step, what: format!("`{name}` is not finite") });
            }
        }
        Ok(())
    }
}

/// Turns of a step: one for all students, or one for each.
fn turns(train: &TrainSection, students: usize) -> usize {
    match train.update {
        Update::Together => 1,
        Update::InTurn => students,
    }
}

/// The nodes of a teacher, or of a student that teaches, that losses read, each once.
pub(in crate::run) fn taps_of<'a>(losses: impl IntoIterator<Item = &'a PlannedLoss>, of: Source) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = Vec::new();
    for loss in losses {
        let own = loss.taps.teachers.iter().zip(&loss.teachers).filter(|(_, source)| **source == of);
        nodes.extend(own.flat_map(|(taps, _)| taps));
    }
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Sets the parameters of `network` to those of `all` under `prefix`.
fn put(network: &mut Network, prefix: &str, all: &Params) -> Result<()> {
    let params = network.params_mut();
    let names: Vec<String> = params.iter().map(|(name, ..)| name.to_owned()).collect();
    Ok(names.iter().try_for_each(|name| params.set(name, all.get(&format!("{prefix}{name}"))?.clone()))?)
}
