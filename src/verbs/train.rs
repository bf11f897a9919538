//! `attar train` and `attar distill`: a recipe becomes a run directory.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use attar::report;
use attar::train::{finished, is_alone, plan_options};
use attar_data::Source;
use attar_distill::recipe::StudentSource;
use attar_distill::run::{self, Receipt};
use attar_distill::{Plan, PlanOptions, Recipe};
use attar_formats::run::file;
use attar_infer::cli::say;

use super::new::{self, Wishes};
use crate::progress::{self, Progress};
use crate::source::{CacheArgs, source};

/// How a recipe is carried out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recipe (TOML).
    #[arg(required_unless_present_any = ["explain", "data"])]
    recipe: Option<PathBuf>,
    /// Change a setting of the recipe, dotted: `train.epochs=5`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run directory; `runs/NAME` without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the resolved plan (taps with shapes, parameters, steps, weights over time, device) and stop.
    #[arg(long)]
    dry_run: bool,
    /// Go on in the run directory from its last checkpoint, with the same bits as if it had never stopped. With a larger
    /// train.epochs, go on for longer, after the end, too.
    #[arg(long)]
    resume: bool,
    /// Carry out a recipe in which something does nothing (a loss whose weight is 0 in every epoch, a setting that the
    /// others leave unread, a network that no loss reaches) instead of refusing it: for trials.
    #[arg(long)]
    allow_idle: bool,
    /// Say what a loss, a method (cd, gkd, edt, ka, lskd) or a topic (schedules, views, teachers, from, ...) is, and stop.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["recipe", "data", "set", "out", "dry_run", "resume"])]
    explain: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
    /// Labelled images in the place of a recipe: the one that `attar new` would write is trained at once.
    #[arg(
        long,
        value_name = "KIND:PATH",
        value_parser = source,
        requires = "student",
        conflicts_with = "recipe",
        help_heading = new::HEADING
    )]
    data: Option<Source>,
    #[command(flatten)]
    wishes: Wishes,
}

impl Args {
    fn options(&self) -> PlanOptions {
        PlanOptions { allow_idle: self.allow_idle, ..self.cache.apply(options()) }
    }
}

/// Whether a student learns from labels alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `attar train`: from nothing else.
    Alone,
    /// `attar distill`: from teachers, peers, its own past.
    Taught,
}

pub(crate) fn run(args: &Args, kind: Kind) -> Result<()> {
    if let Some(name) = &args.explain {
        return super::explain::explain(name, args.json);
    }
    let (recipe, path) = recipe(args)?;
    let alone = is_alone(&recipe);
    match kind {
        Kind::Taught if alone => bail!("{} learns from labels alone\n  hint: use `attar train`", path.display()),
        Kind::Alone if !alone => {
            bail!("{} asks for more than labels\n  hint: use `attar distill`", path.display())
        }
        _ => {}
    }
    let directory = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&recipe.name));
    let stages = recipe.chain(&directory)?;
    Plan::check_stages(&stages, args.allow_idle)?;
    if args.dry_run {
        return dry_run(stages, args);
    }
    if !args.resume {
        stages.iter().try_for_each(|(_, place)| run::free(place))?;
    }
    let count = stages.len();
    let mut receipt = None;
    for (i, (recipe, directory)) in stages.into_iter().enumerate() {
        let is_last = i + 1 == count;
        // The last one is left to itself: it may be finished and go on for longer.
        if args.resume
            && !is_last
            && let Some(done) = finished(&recipe, &directory)?
        {
            receipt = Some(done);
            continue;
        }
        // A chain goes on where it stopped: what was not begun begins, but for the first, which somebody resumes.
        let resume = args.resume && (i == 0 || directory.join(file::RECIPE).is_file());
        receipt = Some(carry_out(Plan::new(recipe, args.options())?, &directory, resume)?);
    }
    super::print(&match args.json {
        true => serde_json::to_string_pretty(&receipt)?, // it has a version of its own
        false => directory.display().to_string(),
    })
}

/// The recipe that is named, or the one that `attar new` makes of the options, and how messages call it.
fn recipe(args: &Args) -> Result<(Recipe, PathBuf)> {
    match (&args.recipe, &args.data) {
        // clap does not ask for --data where it would conflict with the recipe.
        (Some(path), _) if args.wishes != Wishes::default() => bail!(
            "--student, --epochs and what goes with them make a recipe of --data; {} is one already\n  hint: --set KEY=VALUE changes it, e.g. --set train.epochs=5",
            path.display()
        ),
        (Some(path), _) => Ok((Recipe::load(path, &args.set)?, path.clone())),
        (None, Some(data)) => {
            let made = new::make(data, &args.wishes)?;
            made.notes.iter().for_each(attar_infer::cli::say);
            Ok((new::read(&made, &args.set)?, PathBuf::from("what the options ask for")))
        }
        (None, None) => bail!("no recipe is named"),
    }
}

/// The plan of the first stage; those behind it wait for its weights.
fn dry_run(stages: Vec<(Recipe, PathBuf)>, args: &Args) -> Result<()> {
    let mut stages = stages.into_iter();
    let Some((first, _)) = stages.next() else { bail!("the recipe has no stage") };
    let description = Plan::new(first, args.options())?.describe();
    if args.json {
        return super::print(&super::versioned(&description)?);
    }
    let mut text = description.to_string();
    for (recipe, directory) in stages {
        text += &format!("then       {} in {}, taught by the one before\n", student(&recipe), directory.display());
    }
    super::print(&text)
}

/// What the student of a stage that is still to come is called.
fn student(recipe: &Recipe) -> String {
    match (&recipe.student.network, recipe.student.from.as_ref().and_then(StudentSource::path)) {
        (Some(network), _) => network.name.clone(),
        (None, Some(path)) => format!("the network of {}", path.display()),
        (None, None) => "a network".to_owned(),
    }
}

/// What the rooms behind this one may use, and progress for who looks at many images.
pub(crate) fn options() -> PlanOptions {
    PlanOptions { progress: Some(progress::scanning()), ..plan_options() }
}

/// Runs or resumes a plan with progress, and draws its report.
pub(crate) fn carry_out(plan: Plan, directory: &Path, resume: bool) -> Result<Receipt> {
    plan.notes().for_each(say);
    let mut progress = Progress::new(plan.recipe().train.epochs, plan.steps_per_epoch());
    let receipt = match resume {
        true => attar::train::resume(directory, plan, &mut progress)?,
        false => attar::train::start(directory, plan, &mut progress)?,
    };
    report::measures::lines(&receipt).iter().for_each(say);
    Ok(receipt)
}
