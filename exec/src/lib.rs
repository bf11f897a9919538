//! How a network runs and learns on tensors: executor, operations, parameters, optimisers.

pub mod check;
mod context;
pub mod device;
mod error;
pub mod network;
pub mod ops;
pub mod optim;
pub mod params;
mod precision;

pub use attar_kernels::{check_level, keep_freed_memory};
pub use context::Context;
pub use device::DeviceChoice;
pub use error::{Error, Result};
pub use network::{Frozen, Gradients, Network, Outputs, Tape};
pub use params::{ParamId, Params, Slots};
pub use precision::Precision;
