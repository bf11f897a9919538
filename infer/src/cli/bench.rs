//! `bench`: latency, memory and size of a bundle or an ONNX file, side by side over runtimes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use super::engines::EngineArgs;
use super::stated::shape;
use super::{Exit, Versioned, print};
use crate::bench::{Measurement, Options, bench_side, table};
use crate::parity::Skipped;
use crate::side::{Side, Stated};

/// Measures a bundle or an ONNX file in every runtime at hand: latency quantiles, peak memory, size.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle directory, or an ONNX file.
    #[arg(value_name = "BUNDLE|FILE")]
    pub subject: PathBuf,
    /// Shape of its image, e.g. 3,224,224, where an ONNX file leaves sizes open.
    #[arg(long, value_name = "C,H,W", value_parser = shape)]
    pub input_shape: Option<[usize; 3]>,
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
        "Examples:\n  {program} bench bundles/distilled\n  {program} bench bundles/distilled --batch 8 --engine-threads 2 --json\n  \
         {program} bench model.onnx"
    )
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Measured {
    runtimes: Vec<Measurement>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    skipped: Vec<Skipped>,
}

/// Measures.
///
/// # Errors
/// As [`bench_side`].
pub fn run(args: &Args) -> Result<Exit> {
    let Ok(least_time) = Duration::try_from_secs_f64(args.seconds) else {
        bail!("--seconds {}: expected a time", args.seconds);
    };
    let side = Side::open(&args.subject, &Stated { input: args.input_shape, ..Stated::default() })?;
    let options = Options { batch: args.batch, least_time, ..Options::default() };
    let optional = if args.engines.engine.is_empty() { args.engines.usable() } else { Vec::new() };
    let (runtimes, skipped) = bench_side(&side, &args.engines.named(), &optional, &options)?;
    let skipped_line = |one: &Skipped| format!("{}: not measured, {}", one.engine, one.reason);
    match args.json {
        true => Versioned::new(Measured { runtimes, skipped }).print()?,
        false => {
            print(
                &std::iter::once(table(&runtimes))
                    .chain(skipped.iter().map(skipped_line))
                    .collect::<Vec<_>>()
                    .join("\n"),
            )?;
        }
    }
    Ok(Exit::Held)
}
