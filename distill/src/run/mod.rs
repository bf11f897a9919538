//! The run: the only thing that changes while a plan is carried out.
//!
//! [`start`] makes a run directory, [`resume`] goes on in one. Same plan, machine and thread count, same bits, whether or
//! not the program was killed on the way.

mod begin;
pub mod bench;
mod directory;
mod divergence;
mod events;
mod extend;
mod feed;
mod leave;
mod owner;
mod patience;
mod schemas;
mod shield;
mod state_file;
mod step;
mod teacher_check;
mod train;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_formats::Card;
use candle_core::Device;
use rayon::ThreadPool;

use crate::checkpoint::{Failpoint, State, Store};
use crate::error::Result;
use crate::plan::{Plan, PlannedData};
use crate::recipe::Recipe;

pub use crate::checkpoint::{CheckedOn, TeacherCheck};
pub use attar_formats::metrics::Row;
pub use attar_formats::receipt::{RECEIPT_VERSION, Receipt, Sizes, TeacherMeasures, TeacherReceipt, TestMeasures};
pub(crate) use begin::{PROGRAM, pool};
pub use directory::{free, has_checkpoint};
pub use events::{Event, LOG_EVERY, Observer, Silent};
pub(crate) use feed::prefetch::{How, Prefetch, batches};
pub(crate) use owner::Owner;
pub use schemas::schemas;
pub use state_file::{RunState, STATUS_VERSION};
pub use step::split::{Part, Split};

use events::EventLog;
use feed::resident::ResidentImages;
use step::Learner;

/// Carries out a plan in a new run directory, or in that of a run which never made a checkpoint.
///
/// # Errors
/// What [`free`] finds in the directory; another process that works there; anything that goes wrong on the way, with the last
/// good checkpoint kept.
pub fn start(plan: Plan, directory: &Path, observer: &mut dyn Observer) -> Result<Receipt> {
    begin::start(plan, directory, observer)
}

/// Goes on in a run directory from its last checkpoint, with the same bits as if it had never stopped. Logs are cut
/// back to the checkpoint. A run that was stopped before its first checkpoint starts anew.
///
/// A run goes on for more epochs where the recipe says more than it was started with, finished or not; from then on schedules
/// are those of the longer run. Test images may have changed: it is judged by those of now, and its receipt names both.
///
/// # Errors
/// A directory that holds no run; another process that works there; a recipe, training images or teachers that differ from
/// those that it was started with.
pub fn resume(plan: Plan, directory: &Path, observer: &mut dyn Observer) -> Result<Receipt> {
    begin::resume(plan, directory, observer)
}

/// Writes the last checkpoint of an unfinished run into the empty directory `place`, with card and reference answers as a
/// finished run has them; the card says that it was interrupted. The run goes on afterwards as if nothing had been.
///
/// # Errors
/// A run that is finished, or has no checkpoint; another process that works on it; data or teachers that have changed.
pub fn leave(plan: Plan, directory: &Path, place: &Path, observer: &mut dyn Observer) -> Result<Card> {
    leave::unfinished::leave(plan, directory, place, observer)
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
    facts: leave::receipt::Facts,
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
