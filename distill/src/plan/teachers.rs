//! The teachers of a plan: found, read, and checked against the data and the student.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attar_models::rename::Head;
use attar_models::zoo::{self, NetworkSpec};
use attar_models::{Card, Graph, NodeId, Preprocessing, Weights, files, nearest};
use candle_core::Device;

use super::data::PlannedData;
use super::sight::Sight;
use crate::error::{Error, Result};
use crate::hash::file_sha256;
use crate::labels::{Asked, Store};
use crate::precision::Precision;
use crate::recipe::{TeacherNorm, TeacherSection, TeacherSource};
use crate::teacher::{OpenOnnx, Teacher, ZooTeacher, logits_only};

/// A teacher that fits.
pub struct PlannedTeacher {
    /// Its name in the recipe.
    pub name: String,
    /// Its network; for an ONNX file only input and logits.
    pub graph: Graph,
    /// sha256 of the file of weights, in hex.
    pub weights_sha256: String,
    /// Statistics of its batch norms.
    pub bn: TeacherNorm,
    /// Numbers from its card, e.g. `test_top1`.
    pub(crate) stated: BTreeMap<String, f64>,
    pub(crate) gives: Gives,
    /// Of stored answers, what they are.
    pub(crate) answers_sha256: Option<String>,
    /// What people should know of it before a run.
    pub(crate) note: Option<String>,
    /// How it sees the student's images.
    pub(crate) sight: Sight,
    kind: Kind,
}

/// What a teacher can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// Logits, taps and gradients.
    All,
    /// Logits of any batch.
    Logits,
    /// Logits of training images in the plain view.
    StoredLogits,
}

enum Kind {
    Zoo(Weights),
    Ready(Box<dyn Teacher>),
}

impl std::fmt::Debug for PlannedTeacher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlannedTeacher").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a run asks of stored answers.
pub(super) struct Question {
    pub(super) asked: Asked,
    pub(super) epochs: usize,
}

impl PlannedTeacher {
    pub(super) fn load(
        section: &TeacherSection,
        key: &str,
        data: &PlannedData,
        question: &Question,
        onnx: Option<&OpenOnnx>,
    ) -> Result<Self> {
        let fail = |problem: String| Error::Recipe { key: key.to_owned(), problem };
        let found = match &section.from {
            TeacherSource::Stored { path } => return Self::stored(section, path, data, question, onnx, &fail),
            TeacherSource::Onnx { path, preprocessing } => open_onnx(path, preprocessing, section, onnx, &fail)?,
            from => open_zoo(from, data, &fail)?,
        };
        check_labels(&found, data).map_err(&fail)?;
        let sight = Sight::find(data, &found.preprocessing, found.graph.input_shape()).map_err(&fail)?;
        Ok(Self {
            name: section.name.clone(),
            graph: found.graph,
            weights_sha256: file_sha256(&found.file)?,
            bn: section.bn,
            stated: found.stated,
            gives: if matches!(found.kind, Kind::Zoo(_)) { Gives::All } else { Gives::Logits },
            answers_sha256: None,
            note: found.note.map(|note| format!("{key}: {note}")),
            sight,
            kind: found.kind,
        })
    }

    /// The network of the generation before, while it has no weights yet: what a later generation can be checked against. It
    /// must not be asked anything.
    pub(super) fn forthcoming(section: &TeacherSection, graph: Graph) -> Self {
        Self {
            name: section.name.clone(),
            graph,
            weights_sha256: String::new(),
            bn: section.bn,
            stated: BTreeMap::new(),
            gives: Gives::All,
            answers_sha256: None,
            note: None,
            sight: Sight::Same,
            kind: Kind::Zoo(Weights::default()),
        }
    }

    /// A teacher whose answers are stored: they must be to the run's own question, and some are asked again.
    fn stored(
        section: &TeacherSection,
        path: &Path,
        data: &PlannedData,
        question: &Question,
        onnx: Option<&OpenOnnx>,
        fail: &dyn Fn(String) -> Error,
    ) -> Result<Self> {
        if section.bn == TeacherNorm::Batch {
            return Err(fail("`bn = \"batch\"` needs the norms; stored answers have none".to_owned()));
        }
        let mut store = Store::open(path)?;
        store.fits(&question.asked, question.epochs).map_err(fail)?;
        let key = format!("teachers.{}", section.name);
        let note = store.check(path, data, |behind| Self::load(behind, &key, data, question, onnx))?;
        let manifest = &store.manifest;
        Ok(Self {
            name: section.name.clone(),
            graph: logits_only(&manifest.network, data.input, manifest.asked.classes)?,
            weights_sha256: manifest.weights_sha256.clone(),
            bn: TeacherNorm::Running,
            stated: BTreeMap::new(),
            gives: Gives::StoredLogits,
            answers_sha256: Some(store.answers_sha256()),
            note,
            sight: Sight::Same,
            kind: Kind::Ready(Box::new(store)),
        })
    }

    /// The teacher ready to answer, asked for these taps only. A network of the zoo computes in `precision`.
    pub(crate) fn start(self, taps: &[NodeId], precision: Precision, device: &Device) -> Result<Box<dyn Teacher>> {
        match self.kind {
            Kind::Zoo(weights) => {
                Ok(Box::new(ZooTeacher::new(&self.graph, &weights, self.bn, taps, precision, device)?))
            }
            Kind::Ready(teacher) => Ok(teacher),
        }
    }
}

/// A teacher as found on disk.
struct Found {
    graph: Graph,
    preprocessing: Preprocessing,
    labels: Option<Vec<String>>,
    stated: BTreeMap<String, f64>,
    file: PathBuf,
    kind: Kind,
    note: Option<String>,
}

fn open_onnx(
    path: &Path,
    preprocessing: &Preprocessing,
    section: &TeacherSection,
    onnx: Option<&OpenOnnx>,
    fail: &dyn Fn(String) -> Error,
) -> Result<Found> {
    let Some(open) = onnx else {
        return Err(fail("this program was built without an engine for ONNX files".to_owned()));
    };
    if section.bn == TeacherNorm::Batch {
        return Err(fail("`bn = \"batch\"` needs the norms; those of an ONNX file are folded".to_owned()));
    }
    let opened = open(path)?;
    Ok(Found {
        graph: logits_only(&section.name, opened.input, opened.classes)?,
        preprocessing: preprocessing.clone(),
        labels: None,
        stated: BTreeMap::new(),
        file: path.to_owned(),
        kind: Kind::Ready(Box::new(opened)),
        note: None,
    })
}

fn open_zoo(from: &TeacherSource, data: &PlannedData, fail: &dyn Fn(String) -> Error) -> Result<Found> {
    let (file, card) = locate(from, data, fail)?;
    let graph = zoo::build(&card.network).map_err(|error| fail(error.to_string()))?;
    let fitted = super::start::weights(&graph, &file, from.key(), &Head::Given)?;
    let (weights, note) = (fitted.weights, (!fitted.notes.is_empty()).then(|| fitted.notes.join("; ")));
    let labels = (!card.labels.is_empty()).then_some(card.labels);
    Ok(Found {
        graph,
        preprocessing: card.preprocessing,
        labels,
        stated: card.stated,
        file,
        kind: Kind::Zoo(weights),
        note,
    })
}

/// What is needed of a card, which a recipe may state instead.
struct Stated {
    network: NetworkSpec,
    labels: Vec<String>,
    preprocessing: Preprocessing,
    /// Measured numbers by name.
    stated: BTreeMap<String, f64>,
}

/// The file of weights and what is stated about it.
fn locate(from: &TeacherSource, data: &PlannedData, fail: &dyn Fn(String) -> Error) -> Result<(PathBuf, Stated)> {
    match from {
        TeacherSource::Run { path, checkpoint } => {
            let card = read_card(&path.join("card.json"))?;
            let exported = card.provenance.checkpoint.as_deref().is_some_and(|which| which.starts_with("last"));
            let which = checkpoint.map_or(if exported { "last" } else { "best" }, |which| which.as_str());
            Ok((path.join("checkpoints").join(which).join("model.safetensors"), card.into()))
        }
        TeacherSource::Bundle { path } => {
            Ok((path.join("model.safetensors"), read_card(&path.join("config.json"))?.into()))
        }
        TeacherSource::Weights { path, card, network, preprocessing, .. } => match (card, network, preprocessing) {
            (Some(card), None, None) => Ok((path.clone(), read_card(card)?.into())),
            (None, Some(network), Some(preprocessing)) => {
                let network = network.resolve(data.classes().len(), data.input);
                let preprocessing = preprocessing.clone();
                preprocessing.check().map_err(|error| fail(error.to_string()))?;
                Ok((path.clone(), Stated { network, labels: Vec::new(), preprocessing, stated: BTreeMap::new() }))
            }
            _ => Err(fail(
                "weights need `card`, or `network` and `preprocessing`; mean and std are never guessed".to_owned(),
            )),
        },
        TeacherSource::Onnx { path, .. } | TeacherSource::Stored { path } => {
            Err(fail(format!("{} is not a file of weights", path.display())))
        }
    }
}

impl From<Card> for Stated {
    fn from(card: Card) -> Self {
        let (preprocessing, stated) = (card.preprocessing, card.provenance.metrics);
        Self { network: card.network, labels: card.labels, preprocessing, stated }
    }
}

fn read_card(path: &Path) -> Result<Card> {
    let text =
        files::read_text(path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(Card::from_json(&text, path)?)
}

/// Class counts must agree, and names too where both sides have them and mean the same set.
fn check_labels(found: &Found, data: &PlannedData) -> std::result::Result<(), String> {
    let (own, classes) = (data.classes(), found.graph.output_shape());
    if classes != [own.len()] {
        return Err(format!("has {} classes, the data {}", classes.iter().product::<usize>(), own.len()));
    }
    let Some(labels) = &found.labels else { return Ok(()) };
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    match labels.iter().zip(own).position(|(a, b)| a != b) {
        Some(at) if sorted(labels) == sorted(own) => Err(format!(
            "has the same classes in another order: class {at} is `{}`, in the data `{}`",
            labels[at], own[at]
        )),
        Some(at) => {
            let near = nearest(&labels[at], own.iter().map(String::as_str));
            let near = near.map(|near| format!("; did it mean `{near}`?")).unwrap_or_default();
            Err(format!(
                "was trained on other classes: class {at} is `{}`, in the data `{}`{near}",
                labels[at], own[at]
            ))
        }
        None => Ok(()),
    }
}
