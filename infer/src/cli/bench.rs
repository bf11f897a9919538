//! `bench`: latency, memory and size of a bundle or an ONNX file, side by side over runtimes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use super::engines::EngineArgs;
use super::stated::shape;
use super::{Exit, Versioned, print};
#[cfg(feature = "edge")]
use crate::bench::{self, Profile};
use crate::bench::{Clock, Interleaved, Measurement, Options, Turns, bench_side, interleave, interleaved_table, table};
use crate::engine::EngineKind;
use crate::parity::Skipped;
use crate::side::{Side, Stated};

/// Measures a bundle or an ONNX file in every runtime at hand: latency quantiles, peak memory, size.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bundle directories, ONNX files or plans.
    #[arg(value_name = "BUNDLE|FILE", required = true)]
    pub subjects: Vec<PathBuf>,
    /// Shape of its image, e.g. 3,224,224, where an ONNX file leaves sizes open.
    #[arg(long, value_name = "C,H,W", value_parser = shape)]
    pub input_shape: Option<[usize; 3]>,
    /// Images in one call.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub batch: usize,
    /// Shortest measured time of each runtime.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub seconds: f64,
    /// Let all models and runtimes take turns, and tell how many times as fast as the first each is, with an interval.
    #[arg(long)]
    pub interleave: bool,
    /// Measure the CPU time of the calling thread instead of the wall's; for one thread.
    #[arg(long, requires = "interleave")]
    pub cpu_time: bool,
    /// Measure each layer of the engine `attar`: its time, and its speed beside what the engine reaches at best on this machine.
    #[arg(long, conflicts_with_all = ["interleave", "batch"])]
    pub profile: bool,
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
         {program} bench model.onnx\n  {program} bench model.attar model.onnx --interleave --cpu-time\n  \
         {program} bench model.onnx --profile"
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

/// What came of taking turns.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Beside {
    beside: Interleaved,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    skipped: Vec<Skipped>,
}

/// Measures.
///
/// # Errors
/// As [`bench_side`] and [`interleave`].
pub fn run(args: &Args) -> Result<Exit> {
    let Ok(least_time) = Duration::try_from_secs_f64(args.seconds) else {
        bail!("--seconds {}: expected a time", args.seconds);
    };
    if args.cpu_time && args.engines.engine_threads != 1 {
        bail!(
            "--cpu-time with {} threads: only the calling thread's time would be told\n  hint: leave --engine-threads or --cpu-time out",
            args.engines.engine_threads
        );
    }
    let stated = Stated { input: args.input_shape, ..Stated::default() };
    let sides: Vec<Side> = args.subjects.iter().map(|path| Side::open(path, &stated)).collect::<Result<_, _>>()?;
    if args.profile {
        return profiled(args, &sides, least_time);
    }
    let optional = if args.engines.engine.is_empty() { args.engines.usable() } else { Vec::new() };
    let wanted = args.engines.named();
    if args.interleave {
        let clock = if args.cpu_time { Clock::Cpu } else { Clock::Wall };
        let turns = Turns { batch: args.batch, least_rounds: 30, least_time, clock };
        let (found, skipped) = interleave(&sides, &wanted, &optional, &turns)?;
        return told(args, interleaved_table(&found), Beside { beside: found, skipped });
    }
    let options = Options { batch: args.batch, least_time, ..Options::default() };
    let (mut runtimes, mut skipped) = (Vec::new(), Vec::new());
    for side in &sides {
        let (measured, left_out) = bench_side(side, &wanted, &optional, &options)?;
        runtimes.extend(measured);
        skipped.extend(left_out);
    }
    told(args, table(&runtimes), Measured { runtimes, skipped })
}

/// Where the time goes in each model.
#[cfg(feature = "edge")]
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Profiled {
    profiles: Vec<Profile>,
}

/// Measures layers, which one engine lets itself be watched at.
#[cfg(feature = "edge")]
fn profiled(args: &Args, sides: &[Side], least_time: Duration) -> Result<Exit> {
    if let Some(other) = args.engines.engine.iter().find(|kind| **kind != EngineKind::Attar) {
        bail!("--profile: {other} tells nothing of its layers\n  hint: --engine attar");
    }
    let spec = args.engines.spec(EngineKind::Attar);
    let mut profiles = Vec::new();
    for side in sides {
        profiles.extend(bench::profile(side, &spec, least_time)?);
    }
    match args.json {
        true => Versioned::new(Profiled { profiles }).print()?,
        false => print(&profiles.iter().map(bench::profile_table).collect::<Vec<_>>().join("\n\n"))?,
    }
    Ok(Exit::Held)
}

#[cfg(not(feature = "edge"))]
fn profiled(_: &Args, _: &[Side], _: Duration) -> Result<Exit> {
    bail!("--profile: this build leaves the engine `{}` out\n  hint: build with `--features edge`", EngineKind::Attar);
}

/// Prints what was measured, and what was not.
fn told(args: &Args, table: String, found: impl Serialize + Skips) -> Result<Exit> {
    match args.json {
        true => Versioned::new(found).print()?,
        false => {
            let skipped = found.skipped().iter().map(|one| format!("{}: not measured, {}", one.engine, one.reason));
            print(&std::iter::once(table).chain(skipped).collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(Exit::Held)
}

trait Skips {
    fn skipped(&self) -> &[Skipped];
}

impl Skips for Measured {
    fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

impl Skips for Beside {
    fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}
