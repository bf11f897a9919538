//! `attar-infer predict`: labels for images.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attar_infer::{Bundle, Classifier, EngineKind, Guess};
use attar_models::files;
use clap::Args;
use serde::Serialize;

use crate::common::{EngineOptions, print};

/// Labels images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  attar-infer predict bundle cat.jpg
  attar-infer predict bundle *.png --top 3 --json
  curl -s https://example.com/cat.jpg | attar-infer predict bundle -")]
pub(crate) struct Arguments {
    /// Bundle directory
    bundle: PathBuf,
    /// Images (PNG, JPEG, WebP); `-` reads standard input
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Labels an image
    #[arg(long, default_value_t = 5, value_name = "K")]
    top: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineOptions,
}

#[derive(Serialize)]
struct Answer<'a> {
    image: &'a Path,
    guesses: Vec<Guess>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let bundle = Bundle::open(&arguments.bundle)?;
    let preferred = EngineKind::ALL.into_iter().find(|kind| kind.compiled()).unwrap_or(EngineKind::Tract);
    let spec = arguments.engine.named().into_iter().next().unwrap_or_else(|| arguments.engine.spec(preferred));
    let mut classifier = Classifier::open(&bundle, &spec)?;
    let mut answers = Vec::new();
    for image in &arguments.images {
        let guesses = classifier.classify(&read(image)?, image, arguments.top)?;
        answers.push(Answer { image, guesses });
    }
    if arguments.json {
        print(&serde_json::to_string_pretty(&answers)?)?;
        return Ok(0);
    }
    for answer in &answers {
        let guesses = answer.guesses.iter().map(|g| format!("  {:6.2} %  {}", 100.0 * g.probability, g.label));
        let lines: Vec<String> = std::iter::once(answer.image.display().to_string()).chain(guesses).collect();
        print(&lines.join("\n"))?;
    }
    Ok(0)
}

fn read(image: &Path) -> Result<Vec<u8>> {
    let bytes = match image.as_os_str() == "-" {
        true => files::read_from(std::io::stdin(), files::MOST_IMAGE),
        false => files::read(image, files::MOST_IMAGE),
    };
    bytes.with_context(|| image.display().to_string())
}
