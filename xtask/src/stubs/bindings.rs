//! Reads cudarc's bindings: which functions a CUDA library must have, and the numbers of its error codes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;

/// What a function answers where its library is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The library's own error code.
    Status,
    /// Zero: the function returns a count or a version.
    Zero,
    /// The reason as text: the function returns a string.
    Text,
    /// Success, with the reason as text in the second argument: CUDA's `cuGetErrorString`.
    Explanation,
    /// Nothing.
    Nothing,
}

/// The sources of the cudarc that `Cargo.lock` names.
pub(super) fn cudarc() -> Result<PathBuf> {
    let output = cargo::command()
        .args(["metadata", "--format-version", "1", "--locked", "--features", "cudnn"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    ensure!(output.status.success(), "cargo metadata failed ({})", output.status);
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut found = packages.iter().filter(|package| package["name"] == "cudarc");
    let package = found.next().context("cudarc is no dependency of the feature `cudnn`")?;
    if found.next().is_some() {
        bail!("two versions of cudarc are in Cargo.lock\n  hint: `cargo tree --invert cudarc` says who wants which");
    }
    let manifest = package["manifest_path"].as_str().context("cargo metadata says no manifest_path for cudarc")?;
    Ok(PathBuf::from(manifest).with_file_name("src"))
}

/// The functions in the `extern "C"` blocks of a `sys` module, by name.
pub(super) fn functions(source: &str) -> Result<BTreeMap<String, Answer>> {
    let mut functions = BTreeMap::new();
    let blocks = source.split("extern \"C\" {").skip(1).filter_map(|rest| rest.split('}').next());
    for declaration in blocks.flat_map(|block| block.split(';')).map(str::trim).filter(|text| !text.is_empty()) {
        let (name, answer) = function(declaration).with_context(|| format!("cannot read `{declaration}`"))?;
        if let Some(other) = functions.insert(name.to_owned(), answer)
            && other != answer
        {
            bail!("`{name}` is declared with different return types");
        }
    }
    Ok(functions)
}

fn function(declaration: &str) -> Option<(&str, Answer)> {
    let (name, _) = declaration.strip_prefix("fn ")?.split_once('(')?;
    let returned = declaration.rsplit_once(')')?.1.trim();
    let answer = match returned.strip_prefix("->").map(str::trim) {
        None if returned.is_empty() => Answer::Nothing,
        Some(_) if name == "cuGetErrorString" => Answer::Explanation,
        Some("usize") => Answer::Zero,
        Some("*const ::core::ffi::c_char") => Answer::Text,
        Some(kind) if kind.ends_with("Status_t") || kind.ends_with("Result") || kind == "CUresult" => Answer::Status,
        _ => return None,
    };
    Some((name, answer))
}

/// The number of an error code. Bindings list versions of a library from old to new; Candle asks for the newest.
pub(super) fn code(source: &str, name: &str) -> Result<u32> {
    let value = |line: &str| line.trim().strip_prefix(name)?.strip_prefix(" = ")?.strip_suffix(',')?.parse().ok();
    source.lines().rev().find_map(value).with_context(|| format!("cudarc's bindings have no `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
pub enum cudnnStatus_t {
    CUDNN_STATUS_NOT_INITIALIZED = 1,
    CUDNN_STATUS_NOT_INITIALIZED = 1001,
    CUDNN_STATUS_NOT_INITIALIZED_YET = 7,
}
pub type Callback = ::core::option::Option<unsafe extern "C" fn(a: *mut ::core::ffi::c_void) -> CUresult>;
pub fn cudnnCreate(handle: *mut cudnnHandle_t) -> cudnnStatus_t {
    #[cfg(feature = "dynamic-loading")]
    {
        type _F = unsafe extern "C" fn(*mut cudnnHandle_t) -> cudnnStatus_t;
    }
    #[cfg(not(feature = "dynamic-loading"))]
    {
        extern "C" {
            fn cudnnCreate(handle: *mut cudnnHandle_t) -> cudnnStatus_t;
        }
        cudnnCreate(handle)
    }
}
        extern "C" {
            fn cudnnGetVersion() -> usize;
        }
        extern "C" {
            fn nvrtcCompileProgram(prog: nvrtcProgram) -> nvrtcResult;
            fn cudnnGetErrorString(status: cudnnStatus_t) -> *const ::core::ffi::c_char;
        }
        extern "C" {
            fn cuGetErrorString(error: CUresult, pStr: *mut *const ::core::ffi::c_char) -> CUresult;
            fn cublasXerbla(srName: *const ::core::ffi::c_char, info: ::core::ffi::c_int);
        }
"#;

    #[test]
    fn functions_are_found_with_what_they_return() {
        let expected = [
            ("cuGetErrorString", Answer::Explanation),
            ("cublasXerbla", Answer::Nothing),
            ("cudnnCreate", Answer::Status),
            ("cudnnGetErrorString", Answer::Text),
            ("cudnnGetVersion", Answer::Zero),
            ("nvrtcCompileProgram", Answer::Status),
        ];
        let expected = expected.map(|(name, answer)| (name.to_owned(), answer)).into();
        assert_eq!(functions(SOURCE).unwrap(), expected);
    }

    #[test]
    fn a_return_type_without_an_answer_is_an_error() {
        let message = functions("extern \"C\" { fn cuSquare(x: f64) -> f64; }").unwrap_err().to_string();
        assert!(message.contains("cuSquare"), "{message}");
    }

    #[test]
    fn the_newest_number_of_a_code_counts() {
        assert_eq!(code(SOURCE, "CUDNN_STATUS_NOT_INITIALIZED").unwrap(), 1001);
        assert!(code(SOURCE, "CUDNN_STATUS").is_err());
    }
}
