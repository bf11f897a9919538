//! `checkpoints/`: written under a temporary name, synced, renamed; never without a complete copy under some name.
//!
//! Writing `last`: `last.new` is written and synced; `last` becomes `last.old`; `last.new` becomes `last`; `last.old` is
//! removed. Whatever the moment of a kill, [`Store::recover`] finds the newest complete one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_formats::checkpoint::OLDEST_VERSION;
use attar_formats::checkpoint::file::{MODEL, STATE, TRAINER};
use attar_formats::{checkpoint, files, read, write};
use attar_models::Weights;

use super::{CHECKPOINT_VERSION, Checkpoint, State};
use crate::error::{Error, Result};
use crate::files::{io, remove_dir, rename, sync_dir, write_synced};

/// Called with the name of each place where a kill would be interesting; tests stop there and are killed.
#[derive(Clone, Default)]
pub struct Failpoint(pub Option<Stop>);

/// Is told where the run is.
pub type Stop = Arc<dyn Fn(&str) + Send + Sync>;

impl Failpoint {
    pub(crate) fn hit(&self, place: impl FnOnce() -> String) {
        if let Some(stop) = &self.0 {
            stop(&place());
        }
    }
}

impl fmt::Debug for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Failpoint(set)" } else { "Failpoint" })
    }
}

/// The `checkpoints/` directory of a run.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    failpoint: Failpoint,
}

impl Store {
    /// The checkpoints under `directory` (`runs/NAME/checkpoints`), which may not exist yet.
    pub fn new(directory: PathBuf, failpoint: Failpoint) -> Self {
        Self { directory, failpoint }
    }

    /// Path of the model of checkpoint `which`.
    pub fn model(&self, which: &str) -> PathBuf {
        self.directory.join(which).join(MODEL)
    }

    /// Writes checkpoint `which` (`last`, `best`); until this returns, the one before is intact.
    ///
    /// # Errors
    /// [`Error::Io`], with a hint when the disk is full; the checkpoint before is still there.
    pub fn write(&self, which: &str, checkpoint: &Checkpoint) -> Result<()> {
        let [new, now, old] = self.names(which);
        let hit = |place: &str| self.failpoint.hit(|| format!("{which} {}: {place}", position(&checkpoint.state)));
        remove_dir(&new)?;
        self.write_files(&new, checkpoint, &hit).inspect_err(|_| {
            // Half a checkpoint helps nobody and may be what fills the disk.
            let _ = remove_dir(&new);
        })?;
        hit("written");
        remove_dir(&old)?;
        if now.exists() {
            rename(&now, &old)?;
            sync_dir(&self.directory)?;
        }
        hit("between renames");
        rename(&new, &now)?;
        sync_dir(&self.directory)?;
        hit("renamed");
        remove_dir(&old)
    }

    fn write_files(&self, new: &Path, checkpoint: &Checkpoint, hit: &dyn Fn(&str)) -> Result<()> {
        std::fs::create_dir_all(new).map_err(|source| Error::Io { path: new.to_owned(), source })?;
        write_weights(&new.join(MODEL), &checkpoint.model)?;
        hit("model written");
        write_weights(&new.join(TRAINER), &checkpoint.trainer)?;
        let state = serde_json::to_vec_pretty(&checkpoint.state)
            .map_err(|error| Error::Format { path: new.join(STATE), problem: error.to_string() })?;
        write_synced(&new.join(STATE), &state)?;
        sync_dir(new)?;
        sync_dir(&self.directory)
    }

    /// Reads checkpoint `which` after putting right what a kill left behind; `None` when there never was one.
    ///
    /// # Errors
    /// Files that cannot be read or are not what we wrote.
    pub fn read(&self, which: &str) -> Result<Option<Checkpoint>> {
        self.recover(which)?;
        let directory = self.directory.join(which);
        if !directory.exists() {
            return Ok(None);
        }
        let model = read::safetensors(&directory.join(MODEL))?.weights;
        let (state, version) = read_state(&directory)?;
        let trainer = checkpoint::trainer(read::arrays(&directory.join(TRAINER))?, version)?;
        Ok(Some(Checkpoint { model, trainer, state }))
    }

    /// Where the run was when checkpoint `which` was written; `None` when there never was one.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn state(&self, which: &str) -> Result<Option<State>> {
        self.recover(which)?;
        let directory = self.directory.join(which);
        if directory.exists() { Ok(Some(read_state(&directory)?.0)) } else { Ok(None) }
    }

    /// Whether there is a checkpoint to go on from in the folder `checkpoints` of a run.
    pub fn holds_checkpoint(checkpoints: &Path) -> bool {
        ["last", "last.old"].iter().any(|name| checkpoints.join(name).is_dir())
    }

    /// Removes what runs without a checkpoint to go on from have left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(&self) -> Result<()> {
        ["last", "best"].iter().flat_map(|which| self.names(which)).try_for_each(|path| remove_dir(&path))
    }

    /// Brings the directory back to a complete `which` and nothing else, if there ever was a complete one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn recover(&self, which: &str) -> Result<()> {
        let [new, now, old] = self.names(which);
        if !now.exists() && old.exists() {
            // Killed between the renames. `new` was synced before `now` was moved, so it is complete; read it all the
            // same, for a file system may have thought otherwise.
            let complete =
                read_state(&new).is_ok() && [MODEL, TRAINER].iter().all(|file| read::arrays(&new.join(file)).is_ok());
            rename(if complete { &new } else { &old }, &now)?;
            sync_dir(&self.directory)?;
        }
        // Without `now` and `old` there was only half a first checkpoint: `new` is worth nothing.
        remove_dir(&new)?;
        remove_dir(&old)
    }

    fn names(&self, which: &str) -> [PathBuf; 3] {
        [format!("{which}.new"), which.to_owned(), format!("{which}.old")].map(|name| self.directory.join(name))
    }
}

fn write_weights(path: &Path, weights: &Weights) -> Result<()> {
    write::safetensors(path, weights, &BTreeMap::new()).map_err(|error| match error {
        attar_formats::Error::Io { path, source } => io(&path, source),
        other => other.into(),
    })
}

fn position(state: &State) -> String {
    format!("{}+{}", state.epochs_done, state.steps_done)
}

/// The state as one of [`CHECKPOINT_VERSION`], and the version that it was written in.
fn read_state(directory: &Path) -> Result<(State, u32)> {
    let path = directory.join(STATE);
    let bytes = files::read(&path, files::MOST_BINARY).map_err(|source| Error::Io { path: path.clone(), source })?;
    let mut state: State = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Format { path: path.clone(), problem: format!("not the state of a run: {error}") })?;
    let version = state.version;
    if !(OLDEST_VERSION..=CHECKPOINT_VERSION).contains(&version) {
        let problem = format!(
            "written by {} as version {version}, this program reads versions {OLDEST_VERSION} to {CHECKPOINT_VERSION}\n  \
             hint: a later attar resumes it",
            state.program
        );
        return Err(Error::Format { path, problem });
    }
    state.version = CHECKPOINT_VERSION;
    Ok((state, version))
}

#[cfg(test)]
mod tests;
