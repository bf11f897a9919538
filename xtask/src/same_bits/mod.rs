//! `cargo xtask same-bits BASE`: the proof that a change moved code and no numbers. Builds a commit and the tree, carries out
//! the same short runs with both on this machine, and compares values: tensors by name, metrics, and what a certificate counts.

mod runs;
mod values;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;
use runs::{RUNS, Run};
use values::Values;

/// Builds both programs, runs both, compares. `base_program` is the program of `base`, where it has been built before.
pub(crate) fn run(base: &str, base_program: Option<&Path>, only: &[String]) -> Result<()> {
    let place = cargo::target_folder()?.join("same-bits");
    std::fs::create_dir_all(&place)?;
    let tree_program = build(cargo::root()?, &cargo::target_folder()?)?;
    let base_program = match base_program {
        Some(program) => program.canonicalize().with_context(|| program.display().to_string())?,
        None => build(&checkout(base, &place)?, &place.join("target"))?,
    };
    let runs: Vec<&Run> =
        RUNS.iter().filter(|run| only.is_empty() || only.iter().any(|name| name == run.name)).collect();
    ensure!(!runs.is_empty(), "no such run; there are {}", RUNS.map(|run| run.name).join(", "));
    println!("{base} against the tree, value by value");
    let mut differ = 0;
    for run in runs {
        let found = carry_out(run, &base_program, &place.join("base"))?;
        let values = carry_out(run, &tree_program, &place.join("tree"))?;
        differ += usize::from(!told(run.name, &found, &values));
    }
    differ += usize::from(!told(
        "a run of the base, resumed",
        &resumed(&base_program, &base_program, &place)?,
        &resumed(&base_program, &tree_program, &place)?,
    ));
    match differ {
        0 => Ok(()),
        n => bail!("{n} of the runs above have other values"),
    }
}

/// Prints one line of the comparison; whether all values are the same.
fn told(name: &str, base: &Values, tree: &Values) -> bool {
    let differences = base.differences(tree);
    let verdict = if differences.is_empty() { "the same" } else { "DIFFERENT" };
    println!("{name:<28} {:>4} values, {:>9} numbers: {verdict}", base.len(), base.numbers());
    differences.iter().take(12).for_each(|line| println!("    {line}"));
    differences.is_empty()
}

/// The commit in a work tree of its own, beside what it is built into.
fn checkout(base: &str, place: &Path) -> Result<PathBuf> {
    let tree = place.join("checkout");
    let git = |args: &[&str]| Command::new("git").args(args).current_dir(cargo::root()?).status().context("git");
    if tree.exists() {
        git(&["worktree", "remove", "--force", &tree.to_string_lossy()])?;
    }
    let added = git(&["worktree", "add", "--detach", "--force", &tree.to_string_lossy(), base])?;
    ensure!(added.success(), "there is no commit {base}");
    Ok(tree)
}

/// Builds `attar` of a work tree and returns its path.
fn build(tree: &Path, target: &Path) -> Result<PathBuf> {
    let mut command = cargo::command();
    // The whole workspace, so that crates are built with the features that the tests build them with, and once.
    command.args(["build", "--release", "--locked", "--workspace"]).current_dir(tree);
    let status = command.env("CARGO_TARGET_DIR", target).stdout(Stdio::null()).status();
    ensure!(status.context("cargo could not be started")?.success(), "{} does not build", tree.display());
    Ok(target.join("release").join(format!("attar{}", std::env::consts::EXE_SUFFIX)))
}

/// Trains, exports and verifies in a fresh folder below `place`, and reads everything that came of it.
fn carry_out(run: &Run, program: &Path, place: &Path) -> Result<Values> {
    let folder = place.join(run.name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("recipe.toml"), run.recipe(&cargo::root()?.join("demo"))?)?;
    if run.stored {
        attar(program, &folder, &["labels", "recipe.toml", "--out", "store", "--top", "4"], &[0])?;
        std::fs::write(folder.join("recipe.toml"), run.with_store(&cargo::root()?.join("demo"))?)?;
    }
    attar(program, &folder, &[run.verb(), "recipe.toml", "--out", "run"], &[0])?;
    attar(program, &folder, &["export", "run", "--out", "bundle", "--engine", "tract"], &[0])?;
    let data = format!("idx:{}", cargo::root()?.join("demo/data").display());
    let verify = ["verify", "bundle", "--data", &data, "--engine", "tract", "--json"];
    let certificate = attar(program, &folder, &verify, &[0, 1, 3])?;
    Values::read(&folder, &certificate)
}

/// The first run of the base, brought home a second time from its last checkpoint by a program.
fn resumed(base: &Path, program: &Path, place: &Path) -> Result<Values> {
    let Some(first) = RUNS.first() else { bail!("there is no run") };
    let folder = place.join("resumed");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("recipe.toml"), first.recipe(&cargo::root()?.join("demo"))?)?;
    attar(base, &folder, &[first.verb(), "recipe.toml", "--out", "run"], &[0])?;
    attar(program, &folder, &[first.verb(), "recipe.toml", "--out", "run", "--resume"], &[0])?;
    Values::read(&folder, "{}")
}

/// Runs a program in `folder` and returns its stdout; an error unless it ends with one of `codes`.
fn attar(program: &Path, folder: &Path, args: &[&str], codes: &[i32]) -> Result<String> {
    let output = Command::new(program).args(args).current_dir(folder).output();
    let output = output.with_context(|| program.display().to_string())?;
    let code = output.status.code();
    if !code.is_some_and(|code| codes.contains(&code)) {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} {} ended with {code:?}:\n{said}", program.display(), args.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
