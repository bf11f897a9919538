//! Checkpoints: everything a run needs to go on with the same bits, written so that a kill at any moment loses at most
//! the steps since the last one.

mod state;
mod store;

use attar_models::Weights;

pub use state::{Best, Data, State, Sums};
pub use store::{Failpoint, Stop, Store};

pub use attar_formats::checkpoint::VERSION as CHECKPOINT_VERSION;
pub use attar_formats::exact::Exact;
pub use attar_formats::receipt::{CheckedOn, Extended, Rollback, TeacherCheck};

/// What a checkpoint directory holds.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// `model.safetensors`: the student's parameters and buffers as they are evaluated (averaged, if the recipe averages).
    pub model: Weights,
    /// `trainer.safetensors`: the rest by name: `optimiser.*`, `losses.*`, and `student.*` where an average is kept.
    pub trainer: Weights,
    /// `state.json`: where the run is.
    pub state: State,
}
