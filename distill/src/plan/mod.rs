//! The plan: a recipe with every name resolved and everything checked that can be checked before the first batch.

mod arrangement;
pub(crate) mod asked_again;
mod classes;
mod data;
mod describe;
mod ground;
mod idle;
mod ids;
mod losses;
mod moves;
mod numbers;
pub(crate) mod onnx;
mod onnx_teachers;
mod participants;
mod residence;
mod rewrite;
mod scan;
mod source;
mod stages;
mod start;
mod teacher_input;
mod teachers;
mod training;
mod views;
mod wiring;

use std::collections::BTreeMap;
use std::path::PathBuf;

use attar_data::Splits;
use attar_exec::Params;
use attar_formats::card::Origin;
use attar_models::{Graph, Weights};
use candle_core::Device;

use crate::checkpoint::Failpoint;
use crate::error::{Error, Result};
use crate::losses::{AnyLoss, Teachers};
use crate::recipe::{Recipe, SELF, ViewKind};
use crate::teacher::{Given, OpenOnnx};

use arrangement::Arrangement;
use ground::Ground;
use scan::Look;
use teachers::StoreQuestion;

pub(crate) use asked_again::Live;
pub use attar_formats::receipt::Hashes;
pub(crate) use data::Subset;
pub use data::{Fingerprints, PlannedData};
pub use describe::Description;
pub(crate) use ids::{ConnectorId, Id, LossId, PassId, QuestionId, StudentId, Table, TeacherId, ViewId};
pub(crate) use losses::{PlannedLoss, prefix};
pub(crate) use moves::Moves;
#[cfg(test)]
pub(crate) use participants::{KnownTeacher, KnownView};
pub(crate) use participants::{Participants, Source};
pub use residence::Residence;
pub(crate) use rewrite::InIntegers;
pub use scan::Progress;
pub(crate) use teacher_input::TeacherInput;
pub use teachers::PlannedTeacher;
pub(crate) use views::{PlannedKind, PlannedView};
pub(crate) use wiring::{Connectors, PlannedConnector, PlannedQuestion, WiredAnswer, Wiring, taps_of};

/// What a plan is given from outside.
#[derive(Default)]
pub struct PlanOptions {
    /// Opens ONNX teachers; without it a recipe that names one is refused.
    pub onnx: Option<OpenOnnx>,
    /// The folder in which the hashes of image files are kept between runs; without it every file is decoded.
    pub cache: Option<PathBuf>,
    /// Told how far the look at the images is.
    pub progress: Option<Progress>,
    /// Takes what does nothing, a loss that never counts or a setting that nobody reads, for a trial and not for a mistake.
    pub allow_idle: bool,
}

impl std::fmt::Debug for PlanOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanOptions").field("onnx", &self.onnx.is_some()).finish_non_exhaustive()
    }
}

/// What a program brings along, by its names in the recipe.
#[derive(Default)]
pub(crate) struct GivenParts {
    pub(crate) images: Option<Splits>,
    pub(crate) student: Option<GivenStudent>,
    pub(crate) teachers: BTreeMap<String, Given>,
    pub(crate) losses: BTreeMap<String, AnyLoss>,
}

impl std::fmt::Debug for GivenParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = (self.teachers.keys(), self.losses.keys());
        f.debug_struct("GivenParts").field("images", &self.images).field("names", &names).finish_non_exhaustive()
    }
}

/// A student of a program; random where it gives no weights.
#[derive(Debug)]
pub(crate) struct GivenStudent {
    pub(crate) graph: Graph,
    pub(crate) weights: Option<Weights>,
}

/// A network that learns beside the student.
#[derive(Debug)]
pub(crate) struct PlannedPeer {
    pub(crate) name: String,
    pub(crate) graph: Graph,
}

/// Everything that a run needs, resolved and checked.
#[derive(Debug)]
pub struct Plan {
    /// The recipe it was made from.
    pub(crate) recipe: Recipe,
    /// Where tensors live.
    pub(crate) device: Device,
    /// Why the device is not the one people may have hoped for.
    pub(crate) device_note: Option<String>,
    /// Images.
    pub(crate) data: PlannedData,
    /// Where those to learn from live.
    pub(crate) residence: Residence,
    /// The student's network.
    pub(crate) student: Graph,
    /// Where that came from.
    pub(crate) origin: Origin,
    /// Steps in an epoch.
    pub(crate) steps_per_epoch: usize,
    /// The teachers.
    pub(crate) teachers: Table<TeacherId, PlannedTeacher>,
    /// Threads to compute with.
    pub(crate) threads: usize,
    pub(crate) params: Params,
    /// Of a student in integers what it learns by.
    pub(crate) integers: Option<InIntegers>,
    /// sha256 of the file of weights that the student starts from, in hex.
    pub(crate) init_sha256: Option<String>,
    /// What people should know of the start and of unusual settings of training.
    pub(crate) remarks: Vec<String>,
    pub(crate) peers: Vec<PlannedPeer>,
    /// Everybody by name.
    pub(crate) participants: Participants,
    pub(crate) views: Table<ViewId, PlannedView>,
    pub(crate) losses: Table<LossId, PlannedLoss>,
    pub(crate) failpoint: Failpoint,
}

impl Plan {
    /// Resolves and checks a recipe: data opened, graphs built, weights read and fitted, taps and connectors sized.
    ///
    /// # Errors
    /// Whatever is wrong with the recipe or the files it names, with the dotted key and the nearest valid name.
    pub fn new(recipe: Recipe, options: PlanOptions) -> Result<Self> {
        Self::with(recipe, GivenParts::default(), options)
    }

    /// The same, with what a program gave in place of what its recipe calls `given`.
    pub(crate) fn with(recipe: Recipe, mut given: GivenParts, options: PlanOptions) -> Result<Self> {
        let PlanOptions { onnx, cache, progress, allow_idle } = options;
        let look = Look { cache: cache.as_ref(), progress: progress.as_ref() };
        let ground = Ground::of(&recipe, given.images, given.student, Some(&look))?;
        let (epochs, batch) = (recipe.train.epochs, recipe.train.batch);
        let question = StoreQuestion { asked: ground.data.answers_key(recipe.seed), epochs, batch };
        let mut teachers = Table::default();
        for section in &recipe.teachers {
            teachers.push(match given.teachers.remove(&section.name) {
                Some(given) => PlannedTeacher::given(section, given, &ground.data, (batch, &ground.device))?,
                None => {
                    let key = format!("teachers.{}", section.name);
                    PlannedTeacher::load(section, &key, &ground.data, &question, onnx.as_ref())?
                }
            });
        }
        let mut own_note = None;
        if let Some(integers) = ground.integers.as_ref().filter(|_| asks_itself(&recipe)) {
            teachers.push(PlannedTeacher::itself(integers, &ground.data));
            let what = "the network in floats that the student was before it was quantised, frozen";
            own_note = Some(format!("teacher `{SELF}`: {what}"));
        }
        let known = teachers.rows().map(PlannedTeacher::known).collect();
        let arranged = Arrangement::of(&recipe, &ground, known, given.losses, allow_idle)?;
        Ok(Self {
            steps_per_epoch: ground
                .data
                .train
                .len()
                .div_ceil(recipe.train.batch)
                .div_ceil(recipe.train.accumulate.unwrap_or(1)),
            threads: recipe.train.threads.unwrap_or_else(available_threads),
            residence: arranged.residence,
            device: ground.device,
            device_note: ground.device_note,
            data: ground.data,
            student: ground.student,
            origin: ground.origin,
            teachers,
            params: ground.params,
            integers: ground.integers,
            init_sha256: ground.init_sha256,
            remarks: ground.notes.into_iter().chain(own_note).chain(arranged.remarks).collect(),
            participants: arranged.participants,
            peers: arranged.peers,
            views: arranged.views,
            losses: arranged.losses,
            failpoint: Failpoint::default(),
            recipe,
        })
    }

    /// For tests that kill the program at a chosen place.
    #[doc(hidden)]
    #[must_use]
    pub fn stopping_at(self, failpoint: Failpoint) -> Self {
        Self { failpoint, ..self }
    }

    /// The recipe it was made from.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The student's network.
    pub fn student(&self) -> &Graph {
        &self.student
    }

    /// Images, as they are learned from, chosen by and judged by.
    pub fn data(&self) -> &PlannedData {
        &self.data
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Steps in an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps_per_epoch
    }

    /// What people should know before it runs.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let data = self.data.notes.iter().map(String::as_str);
        let teachers = self.teachers.rows().flat_map(|teacher| teacher.notes.iter().map(String::as_str));
        let own = self.device_note.as_deref().into_iter().chain(data).chain(self.residence.note()).chain(teachers);
        let remarks = self.remarks.iter().map(String::as_str);
        own.chain(remarks).map(str::to_owned).chain(idle::notes(&self.recipe))
    }

    /// What would be run, for people ([`Display`](std::fmt::Display)) and programs (`serde`).
    pub fn describe(&self) -> Description {
        Description::of(self)
    }
}

/// Whether a student in integers learns from the network in floats that it was: where a loss or an attack names it, and where
/// losses need a teacher and the recipe has none.
fn asks_itself(recipe: &Recipe) -> bool {
    let taken = recipe.teachers.iter().map(|teacher| &teacher.name).chain(recipe.peers.iter().map(|peer| &peer.name));
    if taken.into_iter().any(|name| name == SELF) {
        return false;
    }
    let attacks = recipe.views.iter().any(|view| match &view.kind {
        ViewKind::Adversarial { against, .. } => against == SELF,
        ViewKind::Augmented { .. }
        | ViewKind::Mixup { .. }
        | ViewKind::Cutmix { .. }
        | ViewKind::Extracurricular { .. } => false,
    });
    attacks
        || recipe.losses.iter().any(|loss| match &loss.teacher {
            Some(names) => names.as_slice().iter().any(|name| name == SELF),
            None => recipe.teachers.is_empty() && loss.loss.entry().teachers != Teachers::None,
        })
}

pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn fail(key: &str, problem: impl Into<String>) -> Error {
    Error::Recipe { key: key.to_owned(), problem: problem.into() }
}
