//! How a network runs and learns on tensors: executor, operations, parameters, optimisers.

pub mod check;
pub mod device;
mod error;
pub mod network;
pub mod ops;
pub mod optim;
pub mod params;
mod precision;

pub use attar_kernels::{check_level, keep_freed_memory};
pub use device::DeviceChoice;
pub use error::{Error, Result};
pub use network::{Gradients, Network, Outputs, Tape};
pub use params::Params;
pub use precision::Precision;
