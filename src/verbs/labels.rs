//! `attar labels`: a teacher's answers to every training image, written once.

use std::path::PathBuf;

use anyhow::{Result, bail};
use attar_distill::labels::{self, Told};
use attar_distill::{Plan, Recipe};

use super::train::options;
use crate::source::CacheArgs;
use attar_infer::cli::say;

/// Writes a teacher's answers to the augmented training images of a recipe, so that students learn from them without it.
///
/// The recipe names one teacher; in the student's recipe, with the same data, augmentation and seed, write
/// `from = { kind = "stored", path = "DIR" }` in its place. What is there already is kept, so that a run that was stopped
/// goes on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Of many classes only the likeliest need be kept (--top): what they leave of the probability is spread over the others.\n\nExamples:\n  attar labels student.toml --out labels/student\n  attar labels student.toml --top 2 --out labels/top2\n  attar distill student.toml --out runs/by-labels --set 'teachers.teacher.from={ kind = \"stored\", path = \"labels/student\" }'"
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
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut recipe = Recipe::load(&args.recipe, &args.set)?;
    recipe.generations.clear(); // the recipe's teacher answers, whoever learns from it first
    let epochs = args.epochs.unwrap_or(recipe.train.epochs);
    if epochs == 0 {
        bail!("--epochs 0, expected at least 1");
    }
    let plan = Plan::new(recipe, args.cache.apply(options()))?;
    plan.notes().for_each(say);
    let mut said = None;
    let manifest = labels::write(plan, &args.out, epochs, args.top, |told: Told| {
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
