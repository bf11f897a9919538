//! Reading weights: safetensors and PyTorch checkpoints, told apart by their first bytes, never by executing anything.

mod arrays;
#[cfg(feature = "torch-files")]
mod batch;
#[cfg(feature = "torch-files")]
mod choose;
#[cfg(feature = "torch-files")]
mod legacy;
#[cfg(feature = "torch-files")]
mod pickle;
#[cfg(feature = "torch-files")]
mod pth;
mod safetensors;
#[cfg(not(feature = "torch-files"))]
mod without_torch;

use std::collections::BTreeMap;
use std::path::Path;

use attar_models::Weights;

use crate::error::{Error, Result};
use crate::files;

pub use self::arrays::Arrays;
#[cfg(feature = "torch-files")]
pub use self::batch::python_batch;
#[cfg(feature = "torch-files")]
pub use self::pth::parse as parse_pth;
pub use self::safetensors::{parse as parse_safetensors, parse_arrays};
#[cfg(not(feature = "torch-files"))]
use self::without_torch as pth;
#[cfg(not(feature = "torch-files"))]
pub use self::without_torch::{parse as parse_pth, python_batch};

/// What a file of weights holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// The arrays, converted to `f32`.
    pub weights: Weights,
    /// The metadata of a safetensors file; empty for other formats.
    pub metadata: BTreeMap<String, String>,
    /// Which of several dictionaries was taken, for people.
    pub note: Option<String>,
}

/// What a file of CIFAR's version for Python holds, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonBatch {
    /// Arrays of unsigned bytes: their shape and elements, row by row.
    pub arrays: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
    /// Lists of integers.
    pub numbers: BTreeMap<String, Vec<i64>>,
    /// Lists of texts.
    pub texts: BTreeMap<String, Vec<String>>,
}

/// Reads a safetensors file; `f16`, `bf16`, `f64` and 64-bit integers become `f32`.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is truncated, garbage or holds another element type.
pub fn safetensors(path: &Path) -> Result<Loaded> {
    parse_safetensors(&bytes(path)?, path)
}

/// Reads a safetensors file of our own, every array in its own element type.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is truncated, garbage or holds an element type that
/// [`attar_models::Elements`] has not.
pub fn arrays(path: &Path) -> Result<Arrays> {
    parse_arrays(&bytes(path)?, path)
}

/// Reads a PyTorch checkpoint (`.pth`, `.pt`), zip or legacy pickle, without executing anything in it. A state dictionary
/// that a training script has wrapped (`state_dict`, `model`, `net`, ...) is found.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is truncated or garbage, holds no state dictionary or
/// several, or wants to run code.
pub fn pth(path: &Path) -> Result<Weights> {
    parse_pth(&bytes(path)?, path)
}

/// Reads weights in any known format, told apart by the contents.
///
/// # Errors
/// As [`safetensors`] and [`pth`]; [`Error::Format`] for anything else.
pub fn any(path: &Path) -> Result<Loaded> {
    keyed(path, None)
}

/// Reads the weights under `key` in any known format: of a PyTorch checkpoint a dictionary in it (`state_dict_ema`, dotted
/// where it lies deeper), of any file the arrays whose names begin with it. Without a key an average over the training is
/// taken before the last weights, and [`Loaded::note`] says so.
///
/// # Errors
/// As [`any`]; a key under which there is nothing, with those that there are.
pub fn keyed(path: &Path, key: Option<&str>) -> Result<Loaded> {
    let bytes = bytes(path)?;
    match bytes.as_slice() {
        // A safetensors header is JSON after 8 bytes of length; asked first, since a length can look like a pickle.
        [_, _, _, _, _, _, _, _, b'{', ..] => beneath(parse_safetensors(&bytes, path)?, key, path),
        [b'P', b'K', ..] | [0x80, ..] => {
            let (weights, note) = pth::parse_key(&bytes, key, path)?;
            Ok(Loaded { weights, metadata: BTreeMap::new(), note })
        }
        _ => Err(Error::Format {
            path: path.to_owned(),
            problem: "neither safetensors nor a PyTorch checkpoint (.pth, .pt)".to_owned(),
        }),
    }
}

/// The part of one dictionary whose names begin with `key`.
fn beneath(loaded: Loaded, key: Option<&str>, path: &Path) -> Result<Loaded> {
    let Some(key) = key else { return Ok(loaded) };
    let weights = loaded.weights.under(&format!("{}.", key.trim_matches('.')));
    if weights.0.is_empty() {
        let problem = format!(
            "a safetensors file is one dictionary, and none of its names begins with `{key}.`\n  hint: leave `key` out"
        );
        return Err(Error::Format { path: path.to_owned(), problem });
    }
    Ok(Loaded { weights, ..loaded })
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    files::read(path, files::MOST_BINARY).map_err(|source| Error::Io { path: path.to_owned(), source })
}
