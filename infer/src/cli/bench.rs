//! `bench`: latency, memory and size of a bundle, side by side over runtimes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use super::engines::EngineArgs;
use super::{Exit, Versioned, print};
use crate::bench::{Measurement, Options, bench, table};
use crate::bundle::Bundle;

/// Measures a bundle in every runtime at hand: latency quantiles, peak memory, size.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// Images in one call.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub batch: usize,
    /// Shortest measured time of each runtime.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub seconds: f64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// In which runtimes.
    #[command(flatten)]
    pub engines: EngineArgs,
}

/// Commands that work, for `--help`.
pub fn examples(program: &str) -> String {
    format!(
        "Examples:\n  {program} bench bundles/distilled\n  {program} bench bundles/distilled --batch 8 --engine-threads 2 --json"
    )
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Measured {
    runtimes: Vec<Measurement>,
}

/// Measures.
///
/// # Errors
/// As [`bench`](crate::bench::bench()).
pub fn run(args: &Args) -> Result<Exit> {
    let Ok(least_time) = Duration::try_from_secs_f64(args.seconds) else {
        bail!("--seconds {}: expected a time", args.seconds);
    };
    let bundle = Bundle::open(&args.bundle)?;
    let options = Options { batch: args.batch, least_time, ..Options::default() };
    let runtimes = bench(&bundle, &args.engines.usable(), &options)?;
    match args.json {
        true => Versioned::new(Measured { runtimes }).print()?,
        false => print(&table(&runtimes))?,
    }
    Ok(Exit::Held)
}
