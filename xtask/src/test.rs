//! Runs every test and says plainly which ones could not run.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{cargo, onnxruntime};

/// SIMD levels below the best one that this machine has, as `ATTAR_SIMD` names them.
pub(crate) const LOWER_LEVELS: [&str; 2] = ["avx2", "scalar"];

/// Fetches ONNX Runtime, runs all tests, then reports what did not run.
///
/// Tests that lack something append a line `test: what is missing` to the file named by `ATTAR_MISSED_TESTS`.
pub(crate) fn run(full: bool, rest: &[String]) -> Result<()> {
    let in_ci = cargo::in_ci();
    let missed_file = tempfile::NamedTempFile::new()?;
    let mut cargo = cargo::command();
    cargo.args(["test", "--release", "--workspace", "--no-fail-fast"]).arg("--").args(rest);
    cargo.env("ATTAR_MISSED_TESTS", missed_file.path());
    if full {
        cargo.env("ATTAR_FULL_TESTS", "1");
    }
    match onnxruntime::fetch() {
        Ok(library) => {
            eprintln!("ONNX Runtime: {}", library.display());
            cargo.env("ORT_DYLIB_PATH", library);
        }
        Err(error) if in_ci => return Err(error.context("CI needs ONNX Runtime")),
        Err(error) => eprintln!("ONNX Runtime could not be fetched, its tests will not run: {error:#}"),
    }
    let status = cargo.status().context("cargo could not be started")?;
    let missed = report_missed(missed_file.path())?;
    if !status.success() {
        bail!("tests failed ({status})");
    }
    if rest.is_empty() {
        lower_simd_levels()?;
    }
    if missed > 0 && in_ci {
        bail!("{missed} tests did not run");
    }
    Ok(())
}

/// Tests the kernels again at the lower SIMD levels, all of their tests; one of them fails where a level is not there.
fn lower_simd_levels() -> Result<()> {
    for level in LOWER_LEVELS {
        eprintln!("the kernels with ATTAR_SIMD={level}");
        let mut cargo = cargo::command();
        cargo.args(["test", "--release", "--package", "attar-kernels"]).env("ATTAR_SIMD", level);
        let status = cargo.status().context("cargo could not be started")?;
        if !status.success() {
            bail!("the kernels failed at the level {level} ({status})");
        }
    }
    Ok(())
}

fn report_missed(file: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(file)?;
    let missed: std::collections::BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    if missed.is_empty() {
        eprintln!("every test ran");
    } else {
        eprintln!("{} tests did not run:", missed.len());
        missed.iter().for_each(|line| eprintln!("  {line}"));
    }
    Ok(missed.len())
}
