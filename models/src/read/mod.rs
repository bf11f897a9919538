//! Reading weights: safetensors and PyTorch checkpoints, told apart by their first bytes, never by executing anything.

mod safetensors;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::weights::Weights;

pub use self::safetensors::parse as parse_safetensors;

/// What a file of weights holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// The arrays, converted to `f32`.
    pub weights: Weights,
    /// The metadata of a safetensors file; empty for other formats.
    pub metadata: BTreeMap<String, String>,
}

/// Reads a safetensors file; `f16`, `bf16`, `f64` and 64-bit integers become `f32`.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is truncated, garbage or holds another element type.
pub fn safetensors(path: &Path) -> Result<Loaded> {
    parse_safetensors(&bytes(path)?, path)
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}
