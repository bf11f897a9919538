//! `attar`: distils image classifiers, exports them, and proves that the exported file decides like the trained network.
//!
//! This program only parses, joins the rooms and prints. Results go to stdout, progress and messages to stderr.

mod allocator;
mod engines;
mod progress;
mod source;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;
use attar_infer::cli::{self, Exit, bench, predict, selftest};
use clap::{CommandFactory, Parser, Subcommand};

use verbs::train::Kind;

/// Distils large image classifiers into compact ones and proves that the exported file decides like the trained network.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Distils, exports, verifies and compares on a small real data set (Fashion-MNIST, 6,000 + 3,000 images).
    Demo(verbs::demo::Args),
    New(verbs::new::Args),
    /// Trains a network without a teacher: recipe, or images and options, to run directory.
    #[command(
        after_help = "Examples:\n  attar train teacher.toml\n  attar train teacher.toml --set train.epochs=5 --dry-run\n  attar train teacher.toml --resume\n  attar train --data image-folder:photos --student resnet18 --epochs 20"
    )]
    Train(verbs::train::Args),
    /// Trains a student with its teachers: recipe, or images and options, to run directory.
    #[command(
        after_help = "Examples:\n  attar distill student.toml\n  attar distill student.toml --set device=cpu --set train.batch=32 --out runs/x\n  attar distill student.toml --resume\n  attar distill --data image-folder:photos --student mobilenet_v2 --width 0.35 --teacher runs/teacher --method cd-gkd-edt\n  attar distill --explain channel\n  attar distill --explain schedules"
    )]
    Distill(verbs::train::Args),
    Labels(verbs::labels::Args),
    Compare(verbs::compare::Args),
    Export(verbs::export::Args),
    #[command(visible_alias = "quantize")]
    Quantise(verbs::quantise::Args),
    Compile(verbs::compile::Args),
    Add(verbs::add::Args),
    #[command(after_help = verbs::verify::examples())]
    Verify(verbs::verify::Args),
    Bisect(verbs::bisect::Args),
    Conformance(verbs::conformance::Args),
    #[command(after_help = selftest::examples(PROGRAM))]
    Selftest(selftest::Args),
    #[command(after_help = bench::examples(PROGRAM))]
    Bench(bench::Args),
    BenchTrain(verbs::bench_train::Args),
    #[command(after_help = predict::examples(PROGRAM))]
    Predict(predict::Args),
    Inspect(verbs::inspect::Args),
    Models(verbs::models::Args),
    Losses(verbs::losses::Args),
    Reference(verbs::reference::Args),
    Data(verbs::data::Args),
    Doctor(verbs::doctor::Args),
    Completions(verbs::completions::Args),
    Man(verbs::man::Args),
}

/// The command line as `clap` knows it: completions and man pages are made of it.
fn command_line() -> clap::Command {
    Cli::command()
}

/// What its help calls it.
const PROGRAM: &str = "attar";

/// Exit codes: `docs/exit-codes.md`.
fn main() -> ExitCode {
    allocator::keep_freed_memory();
    let verb = Cli::parse().verb;
    if let Err(problem) = attar_distill::check_level() {
        cli::complain(&problem);
        return Exit::Error.into();
    }
    cli::interrupt::watch(match verb {
        Verb::Train(_) | Verb::Distill(_) => {
            "interrupted\n  hint: the same command with `--resume` goes on after what is done"
        }
        Verb::Compare(_) | Verb::Labels(_) => "interrupted\n  hint: the same command goes on; what is done stays",
        _ => "interrupted",
    });
    run(&verb).unwrap_or_else(|error| {
        cli::complain(&told(&error));
        Exit::of(&error).into()
    })
}

/// The error and its causes.
fn told(error: &anyhow::Error) -> String {
    cli::told(error)
}

fn run(verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Demo(args) => return verbs::demo::run(args),
        Verb::Compare(args) => return verbs::compare::run(args),
        Verb::Add(args) => return verbs::add::run(args),
        Verb::Quantise(args) => return verbs::quantise::run(args),
        Verb::Verify(args) => return verbs::verify::run(args),
        Verb::Bisect(args) => return verbs::bisect::run(args),
        Verb::Conformance(args) => return verbs::conformance::run(args),
        Verb::Selftest(args) => return Ok(selftest::run(args)?.into()),
        Verb::Bench(args) => return Ok(bench::run(args)?.into()),
        Verb::Predict(args) => return Ok(predict::run(args)?.into()),
        Verb::Data(args) => return verbs::data::run(args),
        Verb::Doctor(args) => return verbs::doctor::run(args),
        Verb::Train(args) => verbs::train::run(args, Kind::Alone)?,
        Verb::Distill(args) => verbs::train::run(args, Kind::Taught)?,
        Verb::Labels(args) => verbs::labels::run(args)?,
        Verb::Export(args) => verbs::export::run(args)?,
        Verb::Compile(args) => verbs::compile::run(args)?,
        Verb::BenchTrain(args) => verbs::bench_train::run(args)?,
        Verb::Inspect(args) => verbs::inspect::run(args)?,
        Verb::Models(args) => verbs::models::run(args)?,
        Verb::Losses(args) => verbs::losses::run(args)?,
        Verb::Reference(args) => verbs::reference::run(args)?,
        Verb::New(args) => verbs::new::run(args)?,
        Verb::Completions(args) => verbs::completions::run(args)?,
        Verb::Man(args) => verbs::man::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}
