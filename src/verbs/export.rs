//! `attar export`: a run becomes a bundle, verified in every runtime before it gets its name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use attar_export::bundle::{Options, Summary};
use attar_export::{Goldens, Source};
use attar_infer::cli::{NotSo, Versioned, print, say};
use attar_infer::parity;
use attar_infer::{Bundle, Certificate};

use super::unfinished;
use crate::engines::EngineArgs;
use crate::table;

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
    let (summary, certificate) = export(run, &out, &options, &args.engines)?;
    if args.json {
        let result = serde_json::json!({"bundle": out, "summary": summary, "goldens": certificate});
        return Versioned::new(result).print();
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

/// Writes the bundle beside its final place, runs it in every runtime at hand on its goldens, and only then gives it its
/// name. When anything is wrong, nothing is left behind.
pub(crate) fn export(
    run: &Path,
    out: &Path,
    options: &Options,
    engines: &EngineArgs,
) -> Result<(Summary, Certificate)> {
    if out.exists() {
        bail!("{} exists already\n  hint: remove it or choose another place with --out", out.display());
    }
    let source = Source::open(run, None)?;
    if let Some(note) = &source.note {
        say(note);
    }
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let scratch = scratch(parent)?;
    let summary = attar_export::write_bundle(&source, options, scratch.path())?;
    let certificate = match options.goldens {
        Goldens::None => {
            Bundle::open(scratch.path())?;
            check_without_goldens(&source, options, parent, engines)?
        }
        Goldens::Real | Goldens::Synthetic => check(scratch.path(), engines)?,
    };
    std::fs::rename(scratch.path(), out)
        .with_context(|| format!("{} could not be named {}", scratch.path().display(), out.display()))?;
    let _ = scratch.keep(); // it has its name now, and nothing is to be removed
    Ok((summary, certificate))
}

/// A bundle that is to travel without goldens is checked by a twin that has synthetic ones; the model is the same to the
/// byte.
fn check_without_goldens(
    source: &Source,
    options: &Options,
    place: &Path,
    engines: &EngineArgs,
) -> Result<Certificate> {
    let twin = scratch(place)?;
    attar_export::write_bundle(source, &Options { goldens: Goldens::Synthetic, ..options.clone() }, twin.path())?;
    check(twin.path(), engines)
}

/// A folder beside the final place that is removed unless it is kept, as readable as any new folder.
fn scratch(parent: &Path) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".export-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777)); // the umask takes its part
    builder.tempdir_in(parent).with_context(|| format!("{}: no place for the bundle", parent.display()))
}

/// Fails unless every runtime at hand gives the goldens' answers within rounding.
fn check(bundle: &Path, engines: &EngineArgs) -> Result<Certificate> {
    let bundle = Bundle::open(bundle)?;
    let (mut candidates, skipped) = engines.candidates(&bundle, &[])?;
    let options = parity::Options::default();
    let certificate = parity::verify(&bundle, &mut candidates, skipped, None, &options, &mut |_, _| {})?;
    for runtime in &certificate.runtimes {
        let Some(goldens) = &runtime.goldens else { continue };
        if !goldens.within_rounding || goldens.flips > 0 {
            let problem = format!(
                "{} does not answer like the trained network: largest logit difference {:.2e}, {} of {} goldens flipped; nothing was exported",
                runtime.engine, goldens.logit_max_diff, goldens.flips, goldens.count
            );
            return Err(NotSo(problem).into());
        }
    }
    Ok(certificate)
}
