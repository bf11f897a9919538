//! The teachers of a plan: found, read, and checked against the data and the student.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attar_models::zoo::{self, NetworkSpec};
use attar_models::{Card, Graph, NodeId, Preprocessing, Weights, nearest, read, rename};
use candle_core::{Device, Tensor};

use super::data::PlannedData;
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
    /// From the student's normalisation to its own, where they differ.
    pub(crate) renormalise: Option<Renormalise>,
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

/// `x * scale + shift` a channel: undoes one normalisation and applies another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Renormalise {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Renormalise {
    /// `None` when both normalise alike.
    fn between(student: &Preprocessing, teacher: &Preprocessing) -> Option<Self> {
        if student.mean == teacher.mean && student.std == teacher.std {
            return None;
        }
        let pairs = || student.std.iter().zip(&teacher.std);
        let scale = pairs().map(|(s, t)| s / t).collect();
        let means = student.mean.iter().zip(&teacher.mean);
        let shift = means.zip(&teacher.std).map(|((s, t), std)| (s - t) / std).collect();
        Some(Self { scale, shift })
    }

    /// The batch `[N, C, H, W]` as the teacher wants it.
    pub(crate) fn apply(&self, input: &Tensor) -> Result<Tensor> {
        let channels = |values: &[f32]| Tensor::from_slice(values, (1, values.len(), 1, 1), input.device());
        Ok(input.broadcast_mul(&channels(&self.scale)?)?.broadcast_add(&channels(&self.shift)?)?)
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
        let own = &data.pipeline.preprocessing;
        let renormalise = fit_preprocessing(own, &found.preprocessing).map_err(&fail)?;
        if found.graph.input_shape() != data.input {
            let problem = format!("takes {:?}, the student's batches are {:?}", found.graph.input_shape(), data.input);
            return Err(fail(problem));
        }
        Ok(Self {
            name: section.name.clone(),
            graph: found.graph,
            weights_sha256: file_sha256(&found.file)?,
            bn: section.bn,
            stated: found.stated,
            gives: if matches!(found.kind, Kind::Zoo(_)) { Gives::All } else { Gives::Logits },
            answers_sha256: None,
            note: None,
            renormalise,
            kind: found.kind,
        })
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
            renormalise: None,
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
    })
}

fn open_zoo(from: &TeacherSource, data: &PlannedData, fail: &dyn Fn(String) -> Error) -> Result<Found> {
    let (file, card) = locate(from, data, fail)?;
    let graph = zoo::build(&card.network).map_err(|error| fail(error.to_string()))?;
    let weights = rename::fit(&graph, read::any(&file)?.weights)?;
    weights.check(&graph)?;
    let labels = (!card.labels.is_empty()).then_some(card.labels);
    Ok(Found { graph, preprocessing: card.preprocessing, labels, stated: card.stated, file, kind: Kind::Zoo(weights) })
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
        TeacherSource::Weights { path, card, network, preprocessing } => match (card, network, preprocessing) {
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
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(Card::from_json(&text, path)?)
}

/// How to get from the student's batch to the teacher's, or why that is impossible.
fn fit_preprocessing(
    student: &Preprocessing,
    teacher: &Preprocessing,
) -> std::result::Result<Option<Renormalise>, String> {
    let pixels = |p: &Preprocessing| (p.channels, p.resize, p.crop);
    if pixels(student) == pixels(teacher) {
        return Ok(Renormalise::between(student, teacher));
    }
    let say = |p: &Preprocessing| {
        let text = |value: Option<serde_json::Value>| value.map_or_else(|| "none".to_owned(), |v| v.to_string());
        let resize = text(p.resize.and_then(|resize| serde_json::to_value(resize).ok()));
        format!("{} channels, resize {resize}, crop {}", p.channels, text(p.crop.map(|c| c.to_vec().into())))
    };
    Err(format!(
        "sees other pixels than the student ({}; the student: {})\n  hint: one batch serves both, only mean and std may differ; make `data.preprocessing` agree with the teacher's",
        say(teacher),
        say(student)
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_normalised_for_the_student_becomes_the_teachers() {
        let student = Preprocessing::normalise(vec![0.5, 0.4, 0.3], vec![0.2, 0.25, 0.5]);
        let teacher = Preprocessing::normalise(vec![0.1, 0.2, 0.3], vec![1.0, 0.5, 0.25]);
        let pixel = 0.7f32;
        let seen = |p: &Preprocessing| -> Vec<f32> { (0..3).map(|c| (pixel - p.mean[c]) / p.std[c]).collect() };
        let batch = Tensor::from_vec(seen(&student), (1, 3, 1, 1), &Device::Cpu).unwrap();
        let how = fit_preprocessing(&student, &teacher).unwrap().unwrap();
        let got: Vec<f32> = how.apply(&batch).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (got, expected) in got.iter().zip(seen(&teacher)) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
        assert_eq!(fit_preprocessing(&student, &student).unwrap(), None);
    }

    #[test]
    fn other_pixels_are_refused() {
        let grey = Preprocessing::normalise(vec![0.5], vec![0.5]);
        let colour = Preprocessing::normalise(vec![0.5; 3], vec![0.5; 3]);
        let message = fit_preprocessing(&grey, &colour).unwrap_err();
        assert!(message.contains("3 channels") && message.contains("hint"), "{message}");
    }
}
