//! Runs that are not finished: what an export of one may be, and what it says where it was not asked for.

use std::path::Path;

use anyhow::{Context, Result, bail};
use attar_distill::run::{self, RunState};
use attar_distill::{Plan, Recipe};
use attar_formats::run::file;
use attar_infer::cli::say;

use super::train;
use crate::progress::Progress;

/// The last checkpoint of a run that is not finished, in a folder of its own as a finished run leaves it.
pub(super) fn leave(directory: &Path) -> Result<tempfile::TempDir> {
    let recipe = Recipe::load(&directory.join(file::RECIPE), &[])?;
    let plan = Plan::new(recipe, train::options())?;
    plan.notes().for_each(say);
    let place = tempfile::tempdir().context("a folder for what the run leaves")?;
    let mut progress = Progress::new(plan.recipe().train.epochs, plan.steps_per_epoch());
    let card = run::leave(plan, directory, place.path(), &mut progress)?;
    let which = card.provenance.checkpoint.unwrap_or_default();
    say(format!("NOT A FINISHED RUN: {} is exported as it is ({which}); the bundle says so", directory.display()));
    Ok(place)
}

/// Refuses a run that is not finished, with the two ways on.
pub(super) fn refuse(directory: &Path) -> Result<()> {
    let recipe = directory.join(file::RECIPE);
    if directory.join(file::CARD).is_file() || !recipe.is_file() {
        return Ok(());
    }
    let state = match RunState::of(directory)? {
        Some(RunState::Running | RunState::Planned) => "it is under way".to_owned(),
        Some(RunState::Failed { reason }) => format!("it failed: {reason}"),
        _ => "it was interrupted".to_owned(),
    };
    let place = directory.display();
    if !run::has_checkpoint(directory) {
        bail!("{place}: the run has made no checkpoint that could be exported ({state})\n  hint: begin it anew");
    }
    let verb = if attar::train::is_alone(&Recipe::load(&recipe, &[])?) { "train" } else { "distill" };
    let mended = if state.starts_with("it failed") { "; once that is mended," } else { ";" };
    bail!(
        "{place}: the run is not finished ({state})\n  hint: `attar export {place} --unfinished` exports its last checkpoint{mended} `attar {verb} {} --out {place} --resume` goes on to its end",
        recipe.display()
    )
}
