//! `predict`: what is on these images? One that cannot be read takes no other along.

use std::path::{Path, PathBuf};

use anyhow::Result;
use attar_formats::files;
use serde::Serialize;

use super::engines::EngineArgs;
use super::stated::StatedArgs;
use super::{Exit, Versioned, complain, print};
use crate::classify::{Classifier, Guess};
use crate::side::Side;

/// Classifies images with a bundle or an ONNX file.
///
/// Images that cannot be read are named on stderr (and in the JSON), the others are answered all the same; then the exit code
/// is 2.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle directory, or an ONNX file.
    #[arg(value_name = "BUNDLE|FILE")]
    pub subject: PathBuf,
    /// Image files (PNG, JPEG, WebP), folders of such files, or `-` for one on standard input.
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// How many labels to print for each image.
    #[arg(long, default_value_t = 5, value_name = "K")]
    pub top: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// What an ONNX file does not say.
    #[command(flatten)]
    pub stated: StatedArgs,
    /// In which runtime.
    #[command(flatten)]
    pub engines: EngineArgs,
}

/// Commands that work, for `--help`.
pub fn examples(program: &str) -> String {
    format!(
        "Examples:\n  {program} predict bundles/distilled demo/boot.png\n  {program} predict bundles/distilled photos --top 3 --json\n  \
         {program} predict bundles/distilled - < demo/boot.png\n  \
         {program} predict vit.onnx --labels config.json --preprocessing preprocessor_config.json photos"
    )
}

/// What came of one image.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Answer<'a> {
    image: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    guesses: Option<Vec<Guess>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Answers<'a> {
    answers: Vec<Answer<'a>>,
}

/// Answers every image that can be answered.
///
/// # Errors
/// When the model or the runtime cannot be opened, an ONNX file leaves open what its classes or preprocessing are, or the result cannot be printed.
pub fn run(args: &Args) -> Result<Exit> {
    let side = Side::open(&args.subject, &args.stated.stated())?;
    let mut classifier = Classifier::of(&side, &args.engines.first_for(&side))?;
    let found: Vec<(PathBuf, Result<(), String>)> = args.images.iter().flat_map(|path| images_of(path)).collect();
    let mut answers = Vec::new();
    for (image, listed) in &found {
        let guesses = listed.clone().and_then(|()| classify(&mut classifier, image, args.top));
        let answer = match guesses {
            Ok(guesses) => Answer { image, guesses: Some(guesses), error: None },
            Err(problem) => {
                complain(&problem);
                Answer { image, guesses: None, error: Some(problem) }
            }
        };
        if !args.json {
            print_text(&answer)?;
        }
        answers.push(answer);
    }
    let failed = answers.iter().any(|answer| answer.error.is_some());
    if args.json {
        Versioned::new(Answers { answers }).print()?;
    }
    Ok(if failed { Exit::Error } else { Exit::Held })
}

fn classify(classifier: &mut Classifier, image: &Path, top: usize) -> Result<Vec<Guess>, String> {
    let bytes = match is_stdin(image) {
        true => files::read_from(std::io::stdin(), files::MOST_IMAGE),
        false => files::read(image, files::MOST_IMAGE),
    };
    let bytes = bytes.map_err(|error| format!("{}: {error}", image.display()))?;
    classifier.classify(&bytes, image, top).map_err(|error| error.to_string())
}

fn print_text(answer: &Answer<'_>) -> Result<()> {
    let Some(guesses) = &answer.guesses else { return Ok(()) };
    let guesses = guesses.iter().map(|guess| format!("  {:>6.2} %  {}", 100.0 * guess.probability, guess.label));
    let lines: Vec<String> = std::iter::once(answer.image.display().to_string()).chain(guesses).collect();
    print(&lines.join("\n"))
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What a file is called that is taken for an image in a folder.
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "jpe", "jfif", "jif", "pjpeg", "webp"];

/// Folders below a folder of images; deeper ones are a loop of links.
const DEEPEST: usize = 8;

/// A file is itself; a folder all images in it, sorted.
fn images_of(path: &Path) -> Vec<(PathBuf, Result<(), String>)> {
    if is_stdin(path) || !path.is_dir() {
        return vec![(path.to_owned(), Ok(()))];
    }
    let mut images = Vec::new();
    let problem = collect(path, DEEPEST, &mut images).err();
    let problem = problem.or_else(|| images.is_empty().then(|| "no PNG, JPEG or WebP file in this folder".to_owned()));
    let problem = problem.map(|problem| (path.to_owned(), Err(format!("{}: {problem}", path.display()))));
    images.into_iter().map(|image| (image, Ok(()))).chain(problem).collect()
}

fn collect(folder: &Path, deepest: usize, images: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
    let mut entries: Vec<PathBuf> = entries.map_err(|error| error.to_string())?.iter().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if name.starts_with('.') || ["@eaDir", "__MACOSX", "lost+found"].contains(&&*name) {
            continue;
        }
        match (path.is_dir(), deepest.checked_sub(1)) {
            (true, Some(deepest)) => collect(&path, deepest, images)?,
            (true, None) => return Err(format!("folders within folders, down to {}", path.display())),
            (false, _) if ENDINGS.contains(&&*ending) => images.push(path),
            (false, _) => {}
        }
    }
    Ok(())
}
