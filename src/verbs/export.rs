//! `attar export`: a run, or an ONNX file of others, becomes a bundle, verified in every runtime before it gets its name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use attar::end_to_end;
use attar::export::{Exported, OnnxFile, Options, Summary};
use attar::table;
use attar_data::Dataset;
use attar_export::Goldens;
use attar_formats::bundle::EndToEndModel;
use attar_formats::bundle::file::ONNX;
use attar_infer::Certificate;
use attar_infer::cli::data::DataArgs;
use attar_infer::cli::stated::StatedArgs;
use attar_infer::cli::{Versioned, print, say};
use schemars::JsonSchema;
use serde::Serialize;

use super::end_to_end::EndToEndArgs;
use super::unfinished;
use super::verify::with_bar;
use crate::engines::EngineArgs;

/// Exports a run's weights, or an ONNX file of others, as a bundle: ONNX, safetensors, preprocessing, goldens, reference
/// predictions.
///
/// Of an ONNX file the reference answers are its own, in the first runtime that --engine names (without it, in ONNX Runtime
/// where it is there, else tract). Where its every operation is known, the bundle holds the network, its weights, and an ONNX
/// file written of them; else the file as it came. Classes and preprocessing come from its metadata or are stated, never
/// guessed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar export runs/distilled\n  attar export runs/distilled --out shoes --opset 18 --goldens synthetic --license apache-2.0\n  attar export runs/interrupted --unfinished\n  attar export model.onnx --labels labels.txt --preprocessing preprocessor_config.json\n  attar export model.onnx --engine tract --data image-folder:photos --out bundles/asked"
)]
pub(crate) struct Args {
    /// The run directory, or an ONNX file.
    #[arg(value_name = "RUN|FILE")]
    subject: PathBuf,
    /// The bundle directory; `bundles/NAME` without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// ONNX operator set of the file that is written; 17 without it.
    #[arg(long)]
    opset: Option<i64>,
    /// Example images that travel with the bundle: `real` ones of the validation split (of the test split where nothing
    /// was held out; of --data for an ONNX file), `synthetic` ones, or `none`. `real` without it, where there are any.
    #[arg(long, value_parser = goldens)]
    goldens: Option<Goldens>,
    /// Export the last checkpoint of a run that is not finished, marked as such; the run can be resumed afterwards.
    #[arg(long)]
    unfinished: bool,
    /// Licence of the weights, as model hubs write it: `apache-2.0`, `cc-by-nc-4.0`, ...
    #[arg(long, value_name = "NAME", visible_alias = "licence", value_parser = license)]
    license: Option<String>,
    /// Labelled images that an ONNX file is asked about: its answers travel with the bundle.
    #[command(flatten)]
    data: DataArgs,
    /// What an ONNX file does not say.
    #[command(flatten)]
    stated: StatedArgs,
    #[command(flatten)]
    end_to_end: EndToEndArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

fn goldens(name: &str) -> Result<Goldens, String> {
    let all = [Goldens::Real, Goldens::Synthetic, Goldens::None];
    all.into_iter().find(|g| g.name() == name).ok_or_else(|| "expected real, synthetic or none".to_owned())
}

/// One line of text, as it will stand in the model card.
fn license(name: &str) -> Result<String, String> {
    let name = name.trim();
    let plain = !name.is_empty() && name.len() <= 200 && !name.contains(char::is_control);
    if plain { Ok(name.to_owned()) } else { Err("expected a name in one line".to_owned()) }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.end_to_end.check(&args.engines)?;
    let is_file = args.subject.is_file();
    let out = match &args.out {
        Some(out) => out.clone(),
        None => {
            let name = if is_file { args.subject.file_stem() } else { args.subject.file_name() };
            Path::new("bundles").join(name.context("what is to be exported has no name\n  hint: --out gives it one")?)
        }
    };
    let Exported { summary, certificate, notes } = if is_file { file(args, &out)? } else { of_run(args, &out)? };
    notes.iter().for_each(say);
    let end_to_end = args.end_to_end.add(&out, ONNX, &args.engines)?;
    if args.json {
        return Versioned::new(Written { bundle: out, summary, goldens: certificate, end_to_end }).print();
    }
    let known = summary.parameters.zip(summary.macs).map(|(parameters, macs)| {
        format!("{} parameters, {} MACs, ", table::si(parameters as f64), table::si(macs as f64))
    });
    let mut lines = vec![
        out.display().to_string(),
        format!(
            "  {}model.onnx {:.2} MB, opset {}",
            known.unwrap_or_default(),
            summary.onnx_bytes as f64 / 1e6,
            summary.opset
        ),
        format!("  {}", goldens_statement(&certificate, &summary)),
    ];
    if let Some(reference) = &certificate.reference {
        let about = if summary.predictions { "the images of --data and to the goldens" } else { "the goldens" };
        lines.push(format!("  holds the answers of {} {} to {about}", reference.engine, reference.version));
    }
    for runtime in &certificate.runtimes {
        let difference =
            runtime.goldens.as_ref().map(|g| format!(", largest logit difference {:.1e}", g.logit_max_diff));
        let difference = difference.unwrap_or_default();
        lines.push(format!("  loads and runs in {} {}{difference}", runtime.engine, runtime.version));
    }
    for skipped in &certificate.skipped {
        let reason = skipped.reason.lines().next().unwrap_or_default();
        lines.push(format!("  {}: not used, {reason}", skipped.engine));
    }
    lines.extend(end_to_end.iter().map(|made| format!("  {}", end_to_end::text(made))));
    print(&lines.join("\n"))
}

fn options(args: &Args, goldens: Goldens) -> Options {
    let opset = args.opset.unwrap_or(Options::default().opset);
    Options { opset, goldens: args.goldens.unwrap_or(goldens), licence: args.license.clone() }
}

fn of_run(args: &Args, out: &Path) -> Result<Exported> {
    let run = &args.subject;
    let of_files = [
        ("data", args.data.data.is_some()),
        ("labels", args.stated.labels.is_some()),
        ("preprocessing", args.stated.preprocessing.is_some()),
        ("input-shape", args.stated.input_shape.is_some()),
    ];
    if let Some((name, _)) = of_files.iter().find(|(_, given)| *given) {
        bail!("--{name} is for an ONNX file; the run {} says it itself", run.display());
    }
    let left = match args.unfinished {
        true => Some(unfinished::leave(run)?),
        false => unfinished::refuse(run).map(|()| None)?,
    };
    let run = left.as_ref().map_or(run.as_path(), |left| left.path());
    attar::export::export_verified(run, out, &options(args, Goldens::Real), &args.engines)
}

fn file(args: &Args, out: &Path) -> Result<Exported> {
    if args.unfinished {
        bail!("--unfinished is for a run; {} is a file", args.subject.display());
    }
    let file = OnnxFile::open(&args.subject, &args.stated.stated())?;
    if let (Some(opset), Some(why)) = (args.opset, file.obstacle()) {
        bail!(
            "--opset {opset}: nothing is written anew, the file travels as it came, with operator set {}: {why}",
            file.opset()
        );
    }
    let data = args.data.open_for(file.labels())?;
    let options = options(args, if data.is_some() { Goldens::Real } else { Goldens::Synthetic });
    let data: Option<&dyn Dataset> = data.as_deref();
    with_bar("answers", 0, |tick| file.export(out, &options, &args.engines, data, tick))
}

/// What was written, as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Written {
    /// The bundle's directory.
    bundle: PathBuf,
    summary: Summary,
    /// The bundle's goldens in every runtime.
    goldens: Certificate,
    /// The file that takes pixels, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_to_end: Option<EndToEndModel>,
}

fn goldens_statement(certificate: &Certificate, summary: &Summary) -> String {
    let (count, theirs) = (summary.goldens, certificate.reference.is_some());
    let kind =
        certificate.runtimes.iter().filter_map(|runtime| runtime.goldens.as_ref()).map(|g| g.kind.as_str()).next();
    match (count, kind) {
        (0, _) => "holds no goldens".to_owned(),
        (_, Some("real")) if theirs => format!("holds {count} real images of --data as goldens"),
        (_, Some("real")) => format!(
            "holds {count} real images as goldens{}, none of them trained on; use --goldens synthetic for data that must not leave",
            match summary.attacked {
                0 => String::new(),
                attacked => format!(" and {attacked} test images under attack"),
            }
        ),
        _ => format!("holds {count} synthetic goldens, no real image"),
    }
}
