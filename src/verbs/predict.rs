//! `attar predict`: what is on these images?

use std::path::PathBuf;

use anyhow::{Context, Result};
use attar_infer::{Bundle, Classifier};
use attar_models::files;

use super::print;
use crate::engines::EngineArgs;

/// Classifies images with a bundle.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar predict bundles/distilled boot.png\n  attar predict bundles/distilled *.jpg --top 3 --json"
)]
pub(crate) struct Args {
    /// The bundle directory.
    bundle: PathBuf,
    /// Image files (PNG, JPEG, WebP).
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// How many labels to print for each image.
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let bundle = Bundle::open(&args.bundle)?;
    let mut classifier = Classifier::open(&bundle, &args.engines.first()?)?;
    let mut all = Vec::new();
    for path in &args.images {
        let bytes = files::read(path, files::MOST_IMAGE).with_context(|| path.display().to_string())?;
        let guesses = classifier.classify(&bytes, path, args.top)?;
        if args.json {
            all.push(serde_json::json!({"image": path, "guesses": guesses}));
            continue;
        }
        print(&path.display().to_string())?;
        for guess in &guesses {
            print(&format!("  {:>6.2} %  {}", 100.0 * guess.probability, guess.label))?;
        }
    }
    if args.json { print(&serde_json::to_string_pretty(&all)?) } else { Ok(()) }
}
