//! The corpus as files, for whoever runs it elsewhere.

use std::path::Path;

use attar_formats::{npy, write};
use attar_models::Array;
use serde::Serialize;

use super::case::{Case, Family, Judge};
use crate::error::{Error, Result};

/// A case in `cases.json`.
#[derive(Serialize)]
struct Kept<'c> {
    name: &'c str,
    family: Family,
    about: &'c str,
    opset: i64,
    judge: Judge,
}

/// Writes `NAME.onnx`, `NAME.input.npy` and `NAME.expected.npy` of each case, and `cases.json`, which says what they are about and
/// how they are judged.
///
/// # Errors
/// As [`Case::expected`], and when a file cannot be written.
pub fn keep(folder: &Path, cases: &[Case]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let mut all = Vec::new();
    for case in cases {
        let n = case.images();
        let expected = case.expected()?;
        let shape = [&[n], &case.image[..]].concat();
        let of = |what: &str| folder.join(format!("{}.{what}", case.name));
        write::bytes(&of("onnx"), &case.bytes())?;
        write::bytes(&of("input.npy"), &npy::bytes(&Array::new(shape, case.input.clone())?))?;
        let rows = vec![n, expected.len() / n.max(1)];
        write::bytes(&of("expected.npy"), &npy::bytes(&Array::new(rows, expected)?))?;
        let Case { name, family, about, judge, .. } = case;
        all.push(Kept { name, family: *family, about, opset: case.opset(), judge: *judge });
    }
    let failed = |error: serde_json::Error| Error::Data { problem: error.to_string() };
    write::bytes(&folder.join("cases.json"), serde_json::to_string_pretty(&all).map_err(failed)?.as_bytes())?;
    Ok(())
}
