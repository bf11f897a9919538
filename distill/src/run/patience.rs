//! When a run ends before its last epoch: after so many evaluations without a better one. The decision depends on what a
//! checkpoint holds and nothing else, so that a resumed run ends where an unbroken one does.

use super::Run;
use super::events::Event;
use crate::checkpoint::State;
use crate::error::Result;
use crate::recipe::TrainSection;

/// Whether the run has waited long enough, between epochs.
pub(super) fn is_over(train: &TrainSection, state: &State) -> bool {
    let (Some(patience), Some(best)) = (train.patience, state.best) else { return false };
    // Evaluations come every so many epochs, and the best was one of them.
    let evaluations = |epochs: usize| epochs / train.eval_every.max(1);
    state.steps_done == 0
        && state.epochs_done < train.epochs
        && evaluations(state.epochs_done) >= evaluations(best.epoch) + patience
}

impl Run<'_> {
    /// The epoch after which the run has ended, where that is not its last.
    pub(super) fn stopped_early(&self) -> Option<usize> {
        is_over(&self.setup.recipe.train, &self.state).then_some(self.state.epochs_done)
    }

    /// Says that it ends here, if it does.
    pub(super) fn tell_early_end(&mut self) -> Result<()> {
        match (self.stopped_early(), self.state.best) {
            (Some(epoch), Some(best)) => self.tell(&Event::StoppedEarly { epoch, best_epoch: best.epoch }),
            _ => Ok(()),
        }
    }
}
