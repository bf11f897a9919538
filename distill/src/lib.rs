//! How a network learns: recipe → plan → run → checkpoint.

mod error;

pub use error::{Error, Result};
