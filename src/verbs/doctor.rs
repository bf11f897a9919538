//! `attar doctor`: what this machine and this build can do.

use anyhow::Result;
use attar_infer::engine::{self, Availability};
use serde::Serialize;

use super::print;
use crate::engines;

/// Says what this machine and this build can do: devices, SIMD, threads, runtimes and where they were found.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar doctor\n  attar doctor --json\n  ORT_DYLIB_PATH=/opt/ort/libonnxruntime.so attar doctor"
)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ort: engines::OrtArgs,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    target: String,
    threads: usize,
    simd: Vec<&'static str>,
    devices: Vec<Device>,
    engines: Vec<Availability>,
}

#[derive(Debug, Serialize)]
struct Device {
    name: &'static str,
    usable: bool,
    note: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        target: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        simd: simd(),
        devices: vec![Device { name: "cpu", usable: true, note: String::new() }, cuda()],
        engines: engine::available(&args.ort.search()),
    };
    if args.json {
        return print(&serde_json::to_string_pretty(&findings)?);
    }
    print(&text(&findings))
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
        format!("attar {} on {}", findings.version, findings.target),
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
