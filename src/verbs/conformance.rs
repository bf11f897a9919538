//! `attar conformance`: whether the engines at hand compute what files say.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use attar_formats::write;
use attar_infer::EngineKind;
use attar_infer::cli::engines::OrtArgs;
use attar_infer::cli::{Exit, say};
use attar_infer::conformance::{Case, Conformance, Verdict, cases, conformance, keep, page};
use attar_infer::engine::{EngineSpec, available};

use super::print;
use super::verify::with_bar;

/// Asks every engine at hand a corpus of small ONNX files, each about one thing that runtimes have got wrong or may.
///
/// What is right is computed by a definition of our own, operation by operation as ONNX's text has it. An answer is right, one
/// step of its bytes off as another right rounding would have it, refused, wrong, or a crash. Wrong answers that are known of a
/// runtime stay in the table with a line that says why. docs/conformance.md is made by it.
///
/// Exit codes: 0 no wrong answer but those that are explained, 1 others, 2 any error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar conformance --engine attar,tract\n  attar conformance --only s8 --engine attar --json\n  attar conformance --only opset --engine tract --keep corpus --markdown conformance.md"
)]
pub(crate) struct Args {
    /// Engines to ask, comma separated: attar, tract, ort. Without it, every one at hand.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    engine: Vec<EngineKind>,
    /// Only cases whose name has this.
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// Write the table to this file, as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the cases to this folder: NAME.onnx, NAME.input.npy, NAME.expected.npy and cases.json.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Where ONNX Runtime is.
    #[command(flatten)]
    ort: OrtArgs,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let all = cases()?;
    let wanted = |case: &Case| args.only.as_ref().is_none_or(|part| case.name.contains(part.as_str()));
    let (count, cases): (usize, Vec<Case>) = (all.len(), all.into_iter().filter(wanted).collect());
    if cases.is_empty() {
        bail!(
            "--only {}: none of {count} cases has it in its name\n  hint: docs/conformance.md lists them",
            args.only.as_deref().unwrap_or_default()
        );
    }
    if let Some(folder) = &args.keep {
        keep(folder, &cases)?;
    }
    let engines = engines(args);
    let found = with_bar("conformance", 0, |tick| Ok(conformance(&cases, &engines, tick)?))?;
    if let Some(file) = &args.markdown {
        write::bytes(file, page(&found).as_bytes())?;
    }
    match args.json {
        true => print(&super::versioned(&found)?)?,
        false => print(&text(&found))?,
    }
    let unexplained = found.unexplained();
    for (row, answer) in &unexplained {
        say(format_args!("{}: {} is {}, and nothing says why", row.name, answer.engine, answer.verdict.word()));
    }
    Ok(if unexplained.is_empty() { Exit::Held } else { Exit::NotSo }.into())
}

/// Those that were named, or every one at hand: our own first.
fn engines(args: &Args) -> Vec<EngineSpec> {
    let search = args.ort.search();
    let spec = |kind: EngineKind| EngineSpec { ort: search.clone(), ..EngineSpec::new(kind) };
    if !args.engine.is_empty() {
        return args.engine.iter().map(|kind| spec(*kind)).collect();
    }
    let found = available(&search);
    let there = |kind: &EngineKind| found.iter().any(|found| found.engine == *kind && found.usable());
    [EngineKind::Attar, EngineKind::Tract, EngineKind::Ort].into_iter().filter(there).map(spec).collect()
}

/// What is not right, and how much is.
fn text(found: &Conformance) -> String {
    let mut lines = Vec::new();
    for row in &found.cases {
        for answer in row.answers.iter().filter(|answer| answer.verdict != Verdict::Right) {
            let off = answer.distance.map(|distance| format!(", {:.1} % of the numbers off", distance.off * 100.0));
            let why = answer.known.as_ref().or(answer.said.as_ref());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let word = answer.verdict.word();
            lines.push(format!("{:28} {:6} {word}{}{why}", row.name, answer.engine.name(), off.unwrap_or_default()));
        }
    }
    for asked in &found.engines {
        let count = |verdict| found.count(asked.engine, verdict);
        lines.push(format!(
            "{} {}: {} of {} right, {} one step off, {} refused, {} wrong, {} crashed",
            asked.engine,
            asked.version,
            count(Verdict::Right),
            found.cases.len(),
            count(Verdict::OneStep),
            count(Verdict::Refused),
            count(Verdict::Wrong),
            count(Verdict::Crashed),
        ));
    }
    lines.join("\n")
}
