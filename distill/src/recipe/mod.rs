//! The recipe: exactly what the TOML file says, nothing resolved, nothing guessed.
//!
//! A [`Recipe`] is a value. [`Recipe::load`] reads it with dotted overrides and resolves relative paths against the
//! file; [`Recipe::to_toml`] writes it back with every default spelled out. Whether it can be *run* is the business of
//! [`Plan`](crate::plan::Plan).

mod attack;
mod divergence;
mod error;
mod load;
mod network;
mod older;
mod paths;
mod peers;
#[cfg(test)]
mod plain;
mod read;
mod reference;
mod rewrite;
mod stages;
mod start;
mod training;
mod validation;
mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;

use attar_data::{Augment, Source};
use attar_exec::DeviceChoice;
use attar_exec::Precision;
use attar_exec::optim::OptimiserSpec;
use attar_models::zoo::{NetworkSpec, Options};
use attar_pixels::Preprocessing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knots::Knots;
use crate::losses::LossSpec;

pub use attack::{Attack, Climb, RobustnessSection};
pub use attar_formats::receipt::TeacherNorm;
pub use attar_formats::run::Which;
pub use divergence::OnDivergence;
pub(crate) use paths::relative;
pub use peers::{Names, PeerSection, STUDENT, Update};
#[cfg(test)]
pub(crate) use plain::PLAIN;
pub use reference::{recipe_reference, recipe_schema};
pub use rewrite::{Calibrator, Rewrite, SELF, Scales};
pub use stages::StageSection;
pub use start::{StartHead, StudentSource};
pub use training::{RateFactor, Sampling};
pub use validation::Validation;
pub use views::{CLEAN, ViewKind, ViewSection};

/// A training run as written down: data, student, teachers, losses, schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run; the directory is `runs/NAME` unless the command line says otherwise.
    pub name: String,
    /// What a reader of its results should know, such as settings that are easier than its paper's; `attar compare` prints it
    /// under the table. It changes no bit of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Seed of everything random: initialisation, split, order, augmentation, dropout.
    #[serde(default)]
    pub seed: u64,
    /// `cpu`, `cuda` or `auto`.
    #[serde(default)]
    pub device: DeviceChoice,
    /// Images and labels.
    pub data: DataSection,
    /// The network that learns.
    pub student: StudentSection,
    /// Networks to learn from; none for plain training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teachers: Vec<TeacherSection>,
    /// Networks that are trained one after the other before the student, each the teacher of the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageSection>,
    /// Networks that learn beside the student and are never exported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerSection>,
    /// Other looks at each batch than the plain one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<ViewSection>,
    /// Epochs, batches, learning rate, optimiser.
    pub train: TrainSection,
    /// What is minimised: a weighted sum of losses.
    pub losses: Vec<LossSection>,
    /// Which weights leave the run.
    #[serde(default)]
    pub export: ExportSection,
    /// Attacks that the exported weights meet at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub robustness: Vec<RobustnessSection>,
}

/// `[data]`: images, labels, and how pixels become the network's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// The data set.
    pub source: Source,
    /// Which images the best epoch is chosen by: a share of the training images, or a folder of their own.
    pub validation: Validation,
    /// Evaluation preprocessing: also what the exported model states.
    pub preprocessing: Preprocessing,
    /// Augmentation of training images, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<Augment>,
    /// Which of the training images an epoch shows.
    #[serde(default, skip_serializing_if = "Sampling::is_all")]
    #[schemars(extend("default" = "all"))]
    pub sampling: Sampling,
    /// Whether the training images live on the device as bytes and are augmented there, to the same bits as on the host.
    #[serde(default, skip_serializing_if = "Resident::is_auto")]
    #[schemars(extend("default" = "auto"))]
    pub resident: Resident,
    /// Seed of the split and of the subsets; the recipe's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// Use only this many training images (stratified, seeded, before the validation split); stated in the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "x-unit" = "images"))]
    pub train_subset: Option<usize>,
    /// Use only this many test images (stratified, seeded); stated in the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "x-unit" = "images"))]
    pub test_subset: Option<usize>,
}

/// Whether training images live on the device. The same bits come of every answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resident {
    /// On CUDA, where the augmentation allows it and they take at most 2 GiB.
    #[default]
    Auto,
    /// Batches are made on the host.
    Never,
    /// On any device and whatever they take; an error where the augmentation does not allow it.
    Always,
}

impl Resident {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// `[student]`: the network that learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StudentSection {
    /// The network; classes and input size follow from the data where they are not written. It may be left out where `from` is a
    /// run or a bundle, whose network it then is, with a last layer of the data's classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSection>,
    /// Weights to start from; random ones otherwise. Once called `init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<StudentSource>,
}

/// A network of the zoo in a recipe: like [`NetworkSpec`], but classes and input may be left to the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkSection {
    /// Name in the zoo, e.g. `resnet20`.
    pub name: String,
    /// Number of classes; from the data if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Shape of one input sample `[C, H, W]`; from the data if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<[usize; 3]>,
    /// Options of the network, such as `stem`, `shortcut`, `width` or `dropout`; `attar models` lists who has which.
    #[serde(flatten)]
    pub options: Options,
}

impl From<&str> for NetworkSection {
    /// A network of the zoo by its name, the rest as the data and the family have it.
    fn from(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, classes: None, input: None, options: Options::default() }
    }
}

impl From<NetworkSpec> for NetworkSection {
    fn from(spec: NetworkSpec) -> Self {
        let NetworkSpec { name, classes, input, options } = spec;
        Self { name, classes: Some(classes), input: Some(input), options }
    }
}

impl NetworkSection {
    /// The network with classes and input filled in from the data where the recipe leaves them open.
    pub fn resolve(&self, classes: usize, input: [usize; 3]) -> NetworkSpec {
        let (classes, input) = (self.classes.unwrap_or(classes), self.input.unwrap_or(input));
        NetworkSpec { name: self.name.clone(), classes, input, options: self.options.clone() }
    }
}

/// `[[teachers]]`: a network to learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeacherSection {
    /// Name, unique among the teachers.
    pub name: String,
    /// Where network, weights and preprocessing come from.
    pub from: TeacherSource,
    /// Statistics its batch norms use.
    #[serde(default)]
    pub bn: TeacherNorm,
    /// Names of its classes, where it carries none or more of them than the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<TeacherClasses>,
    /// Least accuracy before the first step, a share from 0 to 1; a teacher below it is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "maximum" = 1))]
    pub at_least: Option<f64>,
}

impl TeacherSection {
    /// A teacher with nothing but a name and a place.
    pub fn new(name: impl Into<String>, from: TeacherSource) -> Self {
        Self { name: name.into(), from, bn: TeacherNorm::default(), classes: None, at_least: None }
    }
}

/// Where a teacher comes from. Its preprocessing is always stated, by its card or by the recipe, never guessed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TeacherSource {
    /// A run directory of ours.
    Run {
        /// The directory.
        path: PathBuf,
        /// Which of its checkpoints; the one its card describes if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Which>,
    },
    /// An exported bundle of ours.
    Bundle {
        /// The directory.
        path: PathBuf,
    },
    /// A file of weights, with a card or with network and preprocessing written out.
    Weights {
        /// `.safetensors` or `.pth`.
        path: PathBuf,
        /// Which dictionary of a checkpoint, dotted: `state_dict_ema`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// A `card.json`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        card: Option<PathBuf>,
        /// The network, if there is no card.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<NetworkSection>,
        /// Its preprocessing, if there is no card.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preprocessing: Option<Preprocessing>,
    },
    /// Its answers to these very training images, written down by `attar labels`: logits only, and no teacher runs.
    Stored {
        /// The directory.
        path: PathBuf,
    },
    /// An ONNX file: logits only.
    Onnx {
        /// The file.
        path: PathBuf,
        /// Its preprocessing.
        preprocessing: Preprocessing,
        /// The runtime that runs it, `tract` or `ort`; the first at hand if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        engine: Option<String>,
    },
    /// A teacher of a program that trains with it; no recipe can open it.
    #[schemars(skip)]
    Given {
        /// What the program calls it.
        what: String,
    },
}

/// The classes of a teacher by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a list of its class names in the order of its logits, or a table such as { tench = 0 } from the data's class names to its own names or numbers"
)]
pub enum TeacherClasses {
    /// All of its names, in the order of its logits.
    Names(Vec<String>),
    /// For each class of the data its name or number (from 0) among the teacher's.
    Map(BTreeMap<String, TeacherClass>),
}

/// One class of a teacher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the number of one of the teacher's logits, from 0, or the name of a class")]
pub enum TeacherClass {
    /// Position among its logits, from 0.
    Index(usize),
    /// Its name, of a teacher whose card has names.
    Name(String),
}

/// `[train]`: how long, how fast, with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainSection {
    /// Number of epochs.
    #[schemars(extend("minimum" = 1, "x-unit" = "epochs"))]
    pub epochs: usize,
    /// Images a batch; the last one of an epoch may be smaller.
    #[schemars(extend("minimum" = 1, "x-unit" = "images"))]
    pub batch: usize,
    /// Batches whose gradients, averaged by images, make one step; 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "x-unit" = "batches"))]
    pub accumulate: Option<usize>,
    /// Learning rate over time.
    pub learning_rate: Knots,
    /// What turns gradients into steps.
    pub optimiser: OptimiserSpec,
    /// Parameters that learn at a multiple of the learning rate; the last that matches counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learning_rate_factors: Vec<RateFactor>,
    /// Parameters that do not learn at all, by the beginnings of their names; batch norms among them keep their statistics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// In what order the student and its peers move in a step.
    #[serde(default)]
    pub update: Update,
    /// Largest global gradient norm; gradients above are scaled down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub clip: Option<f64>,
    /// Decay of an exponential moving average of the weights, e.g. 0.999; with it, the average is what is evaluated
    /// and exported. It starts lower, `(1 + n) / (10 + n)` after `n` steps, so that the initial weights are forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "exclusiveMaximum" = 1))]
    pub ema: Option<f64>,
    /// What a step computes in: `f32`, `bf16`, or on CUDA `tf32`. Evaluation and what is exported are `f32` in any case.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    #[schemars(extend("default" = "f32"))]
    pub precision: Precision,
    /// Threads to compute with; all of them if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "x-unit" = "threads"))]
    pub threads: Option<usize>,
    /// Evaluate on the validation split every so many epochs (and after the last).
    #[serde(default = "one")]
    #[schemars(extend("minimum" = 1, "x-unit" = "epochs"))]
    pub eval_every: usize,
    /// The run ends after so many evaluations without a better validation accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "x-unit" = "evaluations"))]
    pub patience: Option<usize>,
    /// Also write a checkpoint every so many steps inside an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "x-unit" = "steps"))]
    pub checkpoint_every_steps: Option<usize>,
    /// What to do when a loss, a gradient or a weight is no finite number any more.
    #[serde(default, skip_serializing_if = "OnDivergence::is_stop")]
    #[schemars(extend("default" = "stop"))]
    pub on_divergence: OnDivergence,
    /// Also evaluate on the test split after every epoch and report its best, as the authors of channel distillation
    /// do. Nothing is ever chosen by it.
    #[serde(default)]
    pub report_best_on_test: bool,
}

/// `[[losses]]`: a term of the sum that is minimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossSection {
    /// Name, unique among the losses.
    pub name: String,
    /// Weight over time; where it is 0 the loss is not computed.
    pub weight: Knots,
    /// Which network learns from it: `student`, or a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student: Option<String>,
    /// Which networks it learns from: teachers, peers, or `student` (whose answers are constants then); all teachers if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Names>,
    /// Which views of the batch it reads; `clean` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<Names>,
    /// The loss and its settings.
    pub loss: LossSpec,
}

/// `[export]`: which weights leave the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportSection {
    /// `best` by validation accuracy, or `last`.
    #[serde(default)]
    pub weights: Which,
}

fn one() -> usize {
    1
}
