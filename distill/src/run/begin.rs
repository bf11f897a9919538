//! The beginning of a run: a new directory, or an old one brought back to its last checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_data::fingerprint;
use attar_exec::Network;
use attar_formats::graph::{self, GRAPH_FILE};
use attar_formats::hash::{hex, sha256};
use attar_formats::receipt::Receipt;
use attar_formats::run::file;
use attar_formats::write;
use attar_models::Graph;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::directory::free;
use super::events::{Event, EventLog, Observer};
use super::extend::Change;
use super::feed::resident::ResidentImages;
use super::leave::receipt::Facts;
use super::owner::Owner;
use super::shield::Shield;
use super::state_file::{RunState, StatusFile};
use super::step::student::Student;
use super::step::teachers::Teachers;
use super::step::{Learner, Parts};
use super::{Run, Setup};
use crate::checkpoint::{CHECKPOINT_VERSION, Checkpoint, Data, State, Store, Sums};
use crate::error::{Error, Result};
use crate::files::io;
use crate::plan::{Plan, PlannedData, PlannedPeer, PlannedTeacher, Residence};
use crate::recipe::Recipe;

/// Version of this program as receipts state it.
pub(crate) const PROGRAM: &str = concat!("attar ", env!("CARGO_PKG_VERSION"));

pub(super) fn start(plan: Plan, directory: &Path, observer: &mut dyn Observer) -> Result<Receipt> {
    let directory = absolute(directory)?;
    free(&directory)?;
    std::fs::create_dir_all(&directory).map_err(|source| io(&directory, source))?;
    let owner = Owner::take(&directory)?;
    free(&directory)?; // somebody may have been quicker
    let mut status = StatusFile::of(&directory);
    status.write(RunState::Planned)?;
    Store::new(directory.join(file::CHECKPOINTS), plan.failpoint.clone()).clear()?;
    graph::write(&directory.join(GRAPH_FILE), &plan.student)?;
    write::bytes(&directory.join(file::RECIPE), plan.recipe.relative_to(&directory).to_toml()?.as_bytes())?;
    let outcome = go(plan, directory, None, None, &mut status, &mut shielded(observer, &owner));
    status.end(outcome)
}

pub(super) fn resume(mut plan: Plan, directory: &Path, observer: &mut dyn Observer) -> Result<Receipt> {
    let directory = absolute(directory)?;
    let path = directory.join(file::RECIPE);
    if !path.exists() {
        let problem = "holds no run to resume (no recipe.toml)\n  hint: start it without --resume".to_owned();
        return Err(Error::Format { path: directory, problem });
    }
    let owner = Owner::take(&directory)?;
    let written = Recipe::load(&path, &[])?;
    let store = Store::new(directory.join(file::CHECKPOINTS), plan.failpoint.clone());
    store.recover("best")?;
    let checkpoint = store.read("last")?;
    let change = Change::between(&written, &plan.recipe, checkpoint.as_ref(), &path)?;
    // The plan has heeded what is said today of where batches are made; the recipe stays the one that was written down.
    plan.recipe.data.resident = written.data.resident;
    plan.recipe.note = written.note;
    let mut status = StatusFile::of(&directory);
    let outcome = go(plan, directory, checkpoint, change.as_ref(), &mut status, &mut shielded(observer, &owner));
    status.end(outcome)
}

/// Writes the student's network into the directory of a run that has none, or checks that it is the one that is there: the
/// checkpoints are its parameters, whatever the zoo of today builds from the recipe.
fn keep_graph(directory: &Path, student: &Graph) -> Result<()> {
    let path = directory.join(GRAPH_FILE);
    if !path.exists() {
        return Ok(graph::write(&path, student)?);
    }
    if graph::read(&path)? == *student {
        return Ok(());
    }
    let problem = "is another network than the one that this program builds from the run's recipe\n  \
                   hint: go on with the version of attar that began the run";
    Err(Error::Format { path, problem: problem.to_owned() })
}

/// The observer, told what the owner has to say.
fn shielded<'a>(observer: &'a mut dyn Observer, owner: &Owner) -> Shield<'a> {
    let mut shield = Shield::over(observer);
    if let Some(note) = &owner.note {
        shield.event(&Event::Preparing { what: note.clone() });
    }
    shield
}

/// What is ready before a run is put together.
pub(super) struct Begun {
    pub(super) plan: Plan,
    /// Prepare batches.
    pub(super) loaders: Arc<ThreadPool>,
    /// Compute.
    pub(super) workers: ThreadPool,
    /// The state before the first step.
    pub(super) fresh: State,
}

/// Threads, and what the run is made from. `checkpoint` is what it goes on from.
pub(super) fn prepare(mut plan: Plan, directory: &Path, checkpoint: Option<&Checkpoint>) -> Result<Begun> {
    if let Some(checkpoint) = checkpoint {
        // Without a word in the recipe, go on with as many threads as before: other counts may give other bits.
        plan.threads = checkpoint.state.threads;
    }
    plan.recipe.train.precision.check(&plan.device)?;
    let (workers, loaders) = (pool(plan.threads)?, Arc::new(pool(plan.threads)?));
    let data = fingerprints(&plan.data)?;
    let fresh = fresh_state(&plan, directory, data)?;
    Ok(Begun { plan, loaders, workers, fresh })
}

/// Prepares everything, then trains and finishes in a pool of the plan's size.
fn go(
    plan: Plan,
    directory: PathBuf,
    mut checkpoint: Option<Checkpoint>,
    change: Option<&Change>,
    status: &mut StatusFile,
    observer: &mut dyn Observer,
) -> Result<Receipt> {
    let Begun { plan, loaders, workers, fresh } = prepare(plan, &directory, checkpoint.as_ref())?;
    let (mut extended, mut other_test) = (None, None);
    if let Some(checkpoint) = &mut checkpoint {
        same_origin(&checkpoint.state, &fresh, &directory)?;
        let store = Store::new(directory.join(file::CHECKPOINTS), plan.failpoint.clone());
        if let Some(change) = change {
            extended = change.apply(&plan.recipe, &fresh.recipe_sha256, &directory, &store, checkpoint)?;
        }
        same_recipe(&checkpoint.state, &fresh, &directory)?;
        other_test = note_test_images(&mut checkpoint.state, &fresh);
    }
    status.write(RunState::Running)?;
    workers.install(|| {
        let state = checkpoint.as_ref().map_or(fresh, |checkpoint| {
            let state = checkpoint.state.clone();
            State { resumed: state.resumed + 1, ..state }
        });
        let mut run = build(plan, directory, state, loaders, observer)?;
        match &checkpoint {
            None => run.begin()?,
            Some(checkpoint) => run.go_back_to(checkpoint)?,
        }
        if let Some(event) = extended {
            run.observer.event(&event); // it is in the log already
        }
        if let Some(event) = other_test {
            run.tell(&event)?;
        }
        run.train()?;
        run.finish()
    })
}

/// Puts a run together; the log is cut back to what `state` knows of it.
pub(super) fn build<'a>(
    plan: Plan,
    directory: PathBuf,
    state: State,
    loaders: Arc<ThreadPool>,
    observer: &'a mut dyn Observer,
) -> Result<Run<'a>> {
    keep_graph(&directory, &plan.student)?;
    let facts = Facts::of(&plan, &directory)?;
    let (seed, precision) = (plan.recipe.seed, plan.recipe.train.precision);
    let peer = |peer: PlannedPeer| Student::peer(&peer.name, peer.graph, seed, &plan.device);
    let mut student = Network::new(plan.student, plan.params, &plan.device)?;
    student.set_precision(precision);
    let context = student.context().clone();
    let parts = Parts {
        student: Student::exported(student).in_integers(plan.integers.map(|own| own.latent)),
        peers: plan.peers.into_iter().map(peer).collect::<Result<_>>()?,
        teachers: Teachers::start(plan.teachers, &plan.losses, &context)?,
        losses: plan.losses,
        views: plan.views,
        preprocessing: plan.data.pipeline.preprocessing.clone(),
    };
    let learner = Learner::new(&plan.recipe.train, seed, parts)?;
    let mut resident = None;
    if let Residence::Device { .. } = plan.residence {
        observer.event(&Event::Preparing { what: "bringing the training images to the device".to_owned() });
        resident = Some(Arc::new(loaders.install(|| ResidentImages::load(&plan.data, &plan.device))?));
    }
    let setup = Setup {
        store: Store::new(directory.join(file::CHECKPOINTS), plan.failpoint.clone()),
        recipe: plan.recipe,
        data: plan.data,
        resident,
        device: plan.device,
        steps_per_epoch: plan.steps_per_epoch,
        failpoint: plan.failpoint,
        loaders,
        facts,
        directory,
    };
    let log = EventLog::open(&setup.directory, state.events_bytes)?;
    Ok(Run { setup, learner, state, log, observer })
}

impl Run<'_> {
    /// First words, and a look at what the teachers are worth.
    fn begin(&mut self) -> Result<()> {
        self.write_metrics(&[])?;
        let (setup, data) = (&self.setup, &self.setup.data);
        let started = Event::Started {
            name: setup.recipe.name.clone(),
            epochs: setup.recipe.train.epochs,
            steps_per_epoch: setup.steps_per_epoch,
            device: attar_exec::device::name(&setup.device).to_owned(),
            train: data.train.len(),
            validation: data.validation.len(),
            test: data.test.len(),
        };
        self.tell(&started)?;
        self.check_teachers()
    }

    /// Parameters and metrics as they were when the checkpoint was written.
    fn go_back_to(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.learner.unpack(checkpoint)?;
        self.slow_down();
        self.write_metrics(&self.state.metrics)?;
        self.tell(&Event::Resumed { epochs_done: self.state.epochs_done, steps_done: self.state.steps_done })
    }
}

pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| Error::Device {
        device: "cpu".to_owned(),
        problem: format!("cannot start {threads} threads: {error}"),
    })
}

pub(super) fn absolute(directory: &Path) -> Result<PathBuf> {
    std::path::absolute(directory).map_err(|source| io(directory, source))
}

fn fingerprints(data: &PlannedData) -> Result<Data> {
    Ok(Data {
        train: hex(&fingerprint(data.pool.as_ref())?),
        test: hex(&fingerprint(data.test.as_ref())?),
        test_before: Vec::new(),
    })
}

fn fresh_state(plan: &Plan, directory: &Path, data: Data) -> Result<State> {
    let recipe = plan.recipe.relative_to(directory).to_toml()?;
    Ok(State {
        version: CHECKPOINT_VERSION,
        program: PROGRAM.to_owned(),
        epochs_done: 0,
        steps_done: 0,
        sums: Sums::default(),
        best: None,
        best_on_test: None,
        metrics: Vec::new(),
        events_bytes: 0,
        seconds: 0.0,
        resumed: 0,
        threads: plan.threads,
        recipe_sha256: sha256(recipe.as_bytes()),
        data,
        init_sha256: plan.init_sha256.clone(),
        teachers: plan.teachers.rows().flat_map(origins).collect(),
        teacher_top1: std::collections::BTreeMap::new(),
        teacher_checks: std::collections::BTreeMap::new(),
        extended: Vec::new(),
        rollbacks: Vec::new(),
    })
}

/// What a teacher's answers depend on, by name.
fn origins(teacher: &PlannedTeacher) -> impl Iterator<Item = (String, String)> {
    let answers = teacher.answers_sha256.clone().map(|answers| (format!("{}, as stored", teacher.name), answers));
    std::iter::once((teacher.name.clone(), teacher.weights_sha256.clone())).chain(answers)
}

/// Training images, teachers and initial weights must be those of the checkpoint; the recipe has been compared key by key.
pub(super) fn same_origin(then: &State, now: &State, directory: &Path) -> Result<()> {
    let mut changed = Vec::new();
    let mut compare = |what: String, then: Option<&String>, now: Option<&String>| {
        if then != now {
            changed.push(format!("{what}: {} then, {} now", short(then), short(now)));
        }
    };
    compare("the training images".to_owned(), Some(&then.data.train), Some(&now.data.train));
    compare("the weights to start from".to_owned(), then.init_sha256.as_ref(), now.init_sha256.as_ref());
    for name in then.teachers.keys().chain(now.teachers.keys().filter(|name| !then.teachers.contains_key(*name))) {
        compare(format!("the weights of teacher `{name}`"), then.teachers.get(name), now.teachers.get(name));
    }
    not_changed(&changed, directory)
}

/// The recipe of the run must be the one of the checkpoint, too: a default may have changed under it.
fn same_recipe(then: &State, now: &State, directory: &Path) -> Result<()> {
    if then.recipe_sha256 == now.recipe_sha256 {
        return Ok(());
    }
    let (then, now) = (short(Some(&then.recipe_sha256)), short(Some(&now.recipe_sha256)));
    not_changed(&[format!("recipe.toml: {then} then, {now} now")], directory)
}

fn short(hash: Option<&String>) -> String {
    hash.map_or("absent", |hash| hash.get(..12).unwrap_or(hash)).to_owned()
}

fn not_changed(changed: &[String], directory: &Path) -> Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "cannot go on, what the run learns from has changed:\n  {}\n  hint: bring it back, or start a new run: leave --resume out and choose another name with --out",
        changed.join("\n  ")
    );
    Err(Error::Format { path: directory.to_owned(), problem })
}

/// Nothing is learned from the test images: a run that they have changed under is judged by those of now, and says so.
pub(super) fn note_test_images(state: &mut State, now: &State) -> Option<Event> {
    if state.data.test == now.data.test {
        return None;
    }
    let then = std::mem::replace(&mut state.data.test, now.data.test.clone());
    state.data.test_before.push(then.clone());
    Some(Event::TestImagesChanged { then, now: now.data.test.clone() })
}
