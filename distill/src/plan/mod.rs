//! The plan: a recipe with every name resolved and everything checked that can be checked before the first batch.

pub(crate) mod asked_again;
mod classes;
mod data;
mod describe;
mod idle;
mod losses;
mod moves;
mod residence;
mod scan;
mod sight;
mod start;
mod teachers;
mod training;
mod views;

use std::path::PathBuf;

use attar_exec::Params;
use attar_models::zoo::{self, NetworkSpec};
use attar_models::{Graph, Op};
use candle_core::Device;

use crate::checkpoint::Failpoint;
use crate::error::{Error, Result};
use crate::recipe::{CLEAN, NetworkSection, PeerSection, Recipe, STUDENT, TeacherNorm, Update, ViewKind, ViewSection};
use crate::teacher::OpenOnnx;

pub(crate) use asked_again::Live;
pub(crate) use data::Subset;
pub use data::{Fingerprints, PlannedData};
pub use describe::Description;
#[cfg(test)]
pub(crate) use losses::CastTeacher;
pub(crate) use losses::{Cast, PlannedLoss, Source, prefix};
pub(crate) use moves::Moves;
pub use residence::Residence;
use scan::Look;
pub use scan::{Hashes, Progress};
pub(crate) use sight::Sight;
use start::Start;
pub(crate) use teachers::Gives;
pub use teachers::PlannedTeacher;
use teachers::Question;
pub(crate) use views::PlannedView;

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
    /// For tests that kill the program at a chosen place.
    #[doc(hidden)]
    pub failpoint: Failpoint,
}

impl std::fmt::Debug for PlanOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanOptions").field("onnx", &self.onnx.is_some()).finish_non_exhaustive()
    }
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
    pub recipe: Recipe,
    /// Where tensors live.
    pub device: Device,
    /// Why the device is not the one people may have hoped for.
    pub device_note: Option<String>,
    /// Images.
    pub data: PlannedData,
    /// Where those to learn from live.
    pub residence: Residence,
    /// The student's network by name.
    pub network: NetworkSpec,
    /// The student's network as a graph.
    pub student: Graph,
    /// Steps in an epoch.
    pub steps_per_epoch: usize,
    /// The teachers.
    pub teachers: Vec<PlannedTeacher>,
    /// Threads to compute with.
    pub threads: usize,
    pub(crate) params: Params,
    /// sha256 of the file of weights that the student starts from, in hex.
    pub(crate) init_sha256: Option<String>,
    /// What people should know of the start and of unusual settings of training.
    pub(crate) remarks: Vec<String>,
    pub(crate) peers: Vec<PlannedPeer>,
    pub(crate) views: Vec<PlannedView>,
    pub(crate) losses: Vec<PlannedLoss>,
    pub(crate) failpoint: Failpoint,
}

impl Plan {
    /// Resolves and checks a recipe: data opened, graphs built, weights read and fitted, taps and connectors sized.
    ///
    /// # Errors
    /// Whatever is wrong with the recipe or the files it names, with the dotted key and the nearest valid name.
    pub fn new(recipe: Recipe, options: PlanOptions) -> Result<Self> {
        Self::taught_by(None, recipe, options)
    }

    /// Checks the stages behind the first one of [`Recipe::chain`] before that has trained, so that a mistake in the
    /// third is not found after two trainings.
    ///
    /// # Errors
    /// As [`Plan::new`], naming the stage.
    pub fn check_stages(stages: &[(Recipe, PathBuf)], allow_idle: bool) -> Result<()> {
        for pair in stages.windows(2) {
            let [(before, _), (recipe, _)] = pair else { continue };
            let plan = Self::taught_by(
                Some(&before.student.network),
                recipe.clone(),
                PlanOptions { allow_idle, ..PlanOptions::default() },
            );
            plan.map_err(|error| match error {
                Error::Recipe { key, problem } => {
                    Error::Recipe { key, problem: format!("{problem}\n  in the stage `{}`", recipe.name) }
                }
                other => other,
            })?;
        }
        Ok(())
    }

    /// A plan, its only teacher being the network `before`, which has no weights yet, where there is one.
    fn taught_by(before: Option<&NetworkSection>, recipe: Recipe, options: PlanOptions) -> Result<Self> {
        check_numbers(&recipe)?;
        if !recipe.stages.is_empty() {
            return Err(fail("stages", "a plan is of one stage; `Recipe::chain` takes them apart"));
        }
        let opened = recipe.device.open()?;
        recipe.train.precision.check(&opened.device)?;
        // The stages behind the first one learn from the same images as it does.
        let look = Look { cache: options.cache.as_ref(), progress: options.progress.as_ref() };
        let look = before.is_none().then_some(&look);
        let data = PlannedData::open(&recipe.data, recipe.data.split_seed.unwrap_or(recipe.seed), look)?;
        let (network, student) = build_network(&recipe.student.network, "student.network", &data)?;
        let start = Start::of(&recipe, &student, data.classes(), &opened.device)?;
        let (epochs, batch) = (recipe.train.epochs, recipe.train.batch);
        let question = Question { asked: data.answers_key(recipe.seed), epochs, batch };
        let mut teachers = Vec::with_capacity(recipe.teachers.len());
        for section in &recipe.teachers {
            let key = format!("teachers.{}", section.name);
            teachers.push(match before {
                Some(network) => PlannedTeacher::forthcoming(section, build_network(network, "stages", &data)?.1),
                None => PlannedTeacher::load(section, &key, &data, &question, options.onnx.as_ref())?,
            });
        }
        let peer = |section: &PeerSection| {
            let (_, graph) = build_network(&section.network, &format!("peers.{}.network", section.name), &data)?;
            Ok(PlannedPeer { name: section.name.clone(), graph })
        };
        let peers = recipe.peers.iter().map(peer).collect::<Result<Vec<_>>>()?;
        let cast = cast(&recipe, &data, &student, &peers, &teachers);
        let view = |section: &ViewSection| {
            let view = PlannedView::check(section, &cast, &data.pipeline)?;
            data.check_view(section, recipe.seed)?;
            Ok(view)
        };
        let views = recipe.views.iter().map(view).collect::<Result<Vec<_>>>()?;
        let losses = recipe.losses.iter().map(|section| cast.fit(section)).collect::<Result<Vec<_>>>()?;
        check_cast(&recipe, &losses)?;
        training::check(&recipe, &data, &losses)?;
        let moves = training::moves(&recipe, &student, &peers, &losses)?;
        let remarks = start.notes.into_iter().chain(training::notes(&recipe, &student, &moves)).collect();
        if !options.allow_idle {
            idle::check(&recipe, data.train.len().div_ceil(recipe.train.batch), &losses, &views, &teachers)?;
        }
        check_last_batch(&recipe, data.train.len(), &student, &peers, &losses, &teachers)?;
        let apart = teachers.iter().find(|teacher| teacher.sight.own().is_some()).map(|teacher| teacher.name.as_str());
        let residence = Residence::decide(&recipe, &data, apart, opened.device.is_cuda())?;
        Ok(Self {
            steps_per_epoch: data
                .train
                .len()
                .div_ceil(recipe.train.batch)
                .div_ceil(recipe.train.accumulate.unwrap_or(1)),
            threads: recipe.train.threads.unwrap_or_else(available_threads),
            residence,
            device: opened.device,
            device_note: opened.note,
            data,
            network,
            student,
            teachers,
            params: start.params,
            init_sha256: start.sha256,
            remarks,
            peers,
            views,
            losses,
            failpoint: options.failpoint,
            recipe,
        })
    }

    /// What people should know before it runs.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let data = self.data.notes.iter().map(String::as_str);
        let teachers = self.teachers.iter().flat_map(|teacher| teacher.notes.iter().map(String::as_str));
        let own = self.device_note.as_deref().into_iter().chain(data).chain(self.residence.note()).chain(teachers);
        let remarks = self.remarks.iter().map(String::as_str);
        own.chain(remarks).map(str::to_owned).chain(idle::notes(&self.recipe))
    }

    /// What would be run, for people ([`Display`](std::fmt::Display)) and programs (`serde`).
    pub fn describe(&self) -> Description {
        Description::of(self)
    }
}

pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn fail(key: &str, problem: impl Into<String>) -> Error {
    Error::Recipe { key: key.to_owned(), problem: problem.into() }
}

/// Numbers and names that no file is needed to judge.
fn check_numbers(recipe: &Recipe) -> Result<()> {
    let train = &recipe.train;
    let positive = [
        ("train.epochs", train.epochs),
        ("train.batch", train.batch),
        ("train.eval_every", train.eval_every),
        ("train.threads", train.threads.unwrap_or(1)),
        ("train.checkpoint_every_steps", train.checkpoint_every_steps.unwrap_or(1)),
    ];
    if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(fail(key, "0, expected at least 1"));
    }
    train.on_divergence.check()?;
    if train.epochs > MOST_EPOCHS {
        return Err(fail("train.epochs", format!("{}, expected at most {MOST_EPOCHS}", train.epochs)));
    }
    if let Some(rate) = train.learning_rate.values().find(|rate| *rate < 0.0) {
        return Err(fail("train.learning_rate", format!("{rate} would climb, expected 0 or above")));
    }
    training::check_numbers(recipe)?;
    for loss in &recipe.losses {
        if let Some(weight) = loss.weight.values().find(|weight| *weight < 0.0) {
            let problem = format!("{weight} would make the loss grow, expected 0 or above");
            return Err(fail(&format!("losses.{}.weight", loss.name), problem));
        }
    }
    if train.update == Update::InTurn && recipe.peers.is_empty() {
        return Err(fail("train.update", "`in-turn`, but the recipe has no [[peers]] to take turns with"));
    }
    if train.clip.is_some_and(|clip| !(clip > 0.0 && clip.is_finite())) {
        return Err(fail("train.clip", "expected a positive gradient norm"));
    }
    train.optimiser.build()?;
    if train.ema.is_some_and(|decay| !(0.0..1.0).contains(&decay)) {
        return Err(fail("train.ema", "expected a decay in [0, 1), e.g. 0.999"));
    }
    if recipe.losses.is_empty() {
        return Err(fail("losses", "nothing to minimise; plain training has one `cross-entropy`"));
    }
    let good = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if !good(&recipe.name) {
        return Err(fail("name", format!("`{}`, expected letters, digits, `-` and `_`", recipe.name)));
    }
    unique("losses", recipe.losses.iter().map(|loss| loss.name.as_str()), good)?;
    let views = recipe.views.iter().map(|view| view.name.as_str());
    unique("views", std::iter::once(CLEAN).chain(views), good)?;
    for attack in &recipe.robustness {
        let (epsilon, step) = (attack.epsilon, attack.step);
        if !(epsilon > 0.0 && epsilon <= 1.0 && step > 0.0 && step <= 1.0 && attack.steps > 0) {
            let problem = "expected epsilon and step above 0, of the range of pixels 0 to 1, and at least one step";
            return Err(fail(&format!("robustness.{}", attack.name), problem));
        }
    }
    unique("robustness", recipe.robustness.iter().map(|attack| attack.name.as_str()), good)?;
    // A loss may name any of them as its teacher.
    let teachers = recipe.teachers.iter().map(|teacher| teacher.name.as_str());
    let peers = recipe.peers.iter().map(|peer| peer.name.as_str());
    unique("teachers", std::iter::once(STUDENT).chain(teachers).chain(peers), good)
}

/// Everybody that is brought on has a part.
fn check_cast(recipe: &Recipe, losses: &[PlannedLoss]) -> Result<()> {
    let learns = |student: usize| losses.iter().any(|loss| loss.student == student);
    if !learns(0) {
        return Err(fail("losses", "the student learns from none of them"));
    }
    if let Some((_, peer)) = recipe.peers.iter().enumerate().find(|(i, _)| !learns(i + 1)) {
        return Err(fail(&format!("peers.{}", peer.name), "learns from no loss; name it as the `student` of one"));
    }
    let read = |view: usize| losses.iter().any(|loss| loss.views.contains(&view));
    match recipe.views.iter().enumerate().find(|(i, _)| !read(i + 1)) {
        None => Ok(()),
        Some((_, view)) => {
            Err(fail(&format!("views.{}", view.name), "is read by no loss; name it as the `view` of one"))
        }
    }
}

/// More epochs than anybody waits for; the schedule of a plan is laid out epoch by epoch.
const MOST_EPOCHS: usize = 1_000_000;

/// A batch norm needs two values a channel. Where maps have shrunk to one position, a last batch of one image has one,
/// and the first epoch would end in an error.
fn check_last_batch(
    recipe: &Recipe,
    images: usize,
    student: &Graph,
    peers: &[PlannedPeer],
    losses: &[PlannedLoss],
    teachers: &[PlannedTeacher],
) -> Result<()> {
    let batch = recipe.train.batch;
    let (smallest, last) = match images % batch {
        0 => (batch, "every batch"),
        rest => (rest, "the last batch of an epoch"),
    };
    if smallest > 1 {
        return Ok(());
    }
    let taps = losses.iter().flat_map(|loss| &loss.taps.student);
    let connectors = taps.filter_map(|tap| tap.connector.as_ref()).map(|connector| &connector.graph);
    let teachers = teachers.iter().filter(|teacher| teacher.bn == TeacherNorm::Batch).map(|teacher| &teacher.graph);
    let peers = peers.iter().map(|peer| &peer.graph);
    for graph in std::iter::once(student).chain(peers).chain(connectors).chain(teachers) {
        let mut norms = graph.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm2d(_)));
        if let Some(node) = norms.find(|node| node.shape.iter().skip(1).product::<usize>() == 1) {
            let problem = format!(
                "{last} holds one image, of which `{}` in `{}` sees one value a channel and cannot normalise it\n  hint: choose another batch size",
                node.name,
                graph.name()
            );
            return Err(fail("train.batch", problem));
        }
    }
    Ok(())
}

fn unique<'a>(list: &str, names: impl Iterator<Item = &'a str>, good: impl Fn(&str) -> bool) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !good(name) {
            return Err(fail(list, format!("the name `{name}`: expected letters, digits, `-` and `_`")));
        }
        if !seen.insert(name) {
            return Err(fail(&format!("{list}.{name}"), "this name is used twice"));
        }
    }
    Ok(())
}

/// A network that learns, and its graph, with what the recipe leaves open taken from the data.
fn build_network(section: &NetworkSection, key: &str, data: &PlannedData) -> Result<(NetworkSpec, Graph)> {
    let (classes, input) = (data.classes().len(), data.input);
    if let Some(stated) = section.classes.filter(|stated| *stated != classes) {
        return Err(fail(&format!("{key}.classes"), format!("{stated}, but the data has {classes}")));
    }
    if let Some(stated) = section.input.filter(|stated| *stated != input) {
        return Err(fail(&format!("{key}.input"), format!("{stated:?}, but the data comes as {input:?}")));
    }
    let network = section.resolve(classes, input);
    let graph = zoo::build(&network).map_err(|error| fail(key, error.to_string()))?;
    Ok((network, graph))
}

/// Everybody that a loss may name.
fn cast(
    recipe: &Recipe,
    data: &PlannedData,
    student: &Graph,
    peers: &[PlannedPeer],
    teachers: &[PlannedTeacher],
) -> Cast {
    let mut cast = Cast::plain(student, &[], data.train.len(), recipe.seed);
    cast.classes = data.classes().to_vec();
    cast.counts = counts(data);
    cast.students.extend(peers.iter().map(|peer| (peer.name.clone(), peer.graph.clone())));
    cast.teachers.extend(teachers.iter().map(PlannedTeacher::cast));
    cast.own_sight = (0..teachers.len()).filter(|i| teachers[*i].sight.own().is_some()).collect();
    for (i, view) in recipe.views.iter().enumerate() {
        cast.views.push(view.name.clone());
        if matches!(view.kind, ViewKind::Mixup { .. } | ViewKind::Cutmix { .. } | ViewKind::Extracurricular { .. }) {
            cast.mixing.push(i + 1);
        }
        if matches!(view.kind, ViewKind::Adversarial { .. }) {
            cast.attacked.push(i + 1);
        }
    }
    cast
}

/// Training images of each class.
fn counts(data: &PlannedData) -> Vec<usize> {
    let mut counts = vec![0; data.classes().len()];
    for label in data.train.labels() {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    counts
}
