//! `attar-infer bench`: latency, memory and size.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use attar_infer::bench::{Options, bench, table};
use attar_infer::engine::{EngineKind, available};
use attar_infer::{Bundle, EngineSpec};
use clap::Args;

use crate::common::{EngineOptions, print, search};

/// Measures latency, memory and size in every runtime at hand
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  attar-infer bench bundle
  attar-infer bench bundle --engine tract --batch 8 --threads 2 --json")]
pub(crate) struct Arguments {
    /// Bundle directory
    bundle: PathBuf,
    /// Images of a call
    #[arg(long, default_value_t = 1, value_name = "N")]
    batch: usize,
    /// Shortest measured time of a runtime
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineOptions,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let Ok(least_time) = Duration::try_from_secs_f64(arguments.seconds) else {
        bail!("--seconds {}: expected a time", arguments.seconds);
    };
    let bundle = Bundle::open(&arguments.bundle)?;
    let options = Options { batch: arguments.batch, least_time, ..Options::default() };
    let measurements = bench(&bundle, &specs(arguments), &options)?;
    print(&if arguments.json { serde_json::to_string_pretty(&measurements)? } else { table(&measurements) })?;
    Ok(0)
}

/// The named runtimes, or every one at hand.
fn specs(arguments: &Arguments) -> Vec<EngineSpec> {
    let named = arguments.engine.named();
    if !named.is_empty() {
        return named;
    }
    let ort = arguments.engine.spec(EngineKind::Ort).ort.library;
    let usable = available(&search(ort)).into_iter().filter(|a| a.usable());
    usable.map(|a| arguments.engine.spec(a.engine)).collect()
}
