//! `attar compile`: an ONNX file, or a bundle's, becomes a plan for Attar's own engine.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attar::compile::{self, Report};
use attar::table::si;
use attar_infer::cli::stated::StatedArgs;
use attar_infer::side::Side;
use schemars::JsonSchema;
use serde::Serialize;

use super::print;

/// Compiles an ONNX file, f32 or quantised, to a plan for the engine `attar`: one file that runs where it lies, with the same
/// int8 answers on every CPU. A bundle gets the plan of its model, checked by its goldens, as one more model.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar compile model.onnx\n  attar compile model.onnx --preprocessing imagenet --out model.attar\n  attar compile bundles/distilled\n  attar bench model.attar model.onnx --interleave"
)]
pub(crate) struct Args {
    /// The ONNX file, or the bundle directory.
    #[arg(value_name = "FILE|BUNDLE")]
    subject: PathBuf,
    /// The plan; beside the file, with the ending `attar`, by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What an ONNX file does not say itself. With preprocessing, the plan takes pixels as they are, too.
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
    let side = Side::open(&args.subject, &args.stated.stated())?;
    let model = side.models().iter().find(|model| !model.is_plan());
    let model = model.with_context(|| format!("{} is a plan already", args.subject.display()))?;
    let compiled = compile::compile(model, Some(side.input()), side.preprocessing())?;
    let write = |path: &Path| -> Result<()> {
        let fill = |file: &mut std::io::BufWriter<std::fs::File>| file.write_all(&compiled.plan);
        attar_formats::write::atomically(path, fill).with_context(|| path.display().to_string())
    };
    let plan = match (side.bundle(), &args.out) {
        (_, Some(out)) => {
            write(out)?;
            out.clone()
        }
        (None, None) => {
            let out = args.subject.with_extension("attar");
            write(&out)?;
            out
        }
        (Some(bundle), None) => {
            let folder = tempfile::tempdir()?;
            let name = Path::new(model.name()).with_extension("attar");
            write(&folder.path().join(&name))?;
            compile::list(bundle, model.name(), &folder.path().join(&name))?;
            bundle.root().join(name)
        }
    };
    let written = Written { plan, report: compiled.report };
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
