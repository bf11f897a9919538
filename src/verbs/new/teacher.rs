//! The teacher of a new recipe: by what the file or folder is. Preprocessing is stated by a card or by the person, never guessed.

use std::path::Path;

use anyhow::{Context, Result, bail};
use attar_formats::bundle;
use attar_formats::run;
use attar_formats::{Card, files};
use attar_models::{Error, zoo};
use attar_pixels::Preprocessing;

use super::write::{inline, quoted};
use super::{Wishes, weights};

/// Torchvision's evaluation of its ImageNet weights: shorter edge 256, centre 224.
const IMAGENET: &str = "{ channels = 3, resize = { to = { shorter-edge = 256 }, interpolation = \"bilinear\" }, crop = [224, 224], mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }";

/// A teacher as a recipe says it.
#[derive(Debug)]
pub(super) struct Teacher {
    /// `from = { ... }`.
    pub(super) from: String,
    /// What it is, for a comment.
    pub(super) what: String,
    /// Height and width of its input, where a card says them.
    pub(super) size: Option<[usize; 2]>,
    /// Channels of its input, where they are known.
    pub(super) channels: Option<usize>,
}

impl Teacher {
    /// The teacher that was wished for; `classes` are those of the data.
    pub(super) fn find(wishes: &Wishes, classes: usize) -> Result<Option<Self>> {
        let Some(path) = &wishes.teacher else { return Ok(None) };
        let kind = kind(path)?;
        let of_files = ["--teacher-network", "--teacher-preprocessing"];
        let given = [wishes.teacher_network.is_some(), wishes.teacher_preprocessing.is_some()];
        let reads = match kind {
            Kind::Run | Kind::Bundle => [false, false],
            Kind::Onnx => [false, true],
            Kind::Weights => [true, true],
        };
        if let Some(at) = (0..2).find(|at| given[*at] && !reads[*at]) {
            bail!("{} {} needs no {}: it says so itself", kind.name(), path.display(), of_files[at]);
        }
        let teacher = match kind {
            Kind::Run => by_card(path, "run", run::file::CARD)?,
            Kind::Bundle => by_card(path, "bundle", bundle::file::CONFIG)?,
            Kind::Onnx => onnx(path, wishes)?,
            Kind::Weights => weights_file(path, wishes, classes)?,
        };
        Ok(Some(teacher))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Run,
    Bundle,
    Onnx,
    Weights,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "the run",
            Self::Bundle => "the bundle",
            Self::Onnx => "the ONNX file",
            Self::Weights => "the file of weights",
        }
    }
}

/// What a teacher's path is.
fn kind(path: &Path) -> Result<Kind> {
    let has = |name: &str| path.join(name).exists();
    if path.is_dir() {
        return match (has(run::file::CARD), has(bundle::file::CONFIG), has("store.json")) {
            (true, ..) => Ok(Kind::Run),
            (_, true, _) => Ok(Kind::Bundle),
            (.., true) => bail!(
                "{}: answers that `attar labels` stored are to the very images of one recipe\n  hint: in that recipe write from = {{ kind = \"stored\", path = ... }}",
                path.display()
            ),
            _ => bail!(
                "{}: neither a run (card.json) nor a bundle (config.json)\n  hint: name the run's or bundle's own folder, or a file: .onnx, .pth, .safetensors",
                path.display()
            ),
        };
    }
    std::fs::metadata(path).with_context(|| path.display().to_string())?;
    match path.extension().unwrap_or_default().to_string_lossy().to_lowercase().as_str() {
        "onnx" => Ok(Kind::Onnx),
        "pth" | "pt" | "bin" | "ckpt" | "tar" | "safetensors" => Ok(Kind::Weights),
        _ => bail!(
            "{}: a teacher is a folder (run, bundle), an ONNX file (.onnx) or a file of weights (.pth, .pt, .safetensors)",
            path.display()
        ),
    }
}

fn by_card(path: &Path, kind: &str, card: &str) -> Result<Teacher> {
    let file = path.join(card);
    let text = files::read_text(&file, files::MOST_TEXT).with_context(|| file.display().to_string())?;
    let network = Card::from_json(&text, &file)?.network;
    let [channels, height, width] = network.input;
    Ok(Teacher {
        from: format!("from = {{ kind = \"{kind}\", path = {} }}", quoted(path)),
        what: format!("the {kind}'s {}, which sees images as its card says", network.name),
        size: Some([height, width]),
        channels: Some(channels),
    })
}

fn onnx(path: &Path, wishes: &Wishes) -> Result<Teacher> {
    let preprocessing = preprocessing(wishes, "an ONNX file")?;
    Ok(Teacher {
        from: format!(
            "from = {{ kind = \"onnx\", path = {}, preprocessing = {} }}",
            quoted(path),
            inline(&preprocessing)
        ),
        what: "an ONNX file: its logits, nothing else, are learned from".to_owned(),
        size: None,
        channels: Some(preprocessing.channels),
    })
}

fn weights_file(path: &Path, wishes: &Wishes, classes: usize) -> Result<Teacher> {
    let Some(name) = &wishes.teacher_network else {
        bail!(
            "{}: weights do not say what network they are of\n  hint: --teacher-network NAME; `attar models` lists them",
            path.display()
        );
    };
    let known: Vec<&str> = zoo::catalog().iter().map(|entry| entry.name).collect();
    if !known.contains(&name.as_str()) {
        return Err(Error::unknown("network", name, &known).into());
    }
    let preprocessing = preprocessing(wishes, "a file of weights")?;
    let size = preprocessing.crop;
    let input = size.map(|[height, width]| format!(", input = [{}, {height}, {width}]", preprocessing.channels));
    let own = weights::classes(path, &zoo::NetworkSpec::new(name, classes, [preprocessing.channels, 64, 64]));
    let classes = own.filter(|own| *own != classes).map(|own| format!(", classes = {own}"));
    Ok(Teacher {
        from: format!(
            "from = {{ kind = \"weights\", path = {}, network = {{ name = \"{name}\"{}{} }}, preprocessing = {} }}",
            quoted(path),
            classes.unwrap_or_default(),
            input.unwrap_or_default(),
            inline(&preprocessing)
        ),
        what: format!("weights of {name}, which see images as is said here (--teacher-preprocessing)"),
        size,
        channels: Some(preprocessing.channels),
    })
}

/// What was said of the teacher's preprocessing.
fn preprocessing(wishes: &Wishes, of: &str) -> Result<Preprocessing> {
    let Some(said) = &wishes.teacher_preprocessing else {
        bail!(
            "{of} does not say how its network sees images, and nobody guesses mean and std\n  hint: --teacher-preprocessing imagenet (256, centre 224, as torchvision's weights), or written out: \
             --teacher-preprocessing '{IMAGENET}'"
        );
    };
    let text = if said == "imagenet" { IMAGENET } else { said };
    let table: toml::Table = format!("it = {text}").parse().with_context(|| {
        format!("--teacher-preprocessing {said}: expected `imagenet` or a table as recipes have it, e.g. {IMAGENET}")
    })?;
    let value = table.get("it").cloned().unwrap_or(toml::Value::Boolean(false));
    let preprocessing: Preprocessing = value.try_into().with_context(|| format!("--teacher-preprocessing {said}"))?;
    preprocessing.check().with_context(|| "--teacher-preprocessing")?;
    Ok(preprocessing)
}
