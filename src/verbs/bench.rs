//! `attar bench`: latency, memory and size of a bundle, side by side over runtimes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use attar_infer::Bundle;
use attar_infer::bench::{self, Measurement, Options};

use super::print;
use crate::engines::EngineArgs;
use crate::table;

/// Measures a bundle in every runtime at hand: latency quantiles, peak memory, size.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar bench bundles/distilled\n  attar bench bundles/distilled --batch 8 --engine-threads 2 --json"
)]
pub(crate) struct Args {
    /// The bundle directory.
    bundle: PathBuf,
    /// Images in one call.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Shortest measured time of each runtime.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let bundle = Bundle::open(&args.bundle)?;
    let least_time = Duration::try_from_secs_f64(args.seconds)?;
    let options = Options { batch: args.batch, least_time, ..Options::default() };
    let measured = bench::bench(&bundle, &args.engines.usable()?, &options)?;
    if args.json {
        return print(&serde_json::to_string_pretty(&measured)?);
    }
    let header = ["runtime", "min ms", "p50 ms", "p90 ms", "p99 ms", "images/s", "relative", "peak memory", "file"];
    let rows: Vec<Vec<String>> = measured.iter().map(row).collect();
    print(&table::render(&header, &rows))
}

fn row(one: &Measurement) -> Vec<String> {
    let ms = |value: f64| format!("{value:.3}");
    let memory = one.peak_memory_bytes.map_or("-".to_owned(), |bytes| table::si(bytes as f64) + "B");
    let latency = &one.latency_ms;
    vec![
        format!("{} {}", one.engine, one.version),
        ms(latency.min),
        ms(latency.p50),
        ms(latency.p90),
        ms(latency.p99),
        format!("{:.0}", one.images_per_second),
        format!("{:.2}", one.relative),
        memory,
        table::si(one.file_bytes as f64) + "B",
    ]
}
