//! JSON files of our own: written whole and atomically, read with a bound.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::{files, write};

/// `value` as the text of a file: indented, with a line end.
///
/// # Errors
/// [`Error::Format`] with `path` when it cannot be said in JSON.
pub fn text(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::Format { path: path.to_owned(), problem: error.to_string() })?;
    text.push(b'\n');
    Ok(text)
}

/// Writes `value` to `path`, atomically.
///
/// # Errors
/// As [`text`]; [`Error::Io`].
pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    write::bytes(path, &text(path, value)?)
}

/// The value that the file at `path` holds.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for what is not the JSON of such a value.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = files::read(path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    parse(path, &bytes)
}

/// [`read`] of bytes; `path` is only named in errors.
///
/// # Errors
/// As [`read`].
pub fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let problem = |error| format!("not the JSON that was expected: {error}");
    serde_json::from_slice(bytes).map_err(|error| Error::Format { path: path.to_owned(), problem: problem(error) })
}
