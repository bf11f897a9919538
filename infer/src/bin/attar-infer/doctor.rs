//! `attar-infer doctor`: which runtimes are at hand.

use std::path::PathBuf;

use anyhow::Result;
use attar_infer::engine::available;
use clap::Args;

use crate::common::{print, search};

/// Says which runtimes are at hand, and why others are not
#[derive(Debug, Args)]
#[command(after_help = "Example:
  attar-infer doctor --json")]
pub(crate) struct Arguments {
    /// ONNX Runtime's library; also the variable `ORT_DYLIB_PATH`
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let found = available(&search(arguments.ort_library.clone()));
    if arguments.json {
        print(&serde_json::to_string_pretty(&found)?)?;
        return Ok(0);
    }
    for runtime in &found {
        let from = runtime.library.as_ref().map(|l| format!(" from {}", l.display())).unwrap_or_default();
        print(&match (&runtime.version, &runtime.problem) {
            (Some(version), None) => format!("{}: {version}{from}", runtime.engine),
            (_, problem) => format!("{}: not available: {}", runtime.engine, problem.as_deref().unwrap_or("unknown")),
        })?;
    }
    Ok(0)
}
