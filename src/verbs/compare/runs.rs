//! One recipe trained with one seed: done already, gone on with, or begun; and what came of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use attar::compare::{COST, Contender, Cost, Outcome, Run};
use attar::report::run::read_receipt;
use attar_distill::run::{self, Receipt};
use attar_distill::{Plan, PlanOptions, Recipe};
use attar_infer::cli;

use super::Args;
use super::child::{self, Ended};
use crate::verbs::train;

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
        let receipt = match attar::train::finished(&recipe, &directory)? {
            Some(receipt) => {
                cli::say(format_args!("done already: {}", directory.display()));
                receipt
            }
            None => train_there(recipe, &directory, args)?,
        };
        last = Some((receipt, directory));
    }
    let (receipt, directory) = last.context("the recipe has no stage")?;
    Outcome::read(receipt, &directory)
}

/// Trains in a process of its own, so that its memory is its own; what a plan finds wrong is told here.
fn train_there(recipe: Recipe, directory: &Path, args: &Args) -> Result<Receipt> {
    let verb = if attar::train::is_alone(&recipe) { "train" } else { "distill" };
    let text = recipe.to_toml()?;
    Plan::new(recipe, PlanOptions { allow_idle: args.allow_idle, ..args.cache.apply(train::options()) })?;
    let mut file = directory.as_os_str().to_owned();
    file.push(".toml");
    std::fs::create_dir_all(directory.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(&file, text)?;
    let mut command = Command::new(attar::program::path()?);
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

/// This call of the program.
static CALL: LazyLock<u64> =
    LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64));
