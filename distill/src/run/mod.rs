//! The run: the only thing that changes while a plan is carried out.
//!
//! [`start`] makes a run directory, [`resume`] goes on in one. Same plan, machine and thread count, same bits, whether or
//! not the program was killed on the way.

mod begin;
pub mod bench;
mod evaluate;
mod events;
mod finish;
mod judge;
mod learner;
mod metrics;
mod mixed;
mod passes;
mod prefetch;
mod receipt;
mod reference;
mod resident;
mod robustness;
mod split;
mod step;
mod teacher_check;
mod train;
mod views;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use rayon::ThreadPool;

use crate::checkpoint::{Failpoint, State, Store};
use crate::error::Result;
use crate::plan::{Plan, PlannedData};
use crate::recipe::Recipe;

pub(crate) use begin::{PROGRAM, pool};
pub(crate) use evaluate::input;
pub use events::{Event, LOG_EVERY, Observer, Silent};
pub use judge::{TeacherMeasures, TestMeasures};
pub use metrics::Row;
pub(crate) use prefetch::{How, Prefetch, batches};
pub use receipt::{Receipt, Sizes, TeacherReceipt};
pub use split::{Part, Split};
pub use teacher_check::{CheckedOn, TeacherCheck};

use events::EventLog;
use learner::Learner;
use resident::ResidentImages;

/// Carries out a plan in a new run directory.
///
/// # Errors
/// A directory that exists already; anything that goes wrong on the way, with the last good checkpoint kept.
pub fn start(plan: Plan, directory: &Path, observer: &mut dyn Observer) -> Result<Receipt> {
    begin::start(plan, directory, observer)
}

/// Goes on in a run directory from its last checkpoint, with the same bits as if it had never stopped. Logs are cut
/// back to the checkpoint. A run that was stopped before its first checkpoint starts anew.
///
/// # Errors
/// A directory that holds no run; a recipe, data or teachers that differ from those that it was started with.
pub fn resume(plan: Plan, directory: &Path, observer: &mut dyn Observer) -> Result<Receipt> {
    begin::resume(plan, directory, observer)
}

/// What a run is told once and never changes.
struct Setup {
    recipe: Recipe,
    data: PlannedData,
    /// The training images, where they live on the device.
    resident: Option<Arc<ResidentImages>>,
    device: Device,
    steps_per_epoch: usize,
    directory: PathBuf,
    store: Store,
    failpoint: Failpoint,
    /// Prepares batches; the network computes in another pool.
    loaders: Arc<ThreadPool>,
    /// What the card and the receipt say beside the numbers.
    facts: receipt::Facts,
}

impl Setup {
    fn loss_names(&self) -> Vec<String> {
        self.recipe.losses.iter().map(|loss| loss.name.clone()).collect()
    }
}

/// A run under way.
struct Run<'a> {
    setup: Setup,
    learner: Learner,
    state: State,
    log: EventLog,
    observer: &'a mut dyn Observer,
}

impl Run<'_> {
    /// Tells the observer and, if it is of lasting interest, the log.
    fn tell(&mut self, event: &Event) -> Result<()> {
        if event.is_logged(self.setup.steps_per_epoch) {
            self.log.write(event)?;
        }
        self.observer.event(event);
        Ok(())
    }
}
