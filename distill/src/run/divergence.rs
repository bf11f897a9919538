//! When training leaves the finite numbers: the run ends and says what there is, or goes back to its last checkpoint and on
//! with a smaller learning rate.
//!
//! What was rolled back is part of the checkpoint, so that a run that is killed after it goes on with the same bits.

use super::Run;
use super::events::{Event, EventLog};
use crate::checkpoint::{Checkpoint, Exact, Rollback};
use crate::error::{Error, Result};
use crate::recipe::OnDivergence;
use attar_formats::run;
use attar_formats::run::file;

impl Run<'_> {
    /// The run as it is before its first step, for a rollback that finds no checkpoint.
    pub(super) fn start_to_go_back_to(&mut self) -> Result<Option<Checkpoint>> {
        let may_go_back = self.setup.recipe.train.on_divergence != OnDivergence::Stop;
        if !may_go_back || self.setup.store.state("last")?.is_some() {
            return Ok(None);
        }
        self.state.events_bytes = self.log.sync()?;
        let (model, trainer) = self.learner.pack()?;
        Ok(Some(Checkpoint { model, trainer, state: self.state.clone() }))
    }

    /// Goes back where the recipe says so and it has not been too often; otherwise hands the error on, with what there is.
    pub(super) fn roll_back(&mut self, error: Error, start: Option<&Checkpoint>) -> Result<()> {
        let Error::Diverged { epoch, step, what } = error else { return Err(error) };
        let saved = self.setup.store.read("last")?;
        let ended = |what: &str| {
            let left = left(saved.as_ref(), &self.setup.directory.join(file::CHECKPOINTS).join(run::LAST));
            Err(Error::Diverged { epoch, step, what: format!("{what}\n  {left}") })
        };
        let OnDivergence::Rollback { factor, most } = self.setup.recipe.train.on_divergence else {
            let hint = match &saved {
                Some(_) => {
                    "go on from there at half the learning rate with --resume --set train.on_divergence=rollback; or start another run with a lower train.learning_rate or with train.clip, under another name with --out"
                }
                None => {
                    "start it again with a lower train.learning_rate, with train.clip, or with --set train.on_divergence=rollback; the directory may be used again"
                }
            };
            return ended(&what).map_err(|error| with_hint(error, hint));
        };
        let before = self.state.rollbacks.len();
        if before >= most {
            let hint =
                "start another run with a lower train.learning_rate or with train.clip, under another name with --out";
            return ended(&format!("{what}, after {before} rollbacks (train.on_divergence.most = {most})"))
                .map_err(|error| with_hint(error, hint));
        }
        let good = match &saved {
            Some(last) if self.was_in_vain(last) => self.best_before(last)?.or_else(|| saved.clone()),
            _ => saved.clone(),
        };
        let Some(mut checkpoint) = good.or_else(|| start.cloned()) else { return ended(&what) };
        let state = &mut checkpoint.state;
        let (epochs_done, steps_done) = (state.epochs_done, state.steps_done);
        state.rollbacks.clone_from(&self.state.rollbacks);
        state.rollbacks.push(Rollback {
            epoch,
            step,
            what: what.clone(),
            epochs_done,
            steps_done,
            factor: Exact(factor),
        });
        // What this process knows better than the checkpoint.
        (state.resumed, state.data) = (self.state.resumed, self.state.data.clone());
        self.learner.unpack(&checkpoint)?;
        self.log = EventLog::open(&self.setup.directory, checkpoint.state.events_bytes)?;
        self.state = checkpoint.state.clone();
        self.slow_down();
        let rate = self.slowed();
        self.tell(&Event::RolledBack { epoch, step, what, epochs_done, steps_done, rate })?;
        self.state.events_bytes = self.log.sync()?;
        self.write_metrics(&self.state.metrics)?;
        if saved.is_some() {
            checkpoint.state = self.state.clone();
            self.setup.store.write("last", &checkpoint)?;
        }
        Ok(())
    }

    /// Whether the last rollback went back to this very checkpoint: its numbers are finite, but may be lost already.
    fn was_in_vain(&self, last: &Checkpoint) -> bool {
        let to = self.state.rollbacks.last().map(|rollback| (rollback.epochs_done, rollback.steps_done));
        to == Some((last.state.epochs_done, last.state.steps_done))
    }

    /// The best checkpoint, which was evaluated, where it is an earlier one.
    fn best_before(&self, last: &Checkpoint) -> Result<Option<Checkpoint>> {
        let at = |checkpoint: &Checkpoint| (checkpoint.state.epochs_done, checkpoint.state.steps_done);
        Ok(self.setup.store.read("best")?.filter(|best| at(best) < at(last)))
    }

    /// What the recipe's learning rate is multiplied with after all rollbacks so far.
    fn slowed(&self) -> f64 {
        self.state.rollbacks.iter().map(|rollback| rollback.factor.0).product()
    }

    /// Takes the rollbacks of the state into account.
    pub(super) fn slow_down(&mut self) {
        if !self.state.rollbacks.is_empty() {
            let rate = self.setup.recipe.train.learning_rate.scaled(self.slowed());
            self.learner.updates.learning_rate = rate;
        }
    }
}

/// What is left of a run that ended.
fn left(saved: Option<&Checkpoint>, place: &std::path::Path) -> String {
    match saved.map(|checkpoint| (checkpoint.state.epochs_done, checkpoint.state.steps_done)) {
        None => "there is no checkpoint yet".to_owned(),
        Some((epochs, 0)) => format!("the checkpoint of epoch {epochs} is kept: {}", place.display()),
        Some((epochs, steps)) => {
            format!("the checkpoint of epoch {}, step {steps} is kept: {}", epochs + 1, place.display())
        }
    }
}

fn with_hint(error: Error, hint: &str) -> Error {
    match error {
        Error::Diverged { epoch, step, what } => {
            Error::Diverged { epoch, step, what: format!("{what}\n  hint: {hint}") }
        }
        other => other,
    }
}
