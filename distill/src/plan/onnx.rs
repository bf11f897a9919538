//! ONNX files read as networks.

use std::path::Path;

use attar_formats::files;
use attar_models::{Graph, Weights};
use attar_onnx::{Import, ReadOptions};

use crate::error::{Error, Result};

/// What a file holds. `input` are sizes for a file that leaves its own open.
pub(crate) fn read(path: &Path, input: Option<[usize; 3]>) -> Result<Import> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let bytes = files::read(path, files::MOST_BINARY).map_err(io)?;
    attar_onnx::read(&bytes, path, ReadOptions { input }).map_err(|error| match error {
        attar_onnx::Error::File { path, problem } => Error::Format { path, problem },
        other => Error::Format { path: path.to_owned(), problem: other.to_string() },
    })
}

/// The network that a file is, to be trained; the error says what stands in the way of that.
pub(crate) fn network(import: Import) -> std::result::Result<(Graph, Weights), String> {
    import.network.ok_or_else(|| {
        let obstacles: String = import.obstacles.iter().map(|obstacle| format!("\n  {obstacle}")).collect();
        let hint = "`attar inspect` shows all of it; a teacher it can be in any case";
        format!("is no network that can be trained here:{obstacles}\n  hint: {hint}")
    })
}
