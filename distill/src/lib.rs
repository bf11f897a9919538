//! How a network learns: recipe → plan → run → checkpoint.

mod arrays;
pub mod check;
pub mod checkpoint;
pub mod device;
mod error;
mod files;
pub mod knots;
pub mod labels;
pub mod losses;
pub mod measures;
pub mod network;
mod ops;
pub mod optim;
pub mod params;
pub mod plan;
mod precision;
pub mod recipe;
pub mod run;
pub mod teacher;

pub use attar_kernels::{check_level, keep_freed_memory};
pub use device::DeviceChoice;
pub use error::{Error, Result};
pub use network::{Gradients, Network, Outputs, Tape};
pub use params::Params;
pub use plan::{Plan, PlanOptions};
pub use precision::Precision;
pub use recipe::Recipe;
