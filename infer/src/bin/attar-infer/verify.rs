//! `attar-infer verify`: the parity certificate.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use attar_data::{Dataset, Source};
use attar_infer::engine::EngineKind;
use attar_infer::parity::{Options, candidates, verify};
use attar_infer::{Bundle, report};
use clap::{Args, ValueEnum};

use crate::common::{EngineOptions, print, progress};

/// Certifies that the bundle decides like the network that was trained
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 equivalent, 1 worse, 3 inconclusive or numbers only, 2 any error.

Examples:
  attar-infer verify bundle --data fashion-mnist --kind idx
  attar-infer verify bundle --data photos --kind image-folder --margin 1 --html parity.html
  attar-infer verify bundle                        # no labelled images: numbers only")]
pub(crate) struct Arguments {
    /// Bundle directory
    bundle: PathBuf,
    /// Labelled images: directory or .tar.gz
    #[arg(long, value_name = "PATH", requires = "kind")]
    data: Option<PathBuf>,
    /// Format of the labelled images
    #[arg(long, value_enum, requires = "data")]
    kind: Option<Kind>,
    /// Which of its splits
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// Points of accuracy that may be lost
    #[arg(long, default_value_t = 0.5, value_name = "POINTS", allow_negative_numbers = true)]
    margin: f64,
    /// Print the certificate as JSON
    #[arg(long)]
    json: bool,
    /// Also write a page for people
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Keep pixels out of the page, for private data
    #[arg(long)]
    no_images: bool,
    #[command(flatten)]
    engine: EngineOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Idx,
    Cifar10,
    Cifar100,
    ImageFolder,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Split {
    Train,
    Test,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let bundle = Bundle::open(&arguments.bundle)?;
    let wanted = arguments.engine.named();
    // Without a choice, every runtime at hand.
    let all = EngineKind::ALL.map(|kind| arguments.engine.spec(kind));
    let (mut loaded, skipped) = candidates(&bundle, &wanted, if wanted.is_empty() { &all } else { &[] })?;
    let data = open_data(arguments)?;
    let options = Options {
        margin_points: arguments.margin,
        images: arguments.html.is_some() && !arguments.no_images,
        ..Options::default()
    };
    let mut progress = progress("verifying");
    let certificate = verify(&bundle, &mut loaded, skipped, data.as_deref(), &options, &mut progress)?;
    if let Some(file) = &arguments.html {
        let title = format!("Parity of {}", certificate.bundle.network);
        let body = report::certificate_section(&certificate, !arguments.no_images);
        std::fs::write(file, report::html::page(&title, &body)).with_context(|| file.display().to_string())?;
    }
    print(&if arguments.json { certificate.to_json()? } else { certificate.to_string() })?;
    Ok(certificate.exit_code())
}

fn open_data(arguments: &Arguments) -> Result<Option<Arc<dyn Dataset>>> {
    let Some((root, kind)) = arguments.data.clone().zip(arguments.kind) else { return Ok(None) };
    let source = match kind {
        Kind::Idx => Source::Idx { root, classes: None },
        Kind::Cifar10 => Source::Cifar10 { root },
        Kind::Cifar100 => Source::Cifar100 { root },
        Kind::ImageFolder => Source::image_folder(root),
    };
    let splits = source.open()?;
    Ok(Some(match arguments.split {
        Split::Train => splits.train,
        Split::Test => splits.test,
    }))
}
