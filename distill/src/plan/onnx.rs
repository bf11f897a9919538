//! ONNX files in a plan: read as networks.

use std::path::Path;

use attar_formats::files;
use attar_onnx::{Import, ReadOptions};

use crate::error::{Error, Result};

/// What a file holds. `input` are sizes for a file that leaves its own open.
pub(super) fn read(path: &Path, input: [usize; 3]) -> Result<Import> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let bytes = files::read(path, files::MOST_BINARY).map_err(io)?;
    attar_onnx::read(&bytes, path, ReadOptions { input: Some(input) }).map_err(|error| match error {
        attar_onnx::Error::File { path, problem } => Error::Format { path, problem },
        other => Error::Format { path: path.to_owned(), problem: other.to_string() },
    })
}
