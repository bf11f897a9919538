//! Installs pinned Python wheels into a folder: how NVIDIA's compilers come to a machine that has none.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// Installs what `pins` asks for (`name==version --hash=sha256:...` a line) into a new folder in `parent`.
pub(crate) fn install(pins: &str, parent: &Path) -> Result<TempDir> {
    std::fs::create_dir_all(parent)?;
    let scratch = tempfile::tempdir_in(parent)?;
    let requirements = scratch.path().join("requirements.txt");
    std::fs::write(&requirements, pins)?;
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"])
        .args(["--no-deps", "--no-compile"])
        .args(["--only-binary=:all:", "--require-hashes", "--requirement"])
        .arg(&requirements)
        .arg("--target")
        .arg(scratch.path())
        .status()
        .context("python3 could not be started\n  hint: install Python with pip")?;
    if !status.success() {
        bail!("pip could not install NVIDIA's wheels ({status})");
    }
    Ok(scratch)
}
