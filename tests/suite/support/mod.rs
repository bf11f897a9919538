//! What the tests of the suite share: the program, a trained scene, what a test says when it cannot run, the large ones.

pub(crate) mod program;
pub(crate) mod scene;
pub(crate) mod schema;

use std::io::Write;

use attar_infer::engine::{OrtSearch, onnx_runtime};

/// Whether ONNX Runtime is there for a test that needs it. Without it the test must leave it out; the miss is printed,
/// written to the file named by `ATTAR_MISSED_TESTS`, and a failure when `CI=true`.
pub(crate) fn require_ort(test: &str) -> bool {
    if onnx_runtime(&OrtSearch::default()).is_some() {
        return true;
    }
    let line = format!("tool: {test}: ONNX Runtime");
    eprintln!("did not run: {line}");
    if let Some(file) = std::env::var_os("ATTAR_MISSED_TESTS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
        writeln!(file.expect("the list of missed tests can be opened"), "{line}").expect("it can be written");
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have ONNX Runtime");
    false
}

/// Whether the tests that take long were asked for: `cargo xtask test --full`.
pub(crate) fn full_tests() -> bool {
    std::env::var("ATTAR_FULL_TESTS").as_deref() == Ok("1")
}
