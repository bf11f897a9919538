//! The teachers of a plan: found, read, and checked against the data and the student.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attar_exec::Context;
use attar_formats::bundle;
use attar_formats::card::Origin;
use attar_formats::classes::Alignment;
use attar_formats::graph::{self, Opened};
use attar_formats::hash::{file_sha256, sha256};
use attar_formats::rename::Head;
use attar_formats::run;
use attar_formats::run::file;
use attar_formats::write::safetensors_sha256;
use attar_formats::{Card, files};
use attar_models::zoo;
use attar_models::{Graph, NodeId, Op, Outline, Weights};
use attar_pixels::Preprocessing;
use candle_core::{DType, Device, Tensor};

use super::asked_again;
use super::classes::{self, Logits};
use super::data::PlannedData;
use super::onnx_teachers;
use super::participants::KnownTeacher;
use super::rewrite::InIntegers;
use super::teacher_input::{TeacherInput, made_by};
use crate::error::{Error, Result};
use crate::labels::{AnswersKey, Store};
use crate::recipe::{SELF, TeacherClasses, TeacherNorm, TeacherSection, TeacherSource};
use crate::teacher::{Aligned, Answers, Given, OpenOnnx, Question, Teacher, ZooTeacher};

/// A teacher that fits.
pub struct PlannedTeacher {
    /// Its name in the recipe.
    pub name: String,
    /// What goes in, what it can be asked for.
    pub outline: Outline,
    /// sha256 of the file of weights, in hex.
    pub weights_sha256: String,
    /// Whether it is the network in floats that the student was, and nobody's section.
    pub(crate) is_itself: bool,
    /// Statistics of its batch norms.
    pub bn: TeacherNorm,
    /// Numbers from its card, e.g. `test_top1`.
    pub(crate) stated: BTreeMap<String, f64>,
    /// Trained parameters, and multiply-accumulates for one image, where they are known.
    pub(crate) size: Option<(usize, u64)>,
    /// Whether it has a gradient in its input.
    pub(crate) attackable: bool,
    /// Whether it answers to training images in the plain view only.
    pub(crate) only_samples: bool,
    /// Of stored answers, what they are.
    pub(crate) answers_sha256: Option<String>,
    /// What people should know of it before a run.
    pub(crate) notes: Vec<String>,
    /// How it sees the student's images.
    pub(crate) input: TeacherInput,
    /// Its own preprocessing; of stored answers the student's.
    pub(crate) preprocessing: Preprocessing,
    /// Which of its logits are the data's classes.
    pub(crate) logits: Logits,
    /// What its file gives.
    pub(crate) answers: Answers,
    /// Least accuracy before the first step, a share.
    pub(crate) at_least: Option<f64>,
    kind: Kind,
}

pub(super) enum Kind {
    /// A graph, which the executor runs.
    Network { graph: Graph, weights: Weights },
    /// Something that answers by itself.
    Ready(Box<dyn Teacher>),
}

impl Kind {
    /// Whether its answers have a gradient in the image: rounding to whole numbers has none.
    fn attackable(&self) -> bool {
        match self {
            Self::Network { graph, .. } => !graph.nodes().iter().any(|node| matches!(node.op, Op::Quantize(_))),
            Self::Ready(_) => false,
        }
    }

    fn size(&self) -> Option<(usize, u64)> {
        match self {
            Self::Network { graph, .. } => Some((graph.parameter_count(), graph.macs())),
            Self::Ready(_) => None,
        }
    }
}

impl std::fmt::Debug for PlannedTeacher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlannedTeacher").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a run asks of stored answers.
pub(super) struct StoreQuestion {
    pub(super) asked: AnswersKey,
    pub(super) epochs: usize,
    /// Images of a step.
    pub(super) batch: usize,
}

impl PlannedTeacher {
    pub(super) fn load(
        section: &TeacherSection,
        key: &str,
        data: &PlannedData,
        question: &StoreQuestion,
        onnx: Option<&OpenOnnx>,
    ) -> Result<Self> {
        let fail = |problem: String| Error::Recipe { key: key.to_owned(), problem };
        let found = match &section.from {
            TeacherSource::Given { what } => {
                let problem = format!("`{what}` is a teacher of the program that made this run");
                return Err(fail(format!("{problem}\n  hint: only that program has it")));
            }
            TeacherSource::Stored { path } => return Self::stored(section, path, data, question, onnx, &fail),
            TeacherSource::Onnx { .. } => onnx_teachers::find(section, data, question.batch, onnx, &fail)?,
            from => open_zoo(from, section, data, &fail)?,
        };
        let (weights_sha256, attackable) = (file_sha256(&found.file)?, found.kind.attackable());
        Self::fitted(section, key, data, found, (weights_sha256, attackable))
    }

    /// The network in floats that a student in integers was.
    pub(super) fn itself(student: &InIntegers, data: &PlannedData) -> Self {
        let (graph, weights) = student.floats.clone();
        let kind = Kind::Network { graph, weights };
        let (outline, weights_sha256) = (Outline::from(&student.floats.0), safetensors_sha256(&student.floats.1));
        Self {
            name: SELF.to_owned(),
            is_itself: true,
            logits: Ok(Alignment::same(outline.classes())),
            outline,
            weights_sha256,
            bn: TeacherNorm::Running,
            stated: BTreeMap::new(),
            size: kind.size(),
            attackable: kind.attackable(),
            only_samples: false,
            answers_sha256: None,
            notes: Vec::new(),
            input: TeacherInput::Same,
            preprocessing: data.pipeline.preprocessing.clone(),
            answers: Answers::Logits,
            at_least: None,
            kind,
        }
    }

    /// A teacher that a program gave.
    pub(super) fn given(
        section: &TeacherSection,
        given: Given,
        data: &PlannedData,
        (batch, device): (usize, &Device),
    ) -> Result<Self> {
        let key = format!("teachers.{}", section.name);
        let Given { mut teacher, outline, attackable, preprocessing, classes, weights_sha256, at_least } = given;
        let preprocessing = preprocessing.unwrap_or_else(|| data.pipeline.preprocessing.clone());
        preprocessing.check().map_err(|error| Error::Recipe { key: key.clone(), problem: error.to_string() })?;
        rehearse_given(&mut *teacher, &outline, batch_sizes(data.train.len(), batch), device)
            .map_err(|problem| Error::Recipe { key: key.clone(), problem })?;
        // Without a word of its weights it is known by what it says of itself.
        let stated = || sha256(format!("given: {} {outline:?}", section.name).as_bytes());
        let unnamed = "its program names no weights (`weights_sha256`): that it is the same when the run is resumed is taken on trust";
        let note = weights_sha256.is_none().then(|| unnamed.to_owned());
        let sha256 = weights_sha256.unwrap_or_else(stated);
        let found = LocatedWeights {
            outline,
            preprocessing,
            labels: Some(classes.unwrap_or_else(|| data.classes().to_vec())),
            stated: BTreeMap::new(),
            file: PathBuf::new(),
            answers: Answers::Logits,
            kind: Kind::Ready(teacher),
            note,
        };
        let section = TeacherSection { at_least, ..section.clone() };
        Self::fitted(&section, &key, data, found, (sha256, attackable))
    }

    /// A teacher that was found, with its classes and its view of the images.
    fn fitted(
        section: &TeacherSection,
        key: &str,
        data: &PlannedData,
        found: LocatedWeights,
        (weights_sha256, attackable): (String, bool),
    ) -> Result<Self> {
        let fail = |problem: String| Error::Recipe { key: key.to_owned(), problem };
        let count = found.outline.classes();
        let (logits, note) = classes::find(data.classes(), found.labels.as_deref(), count, section.classes.as_ref())
            .map_err(|problem| Error::Recipe { key: format!("{key}.classes"), problem })?;
        let named = |what: &str| format!("teacher `{}`: {what}", section.name);
        let logits = logits.map_err(|problem| format!("teachers.{} {problem}", section.name));
        let notes = [found.note.clone(), note, found.answers.note().map(str::to_owned)].into_iter().flatten();
        check_at_least(section, &logits)?;
        let input = TeacherInput::find(data, &found.preprocessing, found.outline.input_shape()).map_err(&fail)?;
        Ok(Self {
            is_itself: false,
            name: section.name.clone(),
            outline: found.outline,
            weights_sha256,
            bn: section.bn,
            stated: found.stated,
            size: found.kind.size(),
            attackable,
            only_samples: false,
            answers_sha256: None,
            notes: notes.map(|note| named(&note)).collect(),
            input,
            preprocessing: found.preprocessing,
            logits,
            answers: found.answers,
            at_least: section.at_least,
            kind: found.kind,
        })
    }

    /// What losses and views know of it.
    pub(super) fn known(&self) -> KnownTeacher {
        let logarithms = match (self.only_samples, self.answers) {
            (true, _) => Some("stored answers, which are log-probabilities"),
            (_, Answers::Probabilities) => Some("probabilities"),
            (_, Answers::LogProbabilities) => Some("log-probabilities"),
            (_, Answers::Logits) => None,
        };
        KnownTeacher {
            name: self.name.clone(),
            is_itself: self.is_itself,
            outline: self.outline.clone(),
            attackable: self.attackable,
            only_samples: self.only_samples,
            logits: self.logits.as_ref().map(|alignment| alignment.columns.len()).map_err(Clone::clone),
            logarithms,
            own_pixels: self.input.own().is_some(),
            batch_statistics: self.bn == TeacherNorm::Batch,
        }
    }

    /// A teacher whose answers are stored: they must be to the run's own question, and some are asked again.
    fn stored(
        section: &TeacherSection,
        path: &Path,
        data: &PlannedData,
        question: &StoreQuestion,
        onnx: Option<&OpenOnnx>,
        fail: &dyn Fn(String) -> Error,
    ) -> Result<Self> {
        if section.bn == TeacherNorm::Batch {
            return Err(fail("`bn = \"batch\"` needs the norms; stored answers have none".to_owned()));
        }
        let mut store = Store::open(path)?;
        store.fits(&question.asked, question.epochs).map_err(fail)?;
        let key = format!("teachers.{}", section.name);
        if section.classes.is_some() {
            let problem =
                "stored answers carry the data's class names; `classes` belongs to the recipe that wrote them";
            return Err(fail(problem.to_owned()));
        }
        let unnamed = store.names(data.classes(), || data.images_sha256())?;
        let note = asked_again::check(&mut store, path, data, |behind| Self::load(behind, &key, data, question, onnx))?;
        let logits = Ok(Alignment::same(store.manifest.asked.classes));
        check_at_least(section, &logits)?;
        let manifest = &store.manifest;
        Ok(Self {
            is_itself: false,
            name: section.name.clone(),
            outline: Outline::logits_only(&manifest.network, data.input, manifest.asked.classes),
            weights_sha256: manifest.weights_sha256.clone(),
            bn: TeacherNorm::Running,
            stated: BTreeMap::new(),
            size: None,
            attackable: false,
            only_samples: true,
            answers_sha256: Some(store.answers_sha256()),
            notes: unnamed.into_iter().chain(note).collect(),
            input: TeacherInput::Same,
            preprocessing: data.pipeline.preprocessing.clone(),
            logits,
            answers: Answers::Logits,
            at_least: section.at_least,
            kind: Kind::Ready(Box::new(store)),
        })
    }

    /// The teacher ready to answer, asked for these taps only. A network of the zoo computes in `context`.
    pub(crate) fn start(self, taps: &[NodeId], context: &Context) -> Result<Box<dyn Teacher>> {
        let teacher = match self.kind {
            Kind::Network { graph, weights } => Box::new(ZooTeacher::new(&graph, &weights, self.bn, taps, context)?),
            Kind::Ready(mut teacher) => {
                teacher.prepare(taps)?;
                teacher
            }
        };
        match self.logits {
            Ok(alignment) if !alignment.is_identity() => {
                Ok(Box::new(Aligned::new(teacher, &alignment.columns, context.device())?))
            }
            _ => Ok(teacher),
        }
    }
}

/// A teacher as found on disk.
pub(super) struct LocatedWeights {
    pub(super) outline: Outline,
    pub(super) preprocessing: Preprocessing,
    pub(super) labels: Option<Vec<String>>,
    pub(super) stated: BTreeMap<String, f64>,
    pub(super) file: PathBuf,
    pub(super) answers: Answers,
    pub(super) kind: Kind,
    pub(super) note: Option<String>,
}

/// Sizes of the batches that an epoch has.
pub(super) fn batch_sizes(images: usize, batch: usize) -> impl Iterator<Item = usize> {
    let whole = batch.min(images);
    [Some(whole), Some(images % batch).filter(|rest| *rest > 0 && *rest != whole)].into_iter().flatten()
}

/// Asks a program's teacher for logits of batches as an epoch has them: a shape that is not the outline's is found here.
fn rehearse_given(
    teacher: &mut dyn Teacher,
    outline: &Outline,
    sizes: impl Iterator<Item = usize>,
    device: &Device,
) -> std::result::Result<(), String> {
    for size in sizes {
        let shape = [&[size], outline.input_shape()].concat();
        let mut ask = || {
            let pixels = Tensor::zeros(shape.as_slice(), DType::F32, device)?;
            teacher.outputs(&Question { pixels: &pixels, samples: None }, &[])
        };
        let answer = ask().map_err(|error: Error| format!("asked for a batch of {size}: {error}"))?;
        let expected = [&[size], outline.output_shape()].concat();
        if answer.logits.dims() != expected {
            let shape = answer.logits.dims();
            return Err(format!("answers a batch of {size} with {shape:?}, its outline says {expected:?}"));
        }
    }
    Ok(())
}

fn open_zoo(
    from: &TeacherSource,
    section: &TeacherSection,
    data: &PlannedData,
    fail: &dyn Fn(String) -> Error,
) -> Result<LocatedWeights> {
    let (file, card) = locate(from, section, data, fail)?;
    let Opened { graph, note, .. } = card.network;
    let fitted = super::source::weights(&file, from.key())?.fitted(&graph, &Head::Given)?;
    let notes: Vec<String> = note.into_iter().chain(fitted.notes).collect();
    let (weights, note) = (fitted.weights, (!notes.is_empty()).then(|| notes.join("; ")));
    let labels = (!card.labels.is_empty()).then_some(card.labels);
    let Stated { preprocessing, stated, .. } = card;
    let outline = Outline::from(&graph);
    let (answers, kind) = (Answers::Logits, Kind::Network { graph, weights });
    Ok(LocatedWeights { outline, preprocessing, labels, stated, file, answers, kind, note })
}

/// What is needed of a card, which a recipe may state instead.
struct Stated {
    network: Opened,
    labels: Vec<String>,
    preprocessing: Preprocessing,
    /// Measured numbers by name.
    stated: BTreeMap<String, f64>,
}

/// The file of weights and what is stated about it.
fn locate(
    from: &TeacherSource,
    section: &TeacherSection,
    data: &PlannedData,
    fail: &dyn Fn(String) -> Error,
) -> Result<(PathBuf, Stated)> {
    match from {
        TeacherSource::Run { path, checkpoint } => {
            let card = read_card(&path.join(file::CARD))?;
            let exported = card.provenance.checkpoint.as_deref().is_some_and(|which| which.starts_with("last"));
            let which = checkpoint.map_or(if exported { "last" } else { "best" }, |which| which.as_str());
            Ok((run::model(path, which), Stated::of(card, path)?))
        }
        TeacherSource::Bundle { path } => {
            Ok((path.join(bundle::file::WEIGHTS), Stated::of(read_card(&path.join(bundle::file::CONFIG))?, path)?))
        }
        TeacherSource::Weights { path, card, network, preprocessing, .. } => match (card, network, preprocessing) {
            (Some(card), None, None) => {
                Ok((path.clone(), Stated::of(read_card(card)?, card.parent().unwrap_or(Path::new("")))?))
            }
            (None, Some(network), Some(preprocessing)) => {
                let classes = match &section.classes {
                    Some(TeacherClasses::Names(names)) => names.len(),
                    _ => data.classes().len(),
                };
                let preprocessing = preprocessing.clone();
                preprocessing.check().map_err(|error| fail(error.to_string()))?;
                let network = network.resolve(classes, made_by(&preprocessing, data)?);
                let graph = zoo::build(&network).map_err(|error| fail(error.to_string()))?;
                let network = Opened { graph, origin: Origin::Zoo(network), note: None };
                Ok((path.clone(), Stated { network, labels: Vec::new(), preprocessing, stated: BTreeMap::new() }))
            }
            _ => Err(fail(
                "weights need `card`, or `network` and `preprocessing`; mean and std are never guessed".to_owned(),
            )),
        },
        TeacherSource::Onnx { path, .. } | TeacherSource::Stored { path } => {
            Err(fail(format!("{} is not a file of weights", path.display())))
        }
        TeacherSource::Given { what } => Err(fail(format!("`{what}` is not a file of weights"))),
    }
}

impl Stated {
    /// By a card and the graph beside it, in `folder`.
    fn of(card: Card, folder: &Path) -> Result<Self> {
        let network = graph::of_card(&card, folder)?;
        let (preprocessing, stated) = (card.preprocessing, card.provenance.metrics);
        Ok(Self { network, labels: card.labels, preprocessing, stated })
    }
}

fn read_card(path: &Path) -> Result<Card> {
    let text =
        files::read_text(path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(Card::from_json(&text, path)?)
}

/// `at_least` is a share that can be measured.
fn check_at_least(section: &TeacherSection, logits: &Logits) -> Result<()> {
    let fail = |problem: String| Error::Recipe { key: format!("teachers.{}.at_least", section.name), problem };
    match (section.at_least, logits) {
        (None, _) => Ok(()),
        (Some(share), _) if !(0.0..=1.0).contains(&share) => {
            Err(fail(format!("{share}, expected a share of right answers from 0 to 1, e.g. 0.6")))
        }
        (Some(_), Err(problem)) => Err(fail(format!("cannot be measured: {problem}"))),
        (Some(_), Ok(_)) => Ok(()),
    }
}
