//! `attar compare`: methods side by side: every recipe trained with every seed on equal terms, one table of what came of it.

mod child;
mod runs;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use attar::compare::{Comparison, Contender, Run, against, terms};
use attar_distill::Recipe;
use attar_infer::cli::say;

use super::print;

/// Trains every recipe with every seed and compares what comes of it on the same test images.
///
/// Runs that are done in --out are not trained again, interrupted ones go on, and when one fails the others are trained all the
/// same; then the exit code is 2. Data, student, epochs and batch must be the same in all recipes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Columns: accuracies are in percent, mean ± standard deviation over the seeds, after the last epoch and of the best epoch by\nvalidation; differences to the recipe compared with are taken seed by seed. NLL, ECE and the share of decisions that equal\nthe teacher's are those of the exported weights. `step` is the time of a step, evaluations included, in units of the other\nrecipe's; with a * it was taken by another call, perhaps on a busier machine.\n`memory` is the most that the process that trained held.\n\nExamples:\n  attar compare recipes/fashion-mnist/*.toml --seeds 3 --out runs/compare\n  attar compare recipes/fashion-mnist/*.toml --against alone --set train.epochs=2 --seeds 1 --allow-idle --out runs/short"
)]
pub(crate) struct Args {
    /// Recipes; each is called by the name of its file.
    #[arg(required = true)]
    recipes: Vec<PathBuf>,
    /// Train each with the seeds 0, 1, ... so many.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Where runs, table.md, table.csv, plot.svg and compare.json go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The recipe that the others are compared with; `kd` if there is one, else the first.
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Compare recipes although data, student, epochs or batch differ.
    #[arg(long)]
    unequal: bool,
    /// Carry out recipes in which something does nothing, such as a loss whose weight is 0 in every epoch: for trials.
    #[arg(long)]
    allow_idle: bool,
    /// Change a setting of every recipe, dotted: `train.epochs=2`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: crate::source::CacheArgs,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.seeds == 0 {
        bail!("--seeds must be at least 1");
    }
    let contenders = contenders(args)?;
    let against = against(&contenders, args.against.as_deref())?;
    let terms = terms::check(&contenders)?;
    if !terms.unequal.is_empty() && !args.unequal {
        bail!(
            "the recipes are not trained on equal terms:\n  {}\n  hint: make them equal, or compare them all the same with --unequal",
            terms.unequal.join("\n  ")
        );
    }
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let mut done: Vec<Vec<Run>> = contenders.iter().map(|_| Vec::new()).collect();
    let mut comparison = None;
    // Seed by seed, so that all recipes can be compared as soon as each has been trained once.
    for seed in 0..args.seeds {
        for (at, contender) in contenders.iter().enumerate() {
            let number = seed as usize * contenders.len() + at + 1;
            let all = contenders.len() * args.seeds as usize;
            say(format!("\n[{number}/{all}] {}, seed {seed}", contender.name));
            done[at].push(runs::carry_out(contender, seed, args));
        }
        let whole = Comparison::of(&contenders, against, &done, args.seeds, &terms);
        whole.write(&args.out)?;
        comparison = Some(whole);
    }
    let comparison = comparison.context("nothing was compared")?;
    print(&match args.json {
        true => super::versioned(&comparison)?,
        false => comparison.text(),
    })?;
    let failed = done.iter().flatten().any(|run| run.failure.is_some());
    Ok(if failed { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// The recipes by the names of their files.
fn contenders(args: &Args) -> Result<Vec<Contender>> {
    let mut all: Vec<Contender> = Vec::with_capacity(args.recipes.len());
    for path in &args.recipes {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(other) = all.iter().find(|other| other.name == name) {
            bail!("{} and {} are both called `{name}`", other.path.display(), path.display());
        }
        let recipe = Recipe::load(path, &args.set).with_context(|| path.display().to_string())?;
        all.push(Contender { name, path: path.clone(), recipe });
    }
    Ok(all)
}
