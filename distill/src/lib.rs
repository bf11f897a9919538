//! How a network learns: recipe → plan → run → checkpoint.

pub mod device;
mod error;
pub mod knots;
pub mod losses;
pub mod network;
mod ops;
pub mod optim;
pub mod params;

pub use device::DeviceChoice;
pub use error::{Error, Result};
pub use network::{Gradients, Network, Outputs, Tape};
pub use params::Params;
