//! `attar-infer doctor`: which runtimes are at hand.

use anyhow::Result;
use serde::Serialize;

use super::engines::OrtArgs;
use super::{Exit, Versioned, print};
use crate::engine::{Availability, available};

/// Says which runtimes are at hand, where they were found, and why others are not.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where ONNX Runtime is.
    #[command(flatten)]
    pub ort: OrtArgs,
}

/// Commands that work, for `--help`.
pub fn examples(program: &str) -> String {
    format!("Examples:\n  {program} doctor\n  {program} doctor --json")
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Found {
    engines: Vec<Availability>,
}

/// Looks.
///
/// # Errors
/// When the result cannot be printed.
pub fn run(args: &Args) -> Result<Exit> {
    let engines = available(&args.ort.search());
    if args.json {
        Versioned::new(Found { engines }).print()?;
        return Ok(Exit::Held);
    }
    for runtime in &engines {
        let from = runtime.library.as_ref().map(|library| format!(" from {}", library.display())).unwrap_or_default();
        print(&match (&runtime.version, &runtime.problem) {
            (Some(version), None) => format!("{}: {version}{from}", runtime.engine),
            (_, problem) => format!("{}: not available: {}", runtime.engine, problem.as_deref().unwrap_or("unknown")),
        })?;
    }
    Ok(Exit::Held)
}
