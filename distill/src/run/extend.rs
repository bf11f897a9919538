//! A run that goes on under a recipe with more epochs, or with another word for what happens when it diverges.
//!
//! The checkpoint is the truth: it is rewritten first, with the new recipe's hash and what was extended, so that a kill at any
//! moment leaves a run that the same command goes on with.

use std::path::Path;

use attar_formats::run::file;
use attar_formats::write;

use super::events::{Event, EventLog};
use crate::checkpoint::{Checkpoint, Extended, Store};
use crate::error::{Error, Result};
use crate::files::{io, remove_file, rename};
use crate::recipe::Recipe;

/// How the recipe of a resumption differs from the one that the run was started with.
#[derive(Debug)]
pub(super) struct Change {
    /// Epochs before and now, where there are more.
    epochs: Option<(usize, usize)>,
}

impl Change {
    /// Compares the recipes; `None` where nothing that is written down changes.
    ///
    /// # Errors
    /// A difference that would make it another run, by its keys.
    pub(super) fn between(
        written: &Recipe,
        now: &Recipe,
        checkpoint: Option<&Checkpoint>,
        path: &Path,
    ) -> Result<Option<Self>> {
        let differences = written.differences(now)?;
        let fail = |problem: String| Err(Error::Format { path: path.to_owned(), problem });
        let others = differences.join("\n  ");
        let Some(checkpoint) = checkpoint else {
            return match differences.is_empty() {
                true => Ok(None),
                false => fail(format!(
                    "the run was started with another recipe, and has made no checkpoint:\n  {others}\n  hint: begin it anew without --resume; nothing is lost"
                )),
            };
        };
        if let Some(done) = checkpoint.state.extended.last().filter(|done| done.to > now.train.epochs) {
            let (from, to) = (done.from, done.to);
            return fail(format!(
                "the run was extended from {from} to {to} epochs, the recipe says {}\n  hint: go on with --resume --set train.epochs={to}",
                now.train.epochs
            ));
        }
        let (before, after) = (written.train.epochs, now.train.epochs);
        let mut lengthened = written.clone();
        lengthened.train.epochs = after;
        if !lengthened.differences(now)?.is_empty() {
            return fail(format!(
                "the run was started with another recipe:\n  {others}\n  hint: a new recipe is a new run: leave --resume out and choose another name with --out"
            ));
        }
        if after < before {
            return fail(format!(
                "the run has a recipe of more epochs:\n  {others}\n  hint: more epochs can be had, fewer not: leave --resume out and choose another name with --out"
            ));
        }
        let known = checkpoint.state.extended.last().is_some_and(|done| done.to == after);
        let epochs = (after > before && !known).then_some((before, after));
        let rewrite = after != before || written.train.on_divergence != now.train.on_divergence;
        Ok(rewrite.then_some(Self { epochs }))
    }

    /// Makes the run one of the new recipe, of which `sha256` is what the checkpoint states.
    pub(super) fn apply(
        &self,
        recipe: &Recipe,
        sha256: &str,
        directory: &Path,
        store: &Store,
        checkpoint: &mut Checkpoint,
    ) -> Result<Option<Event>> {
        let state = &mut checkpoint.state;
        sha256.clone_into(&mut state.recipe_sha256);
        let mut event = None;
        if let Some((from, to)) = self.epochs {
            set_aside(directory, from)?;
            let (epochs_done, steps_done) = (state.epochs_done, state.steps_done);
            state.extended.push(Extended { from, to, epochs_done, steps_done });
            // Without validation the best epoch is the last one, which is yet to come.
            state.best = state.best.filter(|best| best.of > 0);
            let told = Event::Extended { from, to, epochs_done, steps_done };
            let mut log = EventLog::open(directory, state.events_bytes)?;
            log.write(&told)?;
            state.events_bytes = log.sync()?;
            event = Some(told);
        }
        store.write("last", checkpoint)?;
        write::bytes(&directory.join(file::RECIPE), recipe.relative_to(directory).to_toml()?.as_bytes())?;
        Ok(event)
    }
}

/// The shorter run's receipt is kept under its epochs; its card goes, for it describes what is no more the run's end.
fn set_aside(directory: &Path, epochs: usize) -> Result<()> {
    let receipt = directory.join(file::RECEIPT);
    if receipt.is_file() {
        rename(&receipt, &directory.join(format!("receipt-{epochs}-epochs.json")))?;
    }
    remove_file(&directory.join(file::CARD)).map_err(|source| io(directory, source))
}
