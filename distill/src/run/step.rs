//! One step of training: teachers, student, connectors, losses; then gradients back the same way, and the update.
//!
//! Candle differentiates the losses only: student logits and taps enter them as variables, and the executor carries the
//! gradients of these to the parameters.

use std::collections::BTreeMap;

use attar_data::Batch;
use attar_models::NodeId;
use candle_core::{Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::evaluate::{argmax, input};
use super::learner::Learner;
use super::split::{Part, Split};
use crate::error::{Error, Result};
use crate::losses::{Step, View};
use crate::network::{Outputs, Tape};
use crate::optim::clip_global_norm;
use crate::plan::prefix;

/// Where in the run a step is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// Epoch, from 1.
    pub(super) epoch: usize,
    /// Step in the epoch, from 0.
    pub(super) step: usize,
    /// Steps in an epoch.
    pub(super) steps_per_epoch: usize,
}

impl Position {
    /// Fractional epoch, from 1.
    pub(super) fn time(&self) -> f64 {
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
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) images: usize,
    /// Images that the student got right before the update.
    pub(super) correct: usize,
    /// Weighted total loss.
    pub(super) loss: f64,
    /// Unweighted value of each active loss.
    pub(super) terms: BTreeMap<String, f64>,
    /// Weight of every loss.
    pub(super) weights: BTreeMap<String, f64>,
    pub(super) lr: f64,
    /// Global gradient norm before clipping.
    pub(super) gradient_norm: f64,
    /// Where the time went.
    pub(super) split: Split,
}

/// A node of the student, or the end of a connector, as the losses see it.
struct Seen {
    var: Var,
    node: NodeId,
    /// For a connector: its prefix and the tape of its pass.
    connector: Option<(String, Tape)>,
}

/// The losses of a batch and what they ask of the parameters.
struct Found {
    /// Positions of the losses that were active.
    active: Vec<usize>,
    /// Weight of every loss, active or not.
    weights: Vec<f64>,
    /// Unweighted values of the active losses.
    terms: Vec<f64>,
    /// Weighted total.
    loss: f64,
    logits: Tensor,
    gradients: BTreeMap<String, Tensor>,
    views: Views,
}

impl Learner {
    /// Takes one step.
    pub(super) fn step(&mut self, batch: &Batch, at: Position) -> Result<Outcome> {
        self.watch.start();
        let mut found = self.differentiate(batch, at)?;
        let gradient_norm = clip_global_norm(&mut found.gradients, self.train.clip.unwrap_or(f64::INFINITY))?;
        if !gradient_norm.is_finite() {
            return Err(diverged(at, format!("the gradient norm is {gradient_norm}")));
        }
        let lr = self.train.learning_rate.value(at.time(), self.train.epochs as f64);
        let mut all = self.gather()?;
        self.optimiser.step(&mut all, &found.gradients, lr)?;
        self.scatter(&all)?;
        if let (Some(ema), Some(decay)) = (&mut self.ema, self.train.ema) {
            ema.update(self.student.params(), warmed_up(decay, at))?;
        }
        for (slot, i) in found.active.iter().enumerate() {
            let loss = &mut self.losses[*i].loss;
            found.views.with(slot, at.time(), |step| loss.after(step))?;
        }
        let rows = found.logits.to_vec2::<f32>()?;
        let right = rows.iter().zip(&batch.labels).filter(|(row, label)| argmax(row) == **label as usize);
        let correct = right.count();
        self.watch.lap(Part::Update)?;
        let name = |i: usize| self.losses[i].name.clone();
        Ok(Outcome {
            images: batch.labels.len(),
            correct,
            loss: found.loss,
            terms: found.active.iter().zip(found.terms).map(|(i, term)| (name(*i), term)).collect(),
            weights: found.weights.into_iter().enumerate().map(|(i, weight)| (name(i), weight)).collect(),
            lr,
            gradient_norm,
            split: self.watch.split(),
        })
    }

    /// Forward through everything that is active, and back. Running statistics follow the batch; no parameter moves.
    fn differentiate(&mut self, batch: &Batch, at: Position) -> Result<Found> {
        let (time, total) = (at.time(), self.train.epochs as f64);
        let weights: Vec<f64> = self.losses.iter().map(|loss| loss.weight.value(time, total)).collect();
        let active: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] != 0.0).collect();

        let x = input(batch, &self.device)?;
        self.watch.lap(Part::Data)?;
        let teachers = self.ask_teachers(&x, &active)?;
        self.watch.lap(Part::Teacher)?;
        let mut rng = dropout_generator(self.seed, at);
        let nodes = student_nodes(self, &active);
        let (outputs, tape) = self.student.train(&x, &nodes, &mut rng)?;
        let logits = Var::from_tensor(&outputs.logits)?;
        let seen = self.look(&active, &nodes, &outputs, &mut rng)?;

        let views = Views::new(self, batch, &active, &logits, &seen, &teachers)?;
        let mut sum: Option<Tensor> = None;
        let (mut terms, mut loss) = (Vec::with_capacity(active.len()), 0.0);
        for (slot, i) in active.iter().enumerate() {
            let planned = &self.losses[*i];
            let value = views.with(slot, time, |step| planned.loss.loss(step))?;
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
        let gradients = self.gradients(sum.as_ref(), &logits, seen, tape)?;
        self.watch.lap(Part::Backward)?;
        Ok(Found { active, weights, terms, loss, logits: outputs.logits, gradients, views })
    }

    /// Answers of the teachers with the union of the taps of the active losses; nothing when none of them needs one.
    fn ask_teachers(&mut self, x: &Tensor, active: &[usize]) -> Result<Vec<(Vec<NodeId>, Outputs)>> {
        if !active.iter().any(|i| self.losses[*i].needs_teacher) {
            return Ok(Vec::new());
        }
        let mut taps: Vec<NodeId> = active.iter().flat_map(|i| self.losses[*i].taps.teacher.clone()).collect();
        taps.sort_unstable();
        taps.dedup();
        let mut answers = Vec::with_capacity(self.teachers.len());
        for teacher in &mut self.teachers {
            let nodes = std::mem::take(&mut taps);
            let outputs = teacher.outputs(x, &nodes)?;
            answers.push((nodes, outputs));
        }
        Ok(answers)
    }

    /// Runs the connectors and makes a variable of everything that the active losses see, loss by loss, tap by tap.
    fn look(
        &mut self,
        active: &[usize],
        nodes: &[NodeId],
        outputs: &Outputs,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Vec<Seen>>> {
        let mut seen = Vec::with_capacity(active.len());
        for i in active {
            let loss = &self.losses[*i];
            let mut own = Vec::with_capacity(loss.taps.student.len());
            for tap in &loss.taps.student {
                let value = pick(nodes, outputs, tap.node)?;
                own.push(match &tap.connector {
                    None => Seen { var: Var::from_tensor(value)?, node: tap.node, connector: None },
                    Some(connector) => {
                        let prefix = prefix(&loss.name, &connector.name);
                        let network = self.connectors.get_mut(&prefix).ok_or_else(|| lost(&prefix))?;
                        let (outputs, tape) = network.train(value, &[], rng)?;
                        let var = Var::from_tensor(&outputs.logits)?;
                        Seen { var, node: tap.node, connector: Some((prefix, tape)) }
                    }
                });
            }
            seen.push(own);
        }
        Ok(seen)
    }

    /// Gradients of every parameter that takes part, under its full name. A parameter of the student, or of a connector
    /// that ran, that no gradient reaches gets zeros: weight decay and momentum still act on it, as in PyTorch.
    fn gradients(
        &self,
        sum: Option<&Tensor>,
        logits: &Var,
        seen: Vec<Vec<Seen>>,
        tape: Tape,
    ) -> Result<BTreeMap<String, Tensor>> {
        let store = sum.map(Tensor::backward).transpose()?;
        let of = |var: &Var| store.as_ref().and_then(|store| store.get(var.as_tensor()).cloned());
        let mut all = BTreeMap::new();
        let mut out = Vec::new();
        out.extend(of(logits).map(|gradient| (self.student.graph().output(), gradient)));
        for Seen { var, node, connector } in seen.into_iter().flatten() {
            let gradient = of(&var);
            match connector {
                None => out.extend(gradient.map(|gradient| (node, gradient))),
                Some((prefix, tape)) => {
                    let network = self.connectors.get(&prefix).ok_or_else(|| lost(&prefix))?;
                    let end = network.graph().output();
                    let ends = gradient.into_iter().map(|gradient| (end, gradient)).collect();
                    let found = network.backward(tape, ends, true)?;
                    out.extend(found.input.map(|gradient| (node, gradient)));
                    collect(&mut all, &prefix, network, found.params)?;
                }
            }
        }
        let found = self.student.backward(tape, out, false)?;
        collect(&mut all, "", &self.student, found.params)?;
        Ok(all)
    }
}

fn diverged(at: Position, what: String) -> Error {
    Error::Diverged { epoch: at.epoch, step: at.step + 1, what }
}

/// Adds the gradients of a network's trained parameters, zeros where there are none.
fn collect(
    all: &mut BTreeMap<String, Tensor>,
    prefix: &str,
    network: &crate::network::Network,
    mut found: BTreeMap<String, Tensor>,
) -> Result<()> {
    for (name, value, _) in network.params().trained() {
        let gradient = match found.remove(name) {
            Some(gradient) => gradient,
            None => value.zeros_like()?,
        };
        all.insert(format!("{prefix}{name}"), gradient);
    }
    Ok(())
}

/// The nodes of the student that active losses read, each once.
fn student_nodes(learner: &Learner, active: &[usize]) -> Vec<NodeId> {
    let taps = active.iter().flat_map(|i| &learner.losses[*i].taps.student);
    let mut nodes: Vec<NodeId> = taps.map(|tap| tap.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// The value of `node` among the taps that `nodes` asked for.
fn pick<'a>(nodes: &[NodeId], outputs: &'a Outputs, node: NodeId) -> Result<&'a Tensor> {
    let tap = nodes.iter().position(|asked| *asked == node).and_then(|i| outputs.taps.get(i));
    tap.ok_or_else(|| lost("a tap"))
}

/// Dropout of a step depends on the seed and on where the step is, so that a resumed run needs no generator's state.
fn dropout_generator(seed: u64, at: Position) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(at.epoch as u64).to_le_bytes());
    key[16..24].copy_from_slice(&(at.step as u64).to_le_bytes());
    key[24..].copy_from_slice(b"dropout ");
    ChaCha8Rng::from_seed(key)
}

/// Something that planning put in place is not there any more.
fn lost(what: &str) -> Error {
    candle_core::Error::Msg(format!("{what} is missing: the plan and the run disagree")).into()
}

/// The batch as each active loss sees it.
struct Views {
    labels: Tensor,
    targets: Tensor,
    ids: Vec<u32>,
    /// For each active loss: outputs of the student and of the teachers.
    outputs: Vec<(Vec<Outputs>, Vec<Outputs>)>,
}

impl Views {
    fn new(
        learner: &Learner,
        batch: &Batch,
        active: &[usize],
        logits: &Var,
        seen: &[Vec<Seen>],
        teachers: &[(Vec<NodeId>, Outputs)],
    ) -> Result<Self> {
        let classes = logits.dims().last().copied().unwrap_or_default();
        let n = batch.labels.len();
        let mut targets = vec![0f32; n * classes];
        for (row, label) in targets.chunks_exact_mut(classes.max(1)).zip(&batch.labels) {
            if let Some(target) = row.get_mut(*label as usize) {
                *target = 1.0;
            }
        }
        let mut outputs = Vec::with_capacity(active.len());
        for (i, seen) in active.iter().zip(seen) {
            let taps = seen.iter().map(|seen| seen.var.as_tensor().clone()).collect();
            let student = Outputs { logits: logits.as_tensor().clone(), taps };
            let mut answers = Vec::with_capacity(teachers.len());
            for (t, (nodes, answer)) in teachers.iter().enumerate() {
                let wanted = if t == 0 { learner.losses[*i].taps.teacher.as_slice() } else { &[] };
                let taps = wanted.iter().map(|node| pick(nodes, answer, *node).cloned()).collect::<Result<_>>()?;
                answers.push(Outputs { logits: answer.logits.clone(), taps });
            }
            outputs.push((vec![student], answers));
        }
        Ok(Self {
            labels: Tensor::from_slice(&batch.labels, n, &learner.device)?,
            targets: Tensor::from_vec(targets, (n, classes), &learner.device)?,
            ids: batch.ids.clone(),
            outputs,
        })
    }

    /// Calls `body` with what the loss in `slot` sees.
    fn with<T>(&self, slot: usize, epoch: f64, body: impl FnOnce(&Step<'_>) -> Result<T>) -> Result<T> {
        let (students, teachers) = &self.outputs[slot];
        let view =
            View { name: "clean", labels: &self.labels, targets: &self.targets, ids: &self.ids, students, teachers };
        body(&Step { views: &[view], epoch })
    }
}

#[cfg(test)]
mod tests;
