//! `attar labels`: a teacher's answers to every training image, written once.

use std::path::PathBuf;

use anyhow::{Result, bail};
use attar_distill::labelling::{self, Progress};
use attar_distill::{Plan, PlanOptions, Recipe};
use attar_infer::cli::say;
use schemars::JsonSchema;
use serde::Serialize;

use super::train::options;
use crate::source::CacheArgs;

/// Writes a teacher's answers to the augmented training images of a recipe, so that students learn from them without it.
///
/// The recipe names one teacher; in the student's recipe, with the same data, augmentation and seed, write
/// `from = { kind = "stored", path = "DIR" }` in its place. What is there already is kept, so that a run that was stopped
/// goes on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Of many classes only the likeliest need be kept (--top): what they leave of the probability is spread over the others.\n\nExamples:\n  attar labels student.toml --out labels/student\n  attar labels student.toml --top 2 --out labels/top2\n  attar labels student.toml --out labels/student --stamp\n  attar distill student.toml --out runs/by-labels --set 'teachers.teacher.from={ kind = \"stored\", path = \"labels/student\" }'"
)]
pub(crate) struct Args {
    /// The recipe (TOML).
    recipe: PathBuf,
    /// Change a setting of the recipe, dotted: `train.batch=256`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Epochs to answer; those of the recipe without it.
    #[arg(long)]
    epochs: Option<usize>,
    /// Classes to keep of each image; all without it.
    #[arg(long)]
    top: Option<usize>,
    /// Add to an older store in DIR which images it answers: its teacher, the recipe's, is asked again for a sample first.
    #[arg(long, conflicts_with_all = ["epochs", "top"])]
    stamp: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut recipe = Recipe::load(&args.recipe, &args.set)?;
    recipe.stages.clear(); // the recipe's teacher answers, whoever learns from it first
    let epochs = args.epochs.unwrap_or(recipe.train.epochs);
    if epochs == 0 {
        bail!("--epochs 0, expected at least 1");
    }
    // Only the teacher is asked; what the student does with its answers is another recipe's business.
    let plan = Plan::new(recipe, PlanOptions { allow_idle: true, ..args.cache.apply(options()) })?;
    plan.notes().for_each(say);
    if args.stamp {
        return stamp(plan, args);
    }
    let mut said = None;
    let manifest = labelling::write(plan, &args.out, epochs, args.top, |told: Progress| {
        let percent = 100 * told.images / told.of_images.max(1);
        if said != Some((told.epochs, percent / 10)) {
            said = Some((told.epochs, percent / 10));
            say(format!("epoch {}/{}: {percent} % of {} images", told.epochs + 1, told.of_epochs, told.of_images));
        }
    })?;
    super::print(&match args.json {
        true => serde_json::to_string_pretty(&manifest)?,
        false => args.out.display().to_string(),
    })
}

/// What was stamped, as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Stamp {
    /// Fingerprint of the training images.
    images_sha256: String,
    /// Images that the teacher answered once more.
    asked_again: usize,
}

fn stamp(plan: Plan, args: &Args) -> Result<()> {
    let stamped = labelling::stamp(plan, &args.out)?;
    super::print(&match (args.json, stamped.asked) {
        (true, asked) => super::versioned(&Stamp { images_sha256: stamped.images_sha256, asked_again: asked })?,
        (false, 0) => format!("{} names its images already: {}", args.out.display(), stamped.images_sha256),
        (false, asked) => format!(
            "{}: the teacher gave its answers to {asked} images again; the store now names its images: {}",
            args.out.display(),
            stamped.images_sha256
        ),
    })
}
