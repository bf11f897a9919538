//! `attar doctor`: what this machine and this build can do, and whether a device computes what it should.

use std::process::ExitCode;

use anyhow::Result;
use attar::table;
use attar_distill::DeviceChoice;
use attar_distill::check::{self, OpCheck};
use attar_infer::cli::say;
use attar_infer::engine::{self, Availability};
use schemars::JsonSchema;
use serde::Serialize;

use super::print;
use crate::engines;

/// Says what this machine and this build can do: devices, SIMD, threads, runtimes and where they were found.
///
/// With --ops it computes every operation of training on a device, and prints how far it is from the reference: the CPU's
/// kernels for CUDA, operations composed in another way for the CPU. It ends with 1 when one is further than its
/// tolerance.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar doctor\n  attar doctor --json\n  attar doctor --ops --device cuda\n  ORT_DYLIB_PATH=/opt/ort/libonnxruntime.so attar doctor"
)]
pub(crate) struct Args {
    /// Check every operation of training instead.
    #[arg(long, conflicts_with = "ort_library")]
    ops: bool,
    /// Where to compute: `cpu`, `cuda` or `auto`.
    #[arg(long, default_value = "cpu", value_parser = device, requires = "ops")]
    device: DeviceChoice,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ort: engines::OrtArgs,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Findings {
    /// Version of the program.
    attar: &'static str,
    target: String,
    threads: usize,
    simd: Vec<&'static str>,
    devices: Vec<Device>,
    engines: Vec<Availability>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Device {
    name: &'static str,
    usable: bool,
    note: String,
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Ends with 1 when a device does not compute what it should.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.ops {
        return ops(args);
    }
    let findings = Findings {
        attar: env!("CARGO_PKG_VERSION"),
        target: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        simd: simd(),
        devices: vec![Device { name: "cpu", usable: true, note: String::new() }, cuda()],
        engines: engine::available(&args.ort.search()),
    };
    print(&if args.json { super::versioned(&findings)? } else { text(&findings) })?;
    Ok(ExitCode::SUCCESS)
}

/// One check of an operation, as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    op: String,
    case: String,
    /// Of the reference's largest value; null where it is not finite or the device failed.
    difference: Option<f64>,
    tolerance: f64,
    ok: bool,
    error: Option<String>,
}

/// All of them.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Checks<'a> {
    checks: &'a [Row],
}

impl From<OpCheck> for Row {
    fn from(check: OpCheck) -> Self {
        let ok = check.passes();
        let OpCheck { op, case, difference, tolerance, error } = check;
        Self { op, case, difference: difference.is_finite().then_some(difference), tolerance, ok, error }
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let difference = self.difference.map_or_else(|| "-".to_owned(), |difference| format!("{difference:.1e}"));
        let verdict = if self.ok { "ok" } else { "FAIL" };
        vec![self.op.clone(), difference, format!("{:.0e}", self.tolerance), verdict.to_owned(), self.case.clone()]
    }
}

fn ops(args: &Args) -> Result<ExitCode> {
    let opened = args.device.open()?;
    if let Some(note) = &opened.note {
        say(note);
    }
    let rows: Vec<Row> = check::ops(&opened.device)?.into_iter().map(Row::from).collect();
    if args.json {
        print(&super::versioned(&Checks { checks: &rows })?)?;
    } else {
        let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
        print(table::render(&["operation", "difference", "tolerance", "", "case"], &cells).trim_end())?;
    }
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.ok).collect();
    let name = attar_distill::device::name(&opened.device);
    for row in &failed {
        let problem = row.error.as_deref().unwrap_or("too far from the reference");
        say(format!("FAIL {} ({}): {problem}", row.op, row.case));
    }
    say(format!("{} of {} results on {name} are as they should be", rows.len() - failed.len(), rows.len()));
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn cuda() -> Device {
    match attar_distill::DeviceChoice::Cuda.open() {
        Ok(_) => Device { name: "cuda", usable: true, note: String::new() },
        Err(error) => Device { name: "cuda", usable: false, note: error.to_string() },
    }
}

fn text(findings: &Findings) -> String {
    let simd = if findings.simd.is_empty() { "none detected".to_owned() } else { findings.simd.join(" ") };
    let mut lines = vec![
        format!("attar {} on {}", findings.attar, findings.target),
        format!("threads   {}", findings.threads),
        format!("simd      {simd}"),
    ];
    for device in &findings.devices {
        lines.push(format!("device    {:<6} {}", device.name, if device.usable { "usable" } else { &device.note }));
    }
    for engine in &findings.engines {
        let library = engine.library.as_ref().map(|path| format!(" from {}", path.display())).unwrap_or_default();
        let state = engine.problem.clone().unwrap_or_else(|| engine.version.clone().unwrap_or_default() + &library);
        lines.push(format!("engine    {:<6} {}", engine.engine, state.replace('\n', "\n                 ")));
    }
    lines.join("\n")
}

#[cfg(target_arch = "x86_64")]
fn simd() -> Vec<&'static str> {
    let levels = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    levels.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

#[cfg(target_arch = "aarch64")]
fn simd() -> Vec<&'static str> {
    vec!["neon"]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn simd() -> Vec<&'static str> {
    Vec::new()
}
