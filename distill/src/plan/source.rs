//! What `student.from` names, opened: a network where there is one, weights, and the names of their classes.
//!
//! A kind of source is one arm of [`open`]; what is made of it, a student that fits the data, is [`super::start`]'s.

use std::path::{Path, PathBuf};

use attar_formats::card::Origin;
use attar_formats::graph::{self, Opened};
use attar_formats::hash::file_sha256;
use attar_formats::rename::{self, Fitted, Head};
use attar_formats::run::file;
use attar_formats::write::safetensors_sha256;
use attar_formats::{Card, bundle, checkpoint, files, read, run};
use attar_models::{Graph, Weights};

use super::{GivenStudent, fail, onnx};
use crate::error::{Error, Result};
use crate::recipe::{StudentSource, Which};

/// What a student starts from.
pub(super) struct Source {
    network: Network,
    /// Under the names that they came with; none where all begins at random.
    pub(super) weights: Option<Found>,
    /// sha256 of these, in hex.
    pub(super) sha256: Option<String>,
    /// The classes of the last layer, and the card that names them.
    pub(super) labels: Option<Labels>,
}

/// A card and the classes that it names.
type Labels = (PathBuf, Vec<String>);

/// What a source knows of its network.
enum Network {
    /// Nothing: it holds arrays by name.
    Unknown,
    /// The one of this card, which lies in this folder.
    OfCard(Box<Card>, PathBuf),
    /// An ONNX file is it.
    OfFile(Graph, PathBuf, Vec<String>),
    /// A program gave it.
    Given(Graph),
}

/// Weights as they were found.
pub(super) struct Found {
    weights: Weights,
    /// The file, where there is one.
    file: Option<PathBuf>,
    /// Which of several dictionaries was taken, for people.
    note: Option<String>,
}

/// Opens a source, whatever its kind; `given` is what a program brought along.
/// `input` are the sizes of the images, for a file that leaves its own open.
pub(super) fn open(from: &StudentSource, given: Option<GivenStudent>, input: [usize; 3]) -> Result<Source> {
    match from {
        StudentSource::Run { path, checkpoint, .. } => {
            Source::run(path, *checkpoint, None)?.ok_or_else(|| nothing(path, file::CARD))
        }
        StudentSource::Bundle { path, .. } => {
            Source::bundle(path, None)?.ok_or_else(|| nothing(path, bundle::file::CONFIG))
        }
        StudentSource::Weights { path, key, .. } if !path.is_dir() => {
            Source::of(Network::Unknown, path, key.as_deref(), card_of(path))
        }
        StudentSource::Weights { path, key, .. } => {
            let key = key.as_deref();
            let found = Source::run(path, None, key)?.map_or_else(|| Source::bundle(path, key), |run| Ok(Some(run)))?;
            found.ok_or_else(|| nothing(path, "card.json and no config.json"))
        }
        StudentSource::Onnx { path, .. } => Source::onnx(path, input),
        StudentSource::Given { what } => {
            let problem = || format!("`{what}` is of the program that made this run\n  hint: only that program has it");
            given.map(Source::given).ok_or_else(|| fail("student.from", problem()))
        }
    }
}

impl Source {
    /// Its network, where it has one.
    pub(super) fn network(&self) -> Result<Option<Opened>> {
        Ok(match &self.network {
            Network::Unknown => None,
            Network::OfCard(card, folder) => Some(graph::of_card(card, folder)?),
            Network::OfFile(graph, path, notes) => {
                let note = (!notes.is_empty()).then(|| notes.join("; "));
                Some(Opened { graph: graph.clone(), origin: Origin::file(path)?, note })
            }
            Network::Given(graph) => Some(Opened { origin: Origin::program(graph)?, graph: graph.clone(), note: None }),
        })
    }

    fn of(network: Network, file: &Path, key: Option<&str>, labels: Option<Labels>) -> Result<Self> {
        Ok(Self { network, weights: Some(weights(file, key)?), sha256: Some(file_sha256(file)?), labels })
    }

    /// The weights of a run, of the checkpoint that its card describes if none is named; none if there is no run.
    fn run(path: &Path, checkpoint: Option<Which>, key: Option<&str>) -> Result<Option<Self>> {
        let Some((beside, card)) = card_in(path, file::CARD)? else { return Ok(None) };
        let last = card.provenance.checkpoint.as_deref().is_some_and(|which| which.starts_with("last"));
        let which = checkpoint.unwrap_or(if last { Which::Last } else { Which::Best });
        Self::of_card(card, beside, path, &run::model(path, which.as_str()), key).map(Some)
    }

    fn bundle(path: &Path, key: Option<&str>) -> Result<Option<Self>> {
        let Some((beside, card)) = card_in(path, bundle::file::CONFIG)? else { return Ok(None) };
        Self::of_card(card, beside, path, &path.join(bundle::file::WEIGHTS), key).map(Some)
    }

    fn of_card(card: Card, beside: PathBuf, folder: &Path, file: &Path, key: Option<&str>) -> Result<Self> {
        let labels = (beside, card.labels.clone());
        Self::of(Network::OfCard(Box::new(card), folder.to_owned()), file, key, Some(labels))
    }

    fn onnx(path: &Path, input: [usize; 3]) -> Result<Self> {
        let mut import = onnx::read(path, Some(input))?;
        let labels = import.said()?.labels.map(|labels| (path.to_owned(), labels));
        let notes = std::mem::take(&mut import.notes);
        let (graph, weights) =
            onnx::network(import).map_err(|problem| fail("student.from", format!("{} {problem}", path.display())))?;
        let weights = Found { weights, file: Some(path.to_owned()), note: None };
        let notes = notes.into_iter().chain(attar_onnx::without_norms(&graph)).collect();
        let network = Network::OfFile(graph, path.to_owned(), notes);
        Ok(Self { network, weights: Some(weights), sha256: Some(file_sha256(path)?), labels })
    }

    fn given(student: GivenStudent) -> Self {
        let sha256 = student.weights.as_ref().map(safetensors_sha256);
        let weights = student.weights.map(|weights| Found { weights, file: None, note: None });
        Self { network: Network::Given(student.graph), weights, sha256, labels: None }
    }
}

/// The arrays of a file, of one of its dictionaries.
pub(super) fn weights(file: &Path, key: Option<&str>) -> Result<Found> {
    let read::Loaded { weights, note, .. } = read::keyed(file, key)?;
    Ok(Found { weights, file: Some(file.to_owned()), note })
}

impl Found {
    /// Under the names of `graph`.
    pub(super) fn fitted(self, graph: &Graph, head: &Head) -> Result<Fitted> {
        let Self { weights, file, note } = self;
        let mut fitted = rename::fit_head(graph, weights, head).map_err(|error| match error {
            attar_models::Error::Mismatch { network, mut problem } => {
                problem += &note.as_ref().map(|note| format!("\n  note: {note}")).unwrap_or_default();
                problem += &file.map(|file| format!("\n  in {}", file.display())).unwrap_or_default();
                attar_models::Error::Mismatch { network, problem }
            }
            other => other,
        })?;
        fitted.notes.splice(0..0, note);
        Ok(fitted)
    }
}

fn card_in(path: &Path, name: &str) -> Result<Option<(PathBuf, Card)>> {
    let beside = path.join(name);
    if !beside.is_file() {
        return Ok(None);
    }
    let text =
        files::read_text(&beside, files::MOST_TEXT).map_err(|source| Error::Io { path: beside.clone(), source })?;
    let card = Card::from_json(&text, &beside)?;
    Ok(Some((beside, card)))
}

/// A directory that is neither a run nor a bundle, or not the one that was said.
fn nothing(path: &Path, missing: &str) -> Error {
    let last = run::model(path, run::LAST);
    let hint = if last.is_file() {
        format!("the run is not finished; its last weights are {}", last.display())
    } else {
        "name a file of weights, a finished run or a bundle".to_owned()
    };
    fail("student.from", format!("{} has no {missing}\n  hint: {hint}", path.display()))
}

/// The classes of a `model.safetensors` of ours, by the card of its bundle or run. Another program's `config.json` beside it
/// is none.
fn card_of(file: &Path) -> Option<Labels> {
    if file.file_name()? != checkpoint::file::MODEL {
        return None;
    }
    let folder = file.parent()?;
    let run = folder.parent().filter(|above| above.ends_with(file::CHECKPOINTS)).and_then(Path::parent);
    let places =
        [Some(folder.join(bundle::file::CONFIG)), Some(folder.join(file::CARD)), run.map(|run| run.join(file::CARD))];
    places.into_iter().flatten().find_map(|place| {
        let text = files::read_text(&place, files::MOST_TEXT).ok()?;
        let card = Card::from_json(&text, &place).ok()?;
        Some((place, card.labels))
    })
}
