//! How a network learns: recipe → plan → run → checkpoint.
//!
//! A recipe is a file ([`Recipe`]), or a program fills it in and brings what no file can name ([`Trainer`]): a data set, a
//! teacher or a loss of its own. Both become a [`Plan`], in which everything is checked, and [`run`] carries it out.

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
mod trainer;

pub use attar_models::{NodeId, Outline};

pub use attar_exec::{
    DeviceChoice, Gradients, Network, Outputs, Params, Precision, Tape, check, check_level, device, network, optim,
    params, profile,
};
pub use error::{Error, Result};
pub use knots::Knots;
pub use plan::{Plan, PlanOptions};
pub use recipe::Recipe;
pub use trainer::{Student, Trainer};
