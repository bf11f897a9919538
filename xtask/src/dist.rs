//! Builds the edge binary as it is shipped.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Builds `attar-infer` with the `dist` profile (fat LTO, stripped) and prints its path and size.
pub(crate) fn build() -> Result<()> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--profile", "dist", "--package", "attar-infer"])
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "the build failed ({status})");
    let target =
        std::env::current_exe()?.ancestors().nth(2).context("xtask does not run from a target folder")?.to_owned();
    let program = target.join("dist").join("attar-infer");
    let bytes = std::fs::metadata(&program)?.len();
    println!("{}: {:.1} MB", program.display(), bytes as f64 / 1e6);
    Ok(())
}
