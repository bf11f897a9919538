//! What rooms hand each other, each file with one owner: one struct a contract, with its version, reading, writing and checks.

pub mod bundle;
pub mod card;
pub mod certificate;
pub mod checkpoint;
pub mod classes;
mod error;
pub mod exact;
pub mod files;
pub mod graph;
pub mod hash;
pub mod json;
pub mod labels;
pub mod metrics;
pub mod npy;
pub mod onnx_metadata;
pub mod read;
pub mod receipt;
pub mod recorded;
pub mod reference;
pub mod rename;
pub mod run;
#[cfg(feature = "schema")]
pub mod schema;
mod strangers;
pub mod write;

pub use card::Card;
pub use error::{Error, Result};
