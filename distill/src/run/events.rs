//! What a run tells while it goes on: to an observer (the front door draws progress) and to `events.jsonl`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use attar_formats::metrics::Row;
use attar_formats::run::file;
use schemars::JsonSchema;
use serde::Serialize;

use crate::checkpoint::TeacherCheck;
use crate::error::{Error, Result};
use crate::files::io;

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A step of the preparations that may take a while; not logged.
    Preparing {
        /// What is being done.
        what: String,
    },
    /// The run begins.
    Started {
        /// Name of the run.
        name: String,
        /// Epochs to come.
        epochs: usize,
        /// Steps in each.
        steps_per_epoch: usize,
        /// `cpu` or `cuda`.
        device: String,
        /// Images to learn from.
        train: usize,
        /// Images held out.
        validation: usize,
        /// Images never looked at before the end.
        test: usize,
    },
    /// The run goes on from a checkpoint; not logged, so that the log of a resumed run equals that of any other.
    Resumed {
        /// Epochs complete.
        epochs_done: usize,
        /// Steps of the epoch under way that are complete.
        steps_done: usize,
    },
    /// A run goes on for more epochs than it was started with; what was trained before, was under the schedule of fewer.
    Extended {
        /// Epochs of the recipe before.
        from: usize,
        /// Epochs of the recipe from now on.
        to: usize,
        /// Epochs complete.
        epochs_done: usize,
        /// Steps of the epoch under way that are complete.
        steps_done: usize,
    },
    /// The test images are others than when the run was started; it is judged by those of now.
    TestImagesChanged {
        /// Their fingerprint before.
        then: String,
        /// Their fingerprint now.
        now: String,
    },
    /// Training left the finite numbers and goes back to a checkpoint.
    RolledBack {
        /// Epoch in which it diverged, from 1.
        epoch: usize,
        /// Step of that epoch, from 1.
        step: usize,
        /// Which number was not finite.
        what: String,
        /// Epochs of the checkpoint; 0 with no steps is the start.
        epochs_done: usize,
        /// Steps of the checkpoint in the epoch after them.
        steps_done: usize,
        /// What the recipe's learning rate is multiplied with from now on.
        rate: f64,
    },
    /// A teacher was measured before the first step.
    Teacher {
        /// Its name.
        name: String,
        /// Accuracy on the validation split in percent; absent without one.
        val_top1: Option<f64>,
        /// What it was measured on, and what is suspicious; absent where its logits are of other classes than the data's.
        #[serde(skip_serializing_if = "Option::is_none")]
        check: Option<TeacherCheck>,
    },
    /// A step is done; logged every [`LOG_EVERY`] steps of the run and at the end of an epoch.
    Step {
        /// Epoch, from 1.
        epoch: usize,
        /// Step in the epoch, from 1.
        step: usize,
        /// Weighted total loss of the batch.
        loss: f64,
        /// Learning rate.
        lr: f64,
        /// Global gradient norm before clipping.
        gradient_norm: f64,
    },
    /// Images of an evaluation are done; not logged.
    Evaluated {
        /// `validation` or `test`.
        split: &'static str,
        /// Images done.
        done: usize,
        /// Images in all.
        of: usize,
    },
    /// An epoch is done.
    Epoch(Row),
    /// A checkpoint is about to be written.
    Checkpoint {
        /// `last` or `best`.
        which: &'static str,
        /// Epochs complete.
        epochs_done: usize,
        /// Steps of the epoch under way that are complete.
        steps_done: usize,
    },
    /// The run ends before its last epoch, because the validation accuracy got no better for long.
    StoppedEarly {
        /// The epoch after which it ends.
        epoch: usize,
        /// Epoch with the highest validation accuracy.
        best_epoch: usize,
    },
    /// The run is complete.
    Finished {
        /// Epoch with the highest validation accuracy.
        best_epoch: usize,
        /// Test accuracy after the last epoch, percent.
        test_top1_last: f64,
        /// Test accuracy of the best epoch by validation, percent.
        test_top1_best: f64,
    },
}

/// Steps between two logged ones.
pub const LOG_EVERY: usize = 50;

/// Watches a run. Nothing that an observer does changes the run.
pub trait Observer: Send {
    /// Called for every event, on the training thread; return soon.
    fn event(&mut self, event: &Event);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: &Event) {}
}

/// `events.jsonl`: one JSON object a line.
#[derive(Debug)]
pub(super) struct EventLog {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl EventLog {
    /// Opens the log and cuts it back to its first `keep` bytes.
    pub(super) fn open(directory: &Path, keep: u64) -> Result<Self> {
        let path = directory.join(file::EVENTS);
        let open = || -> std::io::Result<(File, u64)> {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let found = file.metadata()?.len();
            file.set_len(keep.min(found))?;
            Ok((file, found))
        };
        let (file, found) = open().map_err(|source| io(&path, source))?;
        if found < keep {
            let problem = format!("has {found} bytes, the checkpoint was written at {keep}: the log has been changed");
            return Err(Error::Format { path, problem });
        }
        Ok(Self { path, file, bytes: keep })
    }

    pub(super) fn write(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)
            .map_err(|error| Error::Format { path: self.path.clone(), problem: error.to_string() })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|source| io(&self.path, source))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Makes what was written durable and returns its length.
    pub(super) fn sync(&mut self) -> Result<u64> {
        self.file.sync_data().map_err(|source| io(&self.path, source))?;
        Ok(self.bytes)
    }
}

impl Event {
    /// Whether the event belongs in the log.
    pub(super) fn is_logged(&self, steps_per_epoch: usize) -> bool {
        match self {
            Self::Preparing { .. } | Self::Resumed { .. } | Self::Evaluated { .. } => false,
            Self::Step { epoch, step, .. } => {
                ((epoch - 1) * steps_per_epoch + step).is_multiple_of(LOG_EVERY) || *step == steps_per_epoch
            }
            _ => true,
        }
    }
}
