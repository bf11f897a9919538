//! One recipe trained with one seed: done already, gone on with, or begun; and what came of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use attar_distill::run::{self, Receipt, TestMeasures};
use attar_distill::{Plan, PlanOptions, Recipe};
use attar_infer::bundle::{Predictions, Split};
use attar_infer::cli;
use serde::{Deserialize, Serialize};

use super::child::{self, Ended};
use super::{Args, Contender};
use crate::report::Metrics;
use crate::report::run::read_receipt;
use crate::verbs::train;

/// A run and what came of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Run {
    pub(super) seed: u64,
    /// The run directory.
    pub(super) directory: PathBuf,
    /// Why there is no outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<Outcome>,
}

/// What came of a run. Accuracies in percent.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Outcome {
    pub(super) test_top1_last: f64,
    pub(super) test_top1_best: f64,
    pub(super) best_epoch: usize,
    /// `last` or `best`: the weights that the measures and the answers below are of.
    pub(super) exported: &'static str,
    pub(super) measures: Option<TestMeasures>,
    /// Median over the epochs of an epoch's seconds, evaluation included, a step.
    pub(super) seconds_per_step: Option<f64>,
    pub(super) cost: Option<Cost>,
    /// Fingerprint of the test images.
    pub(super) test_images: String,
    /// For each test image, whether the exported weights are right.
    #[serde(skip)]
    pub(super) right: Vec<bool>,
}

/// `cost.json`, which is left in a run directory: what only who watched the training can tell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Cost {
    /// The comparison that had it trained, by the milliseconds since 1970 at which it began to.
    pub(super) call: u64,
    /// Most resident memory of the process that trained it.
    pub(super) peak_memory_bytes: Option<u64>,
}

const COST: &str = "cost.json";

/// Trains a recipe with a seed, unless that is done. What goes wrong is part of the result.
pub(super) fn carry_out(contender: &Contender, seed: u64, args: &Args) -> Run {
    let directory = args.out.join(&contender.name).join(format!("seed-{seed}"));
    let (outcome, failure) = match train_one(contender, seed, &directory, args) {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => {
            let problem = crate::told(&error);
            cli::complain(&problem);
            (None, Some(problem))
        }
    };
    Run { seed, directory, failure, outcome }
}

fn train_one(contender: &Contender, seed: u64, directory: &Path, args: &Args) -> Result<Outcome> {
    let mut settings = args.set.clone();
    settings.push(format!("seed={seed}"));
    let recipe = Recipe::load(&contender.path, &settings)?;
    let mut last = None;
    let stages = recipe.chain(directory)?;
    Plan::check_stages(&stages, args.allow_idle)?;
    for (recipe, directory) in stages {
        let receipt = match train::finished(&recipe, &directory)? {
            Some(receipt) => {
                cli::say(format_args!("done already: {}", directory.display()));
                receipt
            }
            None => train_there(recipe, &directory, args)?,
        };
        last = Some((receipt, directory));
    }
    let (receipt, directory) = last.context("the recipe has no stage")?;
    outcome(receipt, &directory)
}

/// Trains in a process of its own, so that its memory is its own; what a plan finds wrong is told here.
fn train_there(recipe: Recipe, directory: &Path, args: &Args) -> Result<Receipt> {
    let verb = if train::is_alone(&recipe) { "train" } else { "distill" };
    let text = recipe.to_toml()?;
    Plan::new(recipe, PlanOptions { allow_idle: args.allow_idle, ..args.cache.apply(train::options()) })?;
    let mut file = directory.as_os_str().to_owned();
    file.push(".toml");
    std::fs::create_dir_all(directory.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(&file, text)?;
    let mut command = Command::new(program()?);
    command.arg(verb).arg(&file).arg("--out").arg(directory).args(args.cache.arguments()).stdout(Stdio::null());
    command.args(args.allow_idle.then_some("--allow-idle"));
    if run::has_checkpoint(directory) {
        command.arg("--resume");
    }
    let Ended { status, peak_memory_bytes, error } = child::watch(command)?;
    if !status.success() {
        let again = format!("attar {verb} {} --out {}", Path::new(&file).display(), directory.display());
        match error {
            Some(error) => bail!("{error}\n  (training ended with {status}; alone: `{again}`)"),
            None => bail!("training ended with {status} and without a word\n  hint: `{again}` trains it alone"),
        }
    }
    let cost = Cost { call: *CALL, peak_memory_bytes };
    std::fs::write(directory.join(COST), serde_json::to_vec(&cost)?)?;
    read_receipt(directory)
}

/// This very program, even where another one has been built in its place since.
fn program() -> Result<PathBuf> {
    Ok(if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe()? })
}

/// This call of the program.
static CALL: LazyLock<u64> =
    LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64));

fn outcome(receipt: Receipt, directory: &Path) -> Result<Outcome> {
    let predictions = Predictions::read(&directory.join("reference").join("predictions.safetensors"))?;
    let tested = (0..predictions.len()).filter(|row| predictions.split[*row] == Split::Test);
    let cost = std::fs::read(directory.join(COST)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    Ok(Outcome {
        test_top1_last: receipt.test_top1_last,
        test_top1_best: receipt.test_top1_best,
        best_epoch: receipt.best_epoch,
        exported: receipt.exported.as_str(),
        measures: receipt.measures,
        seconds_per_step: seconds_per_step(&Metrics::read(&directory.join("metrics.csv"))?),
        cost,
        test_images: receipt.data.test,
        right: tested.map(|row| predictions.top1[row] == predictions.label[row]).collect(),
    })
}

/// Median over the epochs, of which one in two may have been disturbed.
fn seconds_per_step(metrics: &Metrics) -> Option<f64> {
    let (steps, seconds) = (metrics.over_epochs("step"), metrics.over_epochs("seconds"));
    let before = std::iter::once(0.0).chain(steps.iter().map(|(_, step)| *step));
    let mut each: Vec<f64> =
        steps.iter().zip(before).zip(&seconds).map(|(((_, step), before), (_, time))| time / (step - before)).collect();
    each.sort_by(f64::total_cmp);
    each.get(each.len() / 2).copied().filter(|seconds| seconds.is_finite())
}
