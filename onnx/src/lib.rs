//! ONNX files: read as networks, and written from them.
//!
//! [`wire`], [`external`] and [`cut`] work on the bytes as they lie and need nothing; what knows networks is behind the feature
//! `network`, so that a small program can do without a compiler of protocol buffers.

pub mod cut;
pub mod external;
pub mod row;
pub mod wire;

#[cfg(feature = "network")]
mod composed;
#[cfg(feature = "network")]
mod error;
#[cfg(feature = "network")]
mod numbers;
#[cfg(feature = "network")]
pub mod proto;
#[cfg(feature = "network")]
mod read;
#[cfg(feature = "network")]
mod windows;
#[cfg(feature = "network")]
mod write;

#[cfg(feature = "network")]
pub use error::{Error, Result};
#[cfg(feature = "network")]
pub use numbers::quantised_parts;
#[cfg(feature = "network")]
pub use read::{Import, Obstacle, Operation, ReadOptions, read, without_norms};
#[cfg(feature = "network")]
pub use write::{
    CLASSES, CONSTANT_MARK, EndToEnd, IMAGE, Options, PROBABILITIES, RESIZE, SUPPORTED_OPSETS, Storage, write,
    write_end_to_end,
};
