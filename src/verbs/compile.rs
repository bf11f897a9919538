//! `attar compile`: an ONNX file becomes a plan for Attar's own engine.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use attar::compile::{self, Report};
use attar::table::si;
use attar_infer::cli::stated::StatedArgs;
use attar_infer::side::Side;
use schemars::JsonSchema;
use serde::Serialize;

use super::print;

/// Compiles an ONNX file, f32 or quantised, to a plan for the engine `attar`: one file that runs where it lies, with the same
/// int8 answers on every CPU.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar compile model.onnx\n  attar compile model.onnx --preprocessing imagenet --out model.attar\n  attar verify model.attar --against model.onnx"
)]
pub(crate) struct Args {
    /// The ONNX file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// The plan; beside the file, with the ending `attar`, by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What the file does not say itself. With preprocessing, the plan takes pixels as they are, too.
    #[command(flatten)]
    stated: StatedArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Written {
    /// The plan.
    plan: PathBuf,
    /// What it takes and holds.
    report: Report,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let side = Side::open(&args.model, &args.stated.stated())?;
    let [model] = side.models() else {
        bail!("{} is a bundle\n  hint: name its model, e.g. {0}/model.onnx", args.model.display());
    };
    let out = args.out.clone().unwrap_or_else(|| args.model.with_extension("attar"));
    let compiled = compile::compile(model, Some(side.input()), side.preprocessing())?;
    attar_formats::write::atomically(&out, |file| file.write_all(&compiled.plan))
        .with_context(|| out.display().to_string())?;
    let written = Written { plan: out, report: compiled.report };
    match args.json {
        true => print(&super::versioned(&written)?),
        false => print(&text(&written)),
    }
}

fn text(written: &Written) -> String {
    let report = &written.report;
    let steps: Vec<String> = report.steps.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let kib = |bytes: usize| format!("{:.1} KiB", bytes as f64 / 1024.0);
    let integers = 100.0 * report.integer_macs as f64 / report.macs.max(1) as f64;
    let mut lines = vec![
        format!("{}: {}, {}", written.plan.display(), kib(report.bytes), report.precision),
        format!("steps: {}", steps.join(", ")),
        format!(
            "MACs: {}, {integers:.0} % of them in integers (arithmetic {})",
            si(report.macs as f64),
            report.arithmetic
        ),
        format!(
            "memory: {} to work in, {} of packed constants at {}",
            kib(report.working_memory),
            kib(report.packed),
            report.level
        ),
    ];
    if !report.takes_pixels {
        lines.push("takes floats only\n  hint: with --preprocessing it takes pixels as they are, too".to_owned());
    }
    lines.join("\n")
}
