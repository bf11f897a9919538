//! Runs the kernels' tests under the address sanitizer: all `unsafe` that a CPU runs is theirs.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::test::LOWER_LEVELS;

/// Accesses are checked by calls: checked in place, the unrolled kernels would compile for a quarter of an hour.
const FLAGS: &str = "-Zsanitizer=address -Cllvm-args=-asan-instrumentation-with-call-threshold=0";

/// Builds with a nightly toolchain into a target folder of its own, then tests at every SIMD level.
pub(crate) fn run() -> Result<()> {
    let host = nightly_host()?;
    let target = cargo::target_folder()?.join("sanitize");
    for level in std::iter::once(None).chain(LOWER_LEVELS.map(Some)) {
        eprintln!("the kernels under the address sanitizer, {}", level.unwrap_or("at this machine's best SIMD level"));
        let mut tests = nightly("cargo");
        tests.args(["test", "--release", "--package", "attar-kernels", "--lib", "--tests", "--target", &host]);
        tests.arg("--target-dir").arg(&target).env("RUSTFLAGS", FLAGS);
        // The preconditions that the standard library and the kernels only check when asked to.
        tests.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
        match level {
            Some(level) => tests.env("ATTAR_SIMD", level),
            None => tests.env_remove("ATTAR_SIMD"),
        };
        let status = tests.status().context("rustup could not be started")?;
        if !status.success() {
            bail!("the kernels failed under the address sanitizer ({status})");
        }
    }
    Ok(())
}

/// A program of the nightly toolchain.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    command
}

/// The target triple of this machine; the sanitizer needs one, lest build scripts be sanitized too.
fn nightly_host() -> Result<String> {
    let needed =
        "the address sanitizer needs a nightly toolchain\n  hint: rustup toolchain install nightly --profile minimal";
    let version = nightly("rustc").arg("-vV").output().context(needed)?;
    if !version.status.success() {
        bail!("{needed}\n{}", String::from_utf8_lossy(&version.stderr).trim());
    }
    let version = String::from_utf8_lossy(&version.stdout);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}
