//! How a network learns: recipe → plan → run → checkpoint.

mod arrays;
mod batch;
pub mod checkpoint;
mod error;
mod files;
pub mod knots;
pub mod labelling;
pub mod labels;
pub mod losses;
pub mod plan;
pub mod recipe;
pub mod run;
mod schema;
pub mod teacher;

pub use attar_exec::{
    DeviceChoice, Gradients, Network, Outputs, Params, Precision, Tape, check, check_level, device, network, optim,
    params, profile,
};
pub use error::{Error, Result};
pub use plan::{Plan, PlanOptions};
pub use recipe::Recipe;
