//! `attar train` and `attar distill`: a recipe becomes a run directory.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use attar_distill::run::{self, Receipt};
use attar_distill::{Plan, PlanOptions, Recipe};

use crate::onnx_teacher;
use crate::progress::Progress;
use crate::report;

/// How a recipe is carried out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recipe (TOML).
    recipe: PathBuf,
    /// Change a setting of the recipe, dotted: `train.epochs=5`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run directory; `runs/NAME` without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the resolved plan (taps with shapes, parameters, steps, weights over time, device) and stop.
    #[arg(long)]
    dry_run: bool,
    /// Go on in the run directory from its last checkpoint, with the same bits as if it had never stopped.
    #[arg(long)]
    resume: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Whether a recipe must name teachers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `attar train`: none.
    Alone,
    /// `attar distill`: at least one.
    Taught,
}

pub(crate) fn run(args: &Args, kind: Kind) -> Result<()> {
    let recipe = Recipe::load(&args.recipe, &args.set)?;
    match (kind, recipe.teachers.is_empty()) {
        (Kind::Taught, true) => bail!("{} names no teacher\n  hint: use `attar train`", args.recipe.display()),
        (Kind::Alone, false) => bail!("{} names teachers\n  hint: use `attar distill`", args.recipe.display()),
        _ => {}
    }
    let directory = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&recipe.name));
    let plan = Plan::new(recipe, options())?;
    if args.dry_run {
        let description = plan.describe();
        return super::print(&match args.json {
            true => serde_json::to_string_pretty(&description)?,
            false => description.to_string(),
        });
    }
    let receipt = carry_out(plan, &directory, args.resume)?;
    super::print(&match args.json {
        true => serde_json::to_string_pretty(&receipt)?,
        false => directory.display().to_string(),
    })
}

/// What the rooms behind this one may use: ONNX files as teachers, run by an engine.
pub(crate) fn options() -> PlanOptions {
    PlanOptions { onnx: Some(onnx_teacher::opener()), ..PlanOptions::default() }
}

/// Runs or resumes a plan with progress, and draws its report.
pub(crate) fn carry_out(plan: Plan, directory: &Path, resume: bool) -> Result<Receipt> {
    if let Some(note) = &plan.device_note {
        eprintln!("{note}");
    }
    let mut progress = Progress::new(plan.recipe.train.epochs, plan.steps_per_epoch);
    let receipt = match resume {
        true => run::resume(plan, directory, &mut progress)?,
        false => run::start(plan, directory, &mut progress)?,
    };
    let alone = report::run::Extras { certificate: None, comparison: None, images: report::Images::Withheld };
    report::run::write(directory, &alone)?;
    Ok(receipt)
}
