//! How gradients become steps: whose turn it is, which parameters move and how fast, optimisers and the average of the weights.

use std::collections::BTreeMap;

use attar_exec::optim::{Ema, Optimiser, Rates, clip_global_norm};
use attar_exec::{Params, Slots};
use attar_formats::checkpoint;
use attar_models::Weights;
use candle_core::Tensor;

use crate::arrays::{to_tensors, to_weights};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::knots::Knots;
use crate::plan::{Id, Moves, StudentId};
use crate::recipe::{TrainSection, Update};
use crate::run::step::students::Students;
use crate::run::step::{Position, diverged};

/// Who moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::run) enum Turn {
    /// All students and what their losses train.
    Everybody,
    /// One student and what its losses train.
    Of(StudentId),
}

impl Turn {
    /// Whether a student moves.
    pub(in crate::run) fn moves(self, student: StudentId) -> bool {
        self == Self::Everybody || self == Self::Of(student)
    }

    /// Its optimiser.
    fn optimiser(self) -> usize {
        match self {
            Self::Everybody => 0,
            Self::Of(student) => student.index(),
        }
    }
}

/// Optimisers, averages, and what they act on.
pub(in crate::run) struct Updates {
    pub(in crate::run) learning_rate: Knots,
    /// Epochs of the whole run.
    epochs: f64,
    /// Largest global gradient norm.
    clip: Option<f64>,
    /// The turns of a step in their order.
    pub(in crate::run) turns: Vec<Turn>,
    /// One of each turn.
    optimisers: Vec<Box<dyn Optimiser>>,
    /// The average of the exported student's weights, and its decay.
    ema: Option<(Ema, f64)>,
    /// Which parameters stay, and how fast the others move.
    moves: Moves,
    /// In each turn, of all parameters the multiple of the learning rate at which they move; `None` for what keeps still.
    factors: BTreeMap<Turn, Vec<Option<f64>>>,
}

impl Updates {
    /// Before the first step. Tells the students which of their parameters stay as they are.
    pub(in crate::run) fn new(train: &TrainSection, students: &mut Students) -> Result<Self> {
        let turns = match train.update {
            Update::Together => vec![Turn::Everybody],
            Update::InTurn => students.networks.ids().map(Turn::Of).collect(),
        };
        let mut moves = Moves::default();
        let all = students.gather()?;
        if !(train.freeze.is_empty() && train.learning_rate_factors.is_empty()) {
            let names: Vec<String> = all.trained().map(|(name, ..)| name.to_owned()).collect();
            moves = Moves::find(train, &names)?;
            students.fix(|prefix| moves.frozen_under(prefix));
        }
        let of_turn = |turn: &Turn| {
            let factor = |((name, ..), owner): ((&str, &Tensor, _), &StudentId)| {
                let is_moving = turn.moves(*owner) && !moves.frozen.contains(name);
                is_moving.then(|| moves.factors.get(name).copied().unwrap_or(1.0))
            };
            (*turn, all.iter().zip(students.owners()).map(factor).collect())
        };
        Ok(Self {
            learning_rate: train.learning_rate.clone(),
            epochs: train.epochs as f64,
            clip: train.clip,
            optimisers: turns.iter().map(|_| Ok(train.optimiser.build()?)).collect::<Result<_>>()?,
            ema: train.ema.map(|decay| (Ema::new(students.learned()), decay)),
            factors: turns.iter().map(of_turn).collect(),
            turns,
            moves,
        })
    }

    /// The average of the exported student's weights, where one is kept.
    pub(in crate::run) fn averages(&self) -> Option<&Params> {
        self.ema.as_ref().map(|(ema, _)| ema.params())
    }

    /// Moves what learns in a turn along these gradients; the learning rate, and the norm of the gradients before clipping.
    pub(in crate::run) fn apply(
        &mut self,
        turn: Turn,
        mut gradients: Slots,
        students: &mut Students,
        at: Position,
    ) -> Result<(f64, f64)> {
        let on = students.exported().context().backend();
        let factors = self.factors.get(&turn).map_or(&[][..], Vec::as_slice);
        // Parameters of students that only answered in this turn have zero gradients, and are excluded from the update.
        gradients.retain(|slot| factors[slot.index()].is_some());
        let gradient_norm = clip_global_norm(on, &mut gradients, self.clip.unwrap_or(f64::INFINITY))?;
        if !gradient_norm.is_finite() {
            return Err(diverged(at, format!("the gradient norm is {gradient_norm}")));
        }
        let lr = self.learning_rate.value(at.time(), self.epochs);
        let mut all = students.gather()?;
        self.optimisers[turn.optimiser()].step_at(on, &mut all, &gradients, &Rates::new(lr, factors))?;
        students.scatter(&all)?;
        if let Some((ema, decay)) = self.ema.as_mut().filter(|_| turn.moves(StudentId::EXPORTED)) {
            let params = students.learned();
            ema.update(on, params, warmed_up(*decay, at))?;
            ema.hold(params, self.moves.frozen.iter().filter_map(|name| params.id(name).ok()))?;
        }
        Ok((lr, gradient_norm))
    }

    /// Optimisers for a checkpoint, and, where what leaves is another, the student itself.
    pub(in crate::run) fn pack(&self, students: &Students, into: &mut Weights) -> Result<()> {
        let mut add = |prefix: &str, weights: Weights| {
            into.0.extend(weights.0.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
        };
        if self.ema.is_some() || students.is_in_integers() {
            add(checkpoint::STUDENT, students.learned().to_weights()?);
        }
        if let Some(averages) = self.averages().filter(|_| students.is_in_integers()) {
            add(checkpoint::AVERAGE, averages.to_weights()?);
        }
        let all = students.gather()?;
        for (i, optimiser) in self.optimisers.iter().enumerate() {
            add(&checkpoint::optimiser(i), to_weights(optimiser.state(&all)?)?);
        }
        Ok(())
    }

    /// Goes back to a checkpoint; the parameters that the exported student learns by.
    pub(in crate::run) fn unpack(&mut self, students: &Students, checkpoint: &Checkpoint) -> Result<Params> {
        let (network, trainer) = (students.exported(), &checkpoint.trainer);
        let (device, in_integers) = (network.device(), students.is_in_integers());
        let fitted = |weights: &Weights| -> Result<Params> {
            if !in_integers {
                return Ok(Params::from_weights(network.graph(), weights, device)?);
            }
            let mut params = students.learned().clone();
            let lacking = params.iter().map(|(name, ..)| name).find(|name| weights.get(name).is_none());
            if let Some(name) = lacking {
                let problem = format!("the checkpoint lacks `{name}`, by which the student learns");
                return Err(candle_core::Error::Msg(problem).into());
            }
            for (name, tensor) in to_tensors(weights.clone(), device)? {
                params.set(&name, tensor)?;
            }
            Ok(params)
        };
        let own = || fitted(&trainer.under(checkpoint::STUDENT));
        let params = match (&mut self.ema, in_integers) {
            (None, false) => fitted(&checkpoint.model)?,
            (None, true) => own()?,
            (Some((ema, _)), _) => {
                let averages = match in_integers {
                    true => fitted(&trainer.under(checkpoint::AVERAGE))?,
                    false => fitted(&checkpoint.model)?,
                };
                ema.load(averages.iter().map(|(name, tensor, _)| (name.to_owned(), tensor.clone())).collect())?;
                own()?
            }
        };
        let all = students.gather()?;
        for (i, optimiser) in self.optimisers.iter_mut().enumerate() {
            let state = to_tensors(trainer.under(&checkpoint::optimiser(i)), device)?;
            optimiser.load(&all, state)?;
        }
        Ok(params)
    }
}

/// The decay of the average at a step: young averages forget faster, or the initial weights would stay in them for long.
fn warmed_up(decay: f64, at: Position) -> f64 {
    let n = at.steps_before() as f64 + 1.0;
    decay.min((1.0 + n) / (10.0 + n))
}
