//! What several test binaries share: fixtures, and the way a test says that it could not run.

pub(crate) mod bundle;
pub(crate) mod onnx;

use std::io::Write;
use std::path::{Path, PathBuf};

use attar_infer::engine::{OrtSearch, onnx_runtime};

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|p| p.join("tests/fixtures").is_dir())
        .unwrap()
        .join("tests/fixtures")
        .join(name)
}

/// ONNX Runtime's library for a test that needs it. Without one the test must return; the miss is printed, written to
/// the file named by `ATTAR_MISSED_TESTS`, and a failure when `CI=true`.
pub(crate) fn require_ort(test: &str) -> Option<PathBuf> {
    let found = onnx_runtime(&OrtSearch::default());
    if found.is_none() {
        let line = format!("tool: {test}: ONNX Runtime");
        eprintln!("did not run: {line}");
        if let Some(file) = std::env::var_os("ATTAR_MISSED_TESTS") {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
            writeln!(file, "{line}").unwrap();
        }
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have ONNX Runtime");
    }
    found
}
