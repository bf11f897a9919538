//! The beginning of a run: a new directory, or an old one brought back to its last checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_data::fingerprint;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::events::{Event, EventLog, Observer};
use super::learner::{Learner, Parts, Student};
use super::receipt::{Facts, Receipt};
use super::resident::ResidentImages;
use super::{Run, Setup, metrics};
use crate::checkpoint::{CHECKPOINT_VERSION, Checkpoint, Data, State, Store, Sums};
use crate::error::{Error, Result};
use crate::files::{io, replace};
use crate::hash::{hex, sha256};
use crate::network::Network;
use crate::plan::{Plan, PlannedData, PlannedTeacher, Residence};
use crate::recipe::Recipe;

/// Version of this program as receipts state it.
pub(crate) const PROGRAM: &str = concat!("attar ", env!("CARGO_PKG_VERSION"));

pub(super) fn start(plan: Plan, directory: &Path, observer: &mut dyn Observer) -> Result<Receipt> {
    let directory = absolute(directory)?;
    // What a start leaves that was killed before it wrote its recipe is no run.
    let unfinished = std::ffi::OsStr::new("recipe.toml.new");
    let taken = std::fs::read_dir(&directory)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != unfinished));
    if taken {
        let problem = "exists already\n  hint: go on with --resume, or choose another name".to_owned();
        return Err(Error::Format { path: directory, problem });
    }
    std::fs::create_dir_all(&directory).map_err(|source| io(&directory, source))?;
    replace(&directory.join("recipe.toml"), plan.recipe.relative_to(&directory).to_toml()?.as_bytes())?;
    go(plan, directory, None, observer)
}

pub(super) fn resume(mut plan: Plan, directory: &Path, observer: &mut dyn Observer) -> Result<Receipt> {
    let directory = absolute(directory)?;
    let path = directory.join("recipe.toml");
    if !path.exists() {
        let problem = "holds no run to resume (no recipe.toml)\n  hint: start it without --resume".to_owned();
        return Err(Error::Format { path: directory, problem });
    }
    let written = Recipe::load(&path, &[])?;
    let differences = written.differences(&plan.recipe)?;
    if !differences.is_empty() {
        let problem = format!(
            "the run was started with another recipe:\n  {}\n  hint: start a new run for a new recipe",
            differences.join("\n  ")
        );
        return Err(Error::Format { path, problem });
    }
    // The plan has heeded what is said today of where batches are made; the recipe stays the one that was written down.
    plan.recipe.data.resident = written.data.resident;
    plan.recipe.note = written.note;
    let store = Store::new(directory.join("checkpoints"), plan.failpoint.clone());
    store.recover("best")?;
    let checkpoint = store.read("last")?;
    go(plan, directory, checkpoint.as_ref(), observer)
}

/// Prepares everything, then trains and finishes in a pool of the plan's size.
fn go(
    mut plan: Plan,
    directory: PathBuf,
    checkpoint: Option<&Checkpoint>,
    observer: &mut dyn Observer,
) -> Result<Receipt> {
    if let Some(checkpoint) = checkpoint {
        // Without a word in the recipe, go on with as many threads as before: other counts may give other bits.
        plan.threads = checkpoint.state.threads;
    }
    plan.recipe.train.precision.choose(&plan.device)?;
    let (workers, loaders) = (pool(plan.threads)?, Arc::new(pool(plan.threads)?));
    observer.event(&Event::Preparing { what: "hashing the images".to_owned() });
    let data = loaders.install(|| fingerprints(&plan.data))?;
    let fresh = fresh_state(&plan, &directory, data)?;
    if let Some(checkpoint) = checkpoint {
        same_origin(&checkpoint.state, &fresh, &directory)?;
    }
    workers.install(|| {
        let state = checkpoint.map_or(fresh, |checkpoint| {
            let state = checkpoint.state.clone();
            State { resumed: state.resumed + 1, ..state }
        });
        let mut run = build(plan, directory, state, loaders, observer)?;
        match checkpoint {
            None => run.begin()?,
            Some(checkpoint) => run.go_back_to(checkpoint)?,
        }
        run.train()?;
        run.finish()
    })
}

/// Puts a run together; the log is cut back to what `state` knows of it.
fn build<'a>(
    plan: Plan,
    directory: PathBuf,
    state: State,
    loaders: Arc<ThreadPool>,
    observer: &'a mut dyn Observer,
) -> Result<Run<'a>> {
    let facts = Facts::of(&plan);
    let student = Network::new(plan.student, plan.params, &plan.device)?;
    let seed = plan.recipe.seed;
    let mut students = vec![Student::exported(student)];
    for peer in plan.peers {
        students.push(Student::peer(&peer.name, peer.graph, seed, &plan.device)?);
    }
    let parts = Parts {
        students,
        losses: plan.losses,
        teachers: plan.teachers,
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
        store: Store::new(directory.join("checkpoints"), plan.failpoint.clone()),
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
        metrics::write(&self.setup.directory, &self.setup.loss_names(), &[])?;
        let (setup, data) = (&self.setup, &self.setup.data);
        let started = Event::Started {
            name: setup.recipe.name.clone(),
            epochs: setup.recipe.train.epochs,
            steps_per_epoch: setup.steps_per_epoch,
            device: crate::device::name(&setup.device).to_owned(),
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
        metrics::write(&self.setup.directory, &self.setup.loss_names(), &self.state.metrics)?;
        self.tell(&Event::Resumed { epochs_done: self.state.epochs_done, steps_done: self.state.steps_done })
    }
}

pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| Error::Device {
        device: "cpu".to_owned(),
        problem: format!("cannot start {threads} threads: {error}"),
    })
}

fn absolute(directory: &Path) -> Result<PathBuf> {
    std::path::absolute(directory).map_err(|source| io(directory, source))
}

fn fingerprints(data: &PlannedData) -> Result<Data> {
    Ok(Data { train: hex(&fingerprint(data.pool.as_ref())?), test: hex(&fingerprint(data.test.as_ref())?) })
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
        teachers: plan.teachers.iter().flat_map(origins).collect(),
        teacher_top1: std::collections::BTreeMap::new(),
        teacher_checks: std::collections::BTreeMap::new(),
    })
}

/// What a teacher's answers depend on, by name.
fn origins(teacher: &PlannedTeacher) -> impl Iterator<Item = (String, String)> {
    let answers = teacher.answers_sha256.clone().map(|answers| (format!("{}, as stored", teacher.name), answers));
    std::iter::once((teacher.name.clone(), teacher.weights_sha256.clone())).chain(answers)
}

/// Data, teachers and initial weights must be those of the checkpoint; the recipe has been compared key by key.
fn same_origin(then: &State, now: &State, directory: &Path) -> Result<()> {
    let mut changed = Vec::new();
    let mut compare = |what: String, then: Option<&String>, now: Option<&String>| {
        if then != now {
            let short = |hash: Option<&String>| hash.map_or("absent", |h| h.get(..12).unwrap_or(h)).to_owned();
            changed.push(format!("{what}: {} then, {} now", short(then), short(now)));
        }
    };
    compare("the training images".to_owned(), Some(&then.data.train), Some(&now.data.train));
    compare("the test images".to_owned(), Some(&then.data.test), Some(&now.data.test));
    compare("the weights to start from".to_owned(), then.init_sha256.as_ref(), now.init_sha256.as_ref());
    for name in then.teachers.keys().chain(now.teachers.keys().filter(|name| !then.teachers.contains_key(*name))) {
        compare(format!("the weights of teacher `{name}`"), then.teachers.get(name), now.teachers.get(name));
    }
    compare("recipe.toml".to_owned(), Some(&then.recipe_sha256), Some(&now.recipe_sha256));
    if changed.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "cannot go on, what the run learns from has changed:\n  {}\n  hint: bring it back, or start a new run",
        changed.join("\n  ")
    );
    Err(Error::Format { path: directory.to_owned(), problem })
}
