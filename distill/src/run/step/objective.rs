//! What is minimised: the losses and their weights over time, what each reads of a step, and what it has gathered.

use std::collections::BTreeMap;
use std::sync::Arc;

use attar_exec::Outputs;
use attar_formats::checkpoint;
use attar_models::Weights;
use candle_core::{Device, Tensor};

use crate::arrays::{to_tensors, to_weights};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::losses::{Step, View};
use crate::plan::{ConnectorId, LossId, PlannedLoss, QuestionId, Table, ViewId, WiredAnswer, Wiring};
use crate::run::feed::batch::ViewBatch;
use crate::run::step::students::Passes;
use crate::run::step::updates::Turn;
use crate::run::step::{Position, diverged};

/// The losses of a run.
pub(in crate::run) struct Objective {
    pub(in crate::run) losses: Table<LossId, PlannedLoss>,
    /// The connectors behind their taps.
    behind: Table<LossId, Vec<Option<ConnectorId>>>,
    /// Names of the views.
    views: Table<ViewId, String>,
    /// Epochs of the whole run.
    epochs: f64,
    /// What a step runs, for each set of active losses that there was.
    wirings: BTreeMap<Vec<LossId>, Arc<Wiring>>,
}

/// What each active loss sees of a batch.
pub(in crate::run) struct LossInputs {
    views: BTreeMap<ViewId, ViewBatch>,
    losses: Vec<LossInput>,
    epochs: f64,
}

/// What one loss sees.
struct LossInput {
    loss: LossId,
    views: Vec<InputView>,
    params: BTreeMap<String, Tensor>,
}

/// One view as a loss sees it.
struct InputView {
    view: ViewId,
    student: Outputs,
    teachers: Vec<Outputs>,
}

/// The value of a step's losses.
pub(in crate::run) struct Value {
    /// Unweighted, of each active loss.
    pub(in crate::run) terms: Vec<(LossId, f64)>,
    /// Weighted total.
    pub(in crate::run) loss: f64,
    /// The same, to be differentiated; nothing where no loss is active.
    pub(in crate::run) sum: Option<Tensor>,
}

impl Objective {
    pub(in crate::run) fn new(
        losses: Table<LossId, PlannedLoss>,
        behind: Table<LossId, Vec<Option<ConnectorId>>>,
        views: Table<ViewId, String>,
        epochs: usize,
    ) -> Self {
        Self { losses, behind, views, epochs: epochs as f64, wirings: BTreeMap::new() }
    }

    /// Weight of every loss at a time.
    pub(in crate::run) fn weights(&self, at: Position) -> Table<LossId, f64> {
        self.losses.rows().map(|loss| loss.weight.value(at.time(), self.epochs)).collect()
    }

    /// What a step runs where the losses of a turn have these weights: those without weight are left out.
    pub(in crate::run) fn wiring(&mut self, weights: &Table<LossId, f64>, turn: Turn) -> Arc<Wiring> {
        let has_turn = |id: &LossId| turn.moves(self.losses[*id].student);
        let active: Vec<LossId> = self.losses.ids().filter(|id| weights[*id] != 0.0 && has_turn(id)).collect();
        let make = || Arc::new(Wiring::of(&active, &self.losses, &self.behind));
        Arc::clone(self.wirings.entry(active.clone()).or_insert_with(make))
    }

    /// What each active loss sees.
    pub(in crate::run) fn inputs(
        &self,
        wiring: &Wiring,
        views: BTreeMap<ViewId, ViewBatch>,
        passes: &Passes,
        answers: &Table<QuestionId, Outputs>,
    ) -> LossInputs {
        let pick = |outputs: &Outputs, places: &[usize]| Outputs {
            logits: outputs.logits.clone(),
            taps: places.iter().map(|place| outputs.taps[*place].clone()).collect(),
        };
        let losses = wiring.losses.iter().zip(&passes.losses).map(|(wired, seen)| {
            let of_views = wired.views.iter().zip(&seen.views).map(|(view, seen)| {
                let teachers = view.teachers.iter().map(|answer| match answer {
                    WiredAnswer::Teacher(question, places) => pick(&answers[*question], places),
                    WiredAnswer::Student(pass, places) => pick(&passes.table[*pass].outputs, places),
                });
                InputView { view: view.view, student: seen.outputs(&passes.table), teachers: teachers.collect() }
            });
            LossInput { loss: wired.loss, views: of_views.collect(), params: seen.params() }
        });
        LossInputs { losses: losses.collect(), views, epochs: self.epochs }
    }

    /// The losses of what they see, weighted and added up.
    pub(in crate::run) fn value(
        &self,
        inputs: &LossInputs,
        weights: &Table<LossId, f64>,
        at: Position,
    ) -> Result<Value> {
        let mut all = Value { terms: Vec::with_capacity(inputs.losses.len()), loss: 0.0, sum: None };
        for input in &inputs.losses {
            let (planned, weight) = (&self.losses[input.loss], weights[input.loss]);
            let value = show(&self.views, inputs, input, at, |step| planned.loss.loss(step))?;
            let number = f64::from(value.to_scalar::<f32>()?);
            if !number.is_finite() {
                return Err(diverged(at, format!("loss `{}` is {number}", planned.name)));
            }
            all.terms.push((input.loss, number));
            all.loss += weight * number;
            let weighted = (value * weight)?;
            all.sum = Some(match all.sum {
                None => weighted,
                Some(sum) => (sum + weighted)?,
            });
        }
        Ok(all)
    }

    /// Lets the losses that were active remember the batch.
    pub(in crate::run) fn after(&mut self, inputs: &LossInputs, at: Position) -> Result<()> {
        for input in &inputs.losses {
            let loss = &mut self.losses[input.loss].loss;
            show(&self.views, inputs, input, at, |step| loss.after(step))?;
        }
        Ok(())
    }

    /// Weights of the losses by their names.
    pub(in crate::run) fn named(&self, weights: &Table<LossId, f64>) -> BTreeMap<String, f64> {
        self.losses.rows().zip(weights.rows()).map(|(loss, weight)| (loss.name.clone(), *weight)).collect()
    }

    /// What the losses have gathered, for a checkpoint.
    pub(in crate::run) fn pack(&self, into: &mut Weights) -> Result<()> {
        for loss in self.losses.rows() {
            let prefix = checkpoint::loss_state(&loss.name);
            let state = to_weights(loss.loss.state()?)?;
            into.0.extend(state.0.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
        }
        Ok(())
    }

    /// Goes back to a checkpoint.
    pub(in crate::run) fn unpack(&mut self, checkpoint: &Checkpoint, device: &Device) -> Result<()> {
        for loss in self.losses.rows_mut() {
            let state = to_tensors(checkpoint.trainer.under(&checkpoint::loss_state(&loss.name)), device)?;
            loss.loss.load(state)?;
        }
        Ok(())
    }
}

impl LossInputs {
    /// Class of each sample in a view that some pass was over.
    pub(in crate::run) fn labels(&self, view: ViewId) -> Result<Vec<u32>> {
        Ok(self.views[&view].labels.to_vec1::<u32>()?)
    }
}

/// Calls `body` with what a loss sees.
fn show<T>(
    names: &Table<ViewId, String>,
    inputs: &LossInputs,
    input: &LossInput,
    at: Position,
    body: impl FnOnce(&Step<'_>) -> Result<T>,
) -> Result<T> {
    let mut views = Vec::with_capacity(input.views.len());
    for InputView { view, student, teachers } in &input.views {
        let ViewBatch { labels, targets, ids, .. } = &inputs.views[view];
        views.push(View { name: &names[*view], labels, targets, ids, student, teachers });
    }
    body(&Step { views: &views, time: at.time(), epochs: inputs.epochs, params: &input.params })
}
