//! How a network learns: recipe → plan → run → checkpoint.

mod batch;
pub mod checkpoint;
mod error;
mod files;
mod hash;
pub mod knots;
pub mod labelling;
pub mod labels;
pub mod losses;
pub mod measures;
pub mod plan;
pub mod recipe;
pub mod run;
pub mod teacher;
mod trainer;

pub use attar_exec::{
    DeviceChoice, Gradients, Network, Outputs, Params, Precision, Tape, check, check_level, device, keep_freed_memory,
    network, optim, params,
};
pub use error::{Error, Result};
pub use plan::{Plan, PlanOptions};
pub use recipe::Recipe;
pub use trainer::Trainer;
