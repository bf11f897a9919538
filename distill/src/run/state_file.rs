//! `status.json` of a run directory: planned, running, failed with its reason, or finished.

use std::path::{Path, PathBuf};

use attar_formats::run::file;
use attar_formats::{files, write};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::begin::PROGRAM;
use super::owner;
use crate::checkpoint::Store;
use crate::error::{Error, Result};

/// Version of the layout of `status.json`.
pub const STATUS_VERSION: u32 = 1;

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RunState {
    /// The directory is made, the plan holds, no step was taken.
    Planned,
    /// A process trains it.
    Running,
    /// A process that trained it is gone without a word: killed, or its machine was. Never written, only read.
    Interrupted,
    /// It ended with an error.
    Failed {
        /// What went wrong, without the hint.
        reason: String,
    },
    /// It has its receipt.
    Finished,
}

impl RunState {
    /// What the run in `directory` has come to; `None` where there is none.
    ///
    /// # Errors
    /// A `status.json` that this program did not write.
    pub fn of(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(file::STATUS);
        if !path.exists() {
            // A run of before.
            let trained = Store::holds_checkpoint(&directory.join(file::CHECKPOINTS));
            let finished = directory.join(file::RECEIPT).is_file().then_some(Self::Finished);
            return Ok(finished.or(trained.then_some(Self::Interrupted)));
        }
        let bytes = files::read(&path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.clone(), source })?;
        let file: File = serde_json::from_slice(&bytes).map_err(|error| Error::Format {
            path: path.clone(),
            problem: format!("not the status of a run: {error}"),
        })?;
        if file.version != STATUS_VERSION {
            let problem = format!("version {}, this program reads version {STATUS_VERSION}", file.version);
            return Err(Error::Format { path, problem });
        }
        let alive = owner::is_held(directory);
        Ok(Some(match file.state {
            Self::Planned | Self::Running if !alive => Self::Interrupted,
            state => state,
        }))
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct File {
    version: u32,
    program: String,
    #[serde(flatten)]
    state: RunState,
}

/// Keeps `status.json` for the process that owns the run.
#[derive(Debug)]
pub(super) struct StatusFile {
    path: PathBuf,
    /// Whether this process has changed it: a resumption that is refused leaves it alone.
    changed: bool,
}

impl StatusFile {
    pub(super) fn of(directory: &Path) -> Self {
        Self { path: directory.join(file::STATUS), changed: false }
    }

    pub(super) fn write(&mut self, state: RunState) -> Result<()> {
        let file = File { version: STATUS_VERSION, program: PROGRAM.to_owned(), state };
        let mut text = serde_json::to_vec_pretty(&file)
            .map_err(|error| Error::Format { path: self.path.clone(), problem: error.to_string() })?;
        text.push(b'\n');
        self.changed = true;
        Ok(write::bytes(&self.path, &text)?)
    }

    /// Writes how it ended, and hands that on.
    pub(super) fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        match &outcome {
            Ok(_) => self.write(RunState::Finished)?,
            Err(error) if self.changed => {
                let text = error.to_string();
                let reason = text.split("\n  hint:").next().unwrap_or_default().to_owned();
                // The disk may be full; what went wrong first is what people must see.
                let _ = self.write(RunState::Failed { reason });
            }
            Err(_) => {}
        }
        outcome
    }
}
