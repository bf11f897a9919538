//! `attar export`: a run becomes a bundle, verified in every runtime before it gets its name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attar::export::{Exported, Options, Summary};
use attar::table;
use attar_export::Goldens;
use attar_infer::Certificate;
use attar_infer::cli::{Versioned, print, say};
use schemars::JsonSchema;
use serde::Serialize;

use super::unfinished;
use crate::engines::EngineArgs;

/// Exports a run's weights as a bundle: ONNX, safetensors, preprocessing, goldens, reference predictions.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar export runs/distilled\n  attar export runs/distilled --out shoes --opset 18 --goldens synthetic --license apache-2.0\n  attar export runs/interrupted --unfinished"
)]
pub(crate) struct Args {
    /// The run directory.
    run: PathBuf,
    /// The bundle directory; `bundles/NAME` without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// ONNX operator set.
    #[arg(long, default_value_t = Options::default().opset)]
    opset: i64,
    /// Example images that travel with the bundle: `real` ones of the validation split (of the test split where nothing
    /// was held out), `synthetic` ones, or `none`.
    #[arg(long, default_value = "real", value_parser = goldens)]
    goldens: Goldens,
    /// Export the last checkpoint of a run that is not finished, marked as such; the run can be resumed afterwards.
    #[arg(long)]
    unfinished: bool,
    /// Licence of the weights, as model hubs write it: `apache-2.0`, `cc-by-nc-4.0`, ...
    #[arg(long, value_name = "NAME", visible_alias = "licence", value_parser = license)]
    license: Option<String>,
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
    let out = match &args.out {
        Some(out) => out.clone(),
        None => Path::new("bundles").join(args.run.file_name().context("the run directory has no name")?),
    };
    let options = Options { opset: args.opset, goldens: args.goldens, licence: args.license.clone() };
    let left = match args.unfinished {
        true => Some(unfinished::leave(&args.run)?),
        false => unfinished::refuse(&args.run).map(|()| None)?,
    };
    let run = left.as_ref().map_or(args.run.as_path(), |left| left.path());
    let Exported { summary, certificate, note } = attar::export::export_verified(run, &out, &options, &args.engines)?;
    note.iter().for_each(say);
    if args.json {
        return Versioned::new(Written { bundle: out, summary, goldens: certificate }).print();
    }
    let mut lines = vec![
        out.display().to_string(),
        format!(
            "  {} parameters, {} MACs, model.onnx {:.2} MB, opset {}",
            table::si(summary.parameters as f64),
            table::si(summary.macs as f64),
            summary.onnx_bytes as f64 / 1e6,
            options.opset
        ),
        format!("  {}", goldens_statement(&options, &summary)),
    ];
    for runtime in &certificate.runtimes {
        let difference =
            runtime.goldens.as_ref().map(|g| format!(", largest logit difference {:.1e}", g.logit_max_diff));
        let difference = difference.unwrap_or_default();
        lines.push(format!("  loads and runs in {} {}{difference}", runtime.engine, runtime.version));
    }
    print(&lines.join("\n"))
}

/// What was written, as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Written {
    /// The bundle's directory.
    bundle: PathBuf,
    summary: Summary,
    /// The bundle's goldens in every runtime.
    goldens: Certificate,
}

fn goldens_statement(options: &Options, summary: &Summary) -> String {
    match options.goldens {
        Goldens::Real => format!(
            "holds {} real images as goldens, none of them trained on; use --goldens synthetic for data that must not leave",
            summary.goldens
        ),
        Goldens::Synthetic => format!("holds {} synthetic goldens, no real image", summary.goldens),
        Goldens::None => "holds no goldens".to_owned(),
    }
}
