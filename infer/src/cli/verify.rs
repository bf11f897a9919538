//! `verify`: does a model decide like the network that was trained?

use std::path::PathBuf;

use anyhow::{Context, Result};
use attar_data::Dataset;

use super::data::DataArgs;
use super::engines::EngineArgs;
use super::{Exit, Versioned, print};
use crate::bundle::Bundle;
use crate::parity::{self, Certificate, Options};
use crate::report::{certificate_section, html, junit};

/// Compares a bundle in every runtime with the answers of the network that was trained, and gives a verdict.
///
/// Exit codes: 0 equivalent, 1 worse, or goldens beyond what their precision allows, 3 inconclusive or numbers only (no
/// labelled images), 2 any error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// Labelled images.
    #[command(flatten)]
    pub data: DataArgs,
    /// Verify this ONNX file of the same classes, e.g. a quantised one, in place of the bundle's own; may be given more than
    /// once.
    #[arg(long = "model", value_name = "FILE")]
    pub models: Vec<PathBuf>,
    /// Points of accuracy that may be lost.
    #[arg(long, default_value_t = 0.5, value_name = "POINTS", allow_negative_numbers = true)]
    pub margin: f64,
    /// Go on without images that cannot be read; they are counted and named in the certificate.
    #[arg(long, requires = "data")]
    pub leave_out_bad: bool,
    /// Write the certificate as a self-contained page.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the verdicts as JUnit's XML: a test case for each runtime and model.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Leave images out of the pages, for private data.
    #[arg(long)]
    pub no_images: bool,
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
        "Examples:\n  {program} verify bundles/distilled\n  {program} verify bundles/distilled --data image-folder:photos --margin 1 --html parity.html\n  \
         {program} verify bundles/distilled --data image-folder:photos --model int8.onnx --engine ort --junit parity.xml"
    )
}

impl Args {
    /// How to verify.
    pub fn options(&self) -> Options {
        Options {
            margin_points: self.margin,
            images: !self.no_images,
            leave_out_bad: self.leave_out_bad,
            ..Options::default()
        }
    }
}

/// Verifies and hands out the certificate.
///
/// # Errors
/// As [`certify`] and [`hand_out`].
pub fn run(args: &Args, progress: &mut dyn FnMut(usize, usize)) -> Result<Exit> {
    let bundle = Bundle::open(&args.bundle)?;
    hand_out(args, &certify(args, &bundle, progress)?)
}

/// The certificate that was asked for.
///
/// # Errors
/// As [`parity::verify`], and when the data or a model cannot be opened.
pub fn certify(args: &Args, bundle: &Bundle, progress: &mut dyn FnMut(usize, usize)) -> Result<Certificate> {
    let data = args.data.open_for(bundle.labels())?;
    let (mut candidates, skipped) = args.engines.candidates(bundle, &args.models)?;
    let data: Option<&dyn Dataset> = data.as_deref();
    Ok(parity::verify(bundle, &mut candidates, skipped, data, &args.options(), progress)?)
}

/// Writes the files that were asked for and prints the certificate.
///
/// # Errors
/// When one of them cannot be written.
pub fn hand_out(args: &Args, certificate: &Certificate) -> Result<Exit> {
    if let Some(path) = &args.html {
        let title = format!("Parity of {}", certificate.bundle.network);
        let page = html::page(&title, &certificate_section(certificate, !args.no_images));
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::suite(certificate)).with_context(|| path.display().to_string())?;
    }
    match args.json {
        true => Versioned::new(certificate).print()?,
        false => print(&certificate.to_string())?,
    }
    Ok(match certificate.exit_code() {
        0 => Exit::Held,
        1 => Exit::NotSo,
        _ => Exit::Undecided,
    })
}
