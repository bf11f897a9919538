//! How a network works away from home: engines, parity, bench, report.
//!
//! A [`Bundle`], or an ONNX file of others with what was stated about it ([`Side`]), is opened, its model given to an
//! [`Engine`], and then asked: what is this image ([`classify`]), does it still decide like the network that was trained, or
//! like another file ([`parity`]), how fast is it ([`mod@bench`]). Nothing here knows how a network was trained; all it knows
//! of the training is `reference/`, the answers of the very weights that were exported.

pub mod bench;
#[cfg(any(feature = "tract", feature = "ort"))]
pub mod bisect;
pub mod bundle;
#[cfg(any(feature = "tract", feature = "compile"))]
mod caught;
pub mod classify;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "compile")]
pub mod conformance;
#[cfg(all(feature = "ort", feature = "compile"))]
pub mod end_to_end;
pub mod engine;
mod error;
pub mod parity;
pub mod report;
#[cfg(all(feature = "schema", feature = "cli"))]
pub mod schema;
pub mod side;
pub mod subject;

pub use bundle::Bundle;
pub use classify::{Classifier, Guess};
pub use engine::{Engine, EngineKind, EngineSpec};
pub use error::{Error, Result};
pub use parity::{Certificate, Verdict};
pub use side::{Side, Stated};
pub use subject::Subject;
