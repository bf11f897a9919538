//! How chores call cargo, and the target folder that they share with it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

/// The cargo that started this program.
pub(crate) fn command() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The target folder this program was built into: `target/release/xtask` lies two levels below it.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).context("xtask does not run from a target folder")?;
    Ok(folder.to_owned())
}
