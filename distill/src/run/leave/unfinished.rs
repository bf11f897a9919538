//! What an unfinished run can give away: its last checkpoint with card and reference answers, as the end of a run writes
//! them, in another place. The run itself is not touched and goes on with the same bits.

use std::path::Path;
use std::sync::Arc;

use attar_exec::Network;
use attar_formats::Card;
use attar_formats::card::INTERRUPTED;
use attar_formats::checkpoint;
use attar_formats::hash::file_sha256;
use attar_formats::run;
use attar_formats::run::file;

use crate::checkpoint::{State, Store};
use crate::error::{Error, Result};
use crate::files::{io, write_synced};
use crate::plan::Plan;
use crate::run::begin::{self, Begun};
use crate::run::events::Observer;
use crate::run::owner::Owner;
use crate::run::shield::Shield;
use crate::run::state_file::RunState;

/// Writes `card.json`, `reference/` and `checkpoints/last/model.safetensors` of the run's last checkpoint into `place`.
pub(in crate::run) fn leave(plan: Plan, directory: &Path, place: &Path, observer: &mut dyn Observer) -> Result<Card> {
    let (directory, place) = (begin::absolute(directory)?, begin::absolute(place)?);
    let fail = |problem: &str| Error::Format { path: directory.clone(), problem: problem.to_owned() };
    if RunState::of(&directory)? == Some(RunState::Finished) && directory.join(file::CARD).is_file() {
        return Err(fail("the run is finished\n  hint: export it without --unfinished"));
    }
    if !directory.join(file::RECIPE).is_file() {
        return Err(fail("holds no run (no recipe.toml)"));
    }
    let _owner = Owner::take(&directory)?;
    let kept = Store::new(directory.join(file::CHECKPOINTS), plan.failpoint.clone());
    let Some(checkpoint) = kept.read("last")? else {
        return Err(fail("has no checkpoint yet: there is nothing to export\n  hint: go on with the run first"));
    };
    let mut shield = Shield::over(observer);
    let Begun { plan, loaders, workers, fresh } = begin::prepare(plan, &directory, Some(&checkpoint))?;
    begin::same_origin(&checkpoint.state, &fresh, &directory)?;
    let mut state = checkpoint.state.clone();
    begin::note_test_images(&mut state, &fresh);
    let copy = place.join(file::CHECKPOINTS).join(run::LAST);
    std::fs::create_dir_all(&copy).map_err(|source| io(&copy, source))?;
    let model = copy.join(checkpoint::file::MODEL);
    let bytes = std::fs::read(kept.model("last")).map_err(|source| io(&kept.model("last"), source))?;
    write_synced(&model, &bytes)?;
    let weights_sha256 = file_sha256(&model)?;
    workers.install(|| {
        // Its log is one of its own, which nobody reads.
        state.events_bytes = 0;
        let mut run = begin::build(plan, place, state, Arc::clone(&loaders), &mut shield)?;
        let graph = run.learner.student().graph().clone();
        let network = Network::from_weights(graph, &checkpoint.model, &run.setup.device)?;
        let (val, measures) = run.write_reference(&network, &weights_sha256)?;
        let which = described(&run.state, run.setup.recipe.train.epochs, run.setup.steps_per_epoch);
        let card = run.setup.facts.card_of(&run.state, which, val, measures.student.top1);
        run.write_json(file::CARD, &card)?;
        Ok(card)
    })
}

/// The checkpoint as the card names it.
fn described(state: &State, epochs: usize, steps_per_epoch: usize) -> String {
    let steps = match state.steps_done {
        0 => String::new(),
        steps => format!(" and {steps} of {steps_per_epoch} steps"),
    };
    format!("last, epoch {} of {epochs}{steps}, {INTERRUPTED}", state.epochs_done)
}
