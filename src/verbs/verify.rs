//! `attar verify`: does the bundle decide like the network that was trained?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use attar_infer::parity::{self, Options};
use attar_infer::report::{certificate_section, html};
use attar_infer::{Bundle, Certificate};

use super::print;
use crate::engines::EngineArgs;
use crate::progress;
use crate::report::run::Extras;
use crate::report::{self, Images};
use crate::source::DataArgs;

/// Compares a bundle in every runtime with the answers of the network that was trained, and gives a verdict.
///
/// Exit codes: 0 equivalent, 1 worse, 3 inconclusive or numbers only (no labelled images), 2 any error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar verify bundles/distilled --data image-folder:photos --run runs/distilled\n  attar verify bundles/distilled\n  attar verify bundles/x --data image-folder:photos --margin 1 --engine tract --html parity.html"
)]
pub(crate) struct Args {
    /// The bundle directory.
    bundle: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Points of accuracy that may be lost.
    #[arg(long, default_value_t = 0.5, value_name = "POINTS")]
    margin: f64,
    /// Write the certificate as a self-contained page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Draw the certificate into the report of this run directory, from which the bundle was exported.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Leave images out of the pages.
    #[arg(long)]
    no_images: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let bundle = Bundle::open(&args.bundle)?;
    if let Some(run) = &args.run {
        check_run(&bundle, run)?;
    }
    let data = args.data.open()?;
    let options = Options { margin_points: args.margin, images: !args.no_images, ..Options::default() };
    let certificate = certify(&bundle, data.as_deref(), &options, &args.engines)?;
    if let Some(path) = &args.html {
        let title = format!("Parity of {}", certificate.bundle.network);
        let page = html::page(&title, &certificate_section(&certificate, !args.no_images));
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    if let Some(run) = &args.run {
        let images = if args.no_images { Images::Withheld } else { Images::Shown };
        report::run::write(run, &Extras { certificate: Some(&certificate), comparison: None, images })?;
    }
    print(&if args.json { certificate.to_json()? } else { certificate.to_string() })?;
    Ok(ExitCode::from(certificate.exit_code()))
}

/// A certificate belongs into the report of the run whose weights the bundle holds, and into no other.
fn check_run(bundle: &Bundle, run: &Path) -> Result<()> {
    let receipt = report::run::read_receipt(run)?;
    let exported = bundle.predictions().map(|predictions| predictions.weights_sha256.as_str());
    if exported != Some(receipt.weights_sha256.as_str()) {
        let (bundle, run) = (bundle.root().display(), run.display());
        bail!(
            "{bundle} was not exported from {run}: it holds other weights\n  hint: `--run` names the run of the bundle"
        );
    }
    Ok(())
}

/// The certificate of a bundle over the runtimes that were asked for.
pub(crate) fn certify(
    bundle: &Bundle,
    data: Option<&dyn attar_data::Dataset>,
    options: &Options,
    engines: &EngineArgs,
) -> Result<Certificate> {
    let (mut candidates, skipped) = engines.candidates(bundle)?;
    let bar = progress::bar(data.map_or(0, |data| data.len() as u64));
    bar.set_prefix("verify");
    let mut tick = |done: usize, _: usize| bar.set_position(done as u64);
    let certificate = parity::verify(bundle, &mut candidates, skipped, data, options, &mut tick)?;
    bar.finish_and_clear();
    Ok(certificate)
}
