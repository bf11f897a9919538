//! How a network works away from home: engines, parity, bench, report.
pub mod engine;
mod error;
pub use engine::{Engine, EngineKind, EngineSpec};
pub use error::{Error, Result};
