//! `attar`: distils image classifiers, exports them, and proves that the exported file decides like the trained network.
//!
//! This program only parses, joins the rooms and prints. Results go to stdout, progress and messages to stderr.

mod engines;
mod onnx_teacher;
mod progress;
mod report;
mod source;
mod table;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

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
    /// Trains a network without a teacher: recipe to run directory.
    #[command(
        after_help = "Examples:\n  attar train recipes/teacher.toml\n  attar train recipes/teacher.toml --set train.epochs=5 --dry-run\n  attar train recipes/teacher.toml --resume"
    )]
    Train(verbs::train::Args),
    /// Trains a student with its teachers: recipe to run directory.
    #[command(
        after_help = "Examples:\n  attar distill demo/distilled.toml\n  attar distill recipes/cd-gkd-edt-cifar100.toml --set device=cuda --out runs/x\n  attar distill demo/distilled.toml --resume\n  attar distill --explain channel"
    )]
    Distill(verbs::train::Args),
    Labels(verbs::labels::Args),
    Compare(verbs::compare::Args),
    Export(verbs::export::Args),
    Verify(verbs::verify::Args),
    Bench(verbs::bench::Args),
    BenchTrain(verbs::bench_train::Args),
    Predict(verbs::predict::Args),
    Models(verbs::models::Args),
    Losses(verbs::losses::Args),
    Data(verbs::data::Args),
    Doctor(verbs::doctor::Args),
}

fn main() -> ExitCode {
    attar_distill::keep_freed_memory();
    let verb = Cli::parse().verb;
    match attar_distill::check_level().map_err(anyhow::Error::msg).and_then(|()| run(&verb)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::from(2)
        }
    }
}

/// The error and its causes, each said once: the libraries' messages already hold what the system said.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.contains(&cause) {
        true => said,
        false if said.is_empty() => cause,
        false => format!("{said}: {cause}"),
    })
}

fn run(verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Demo(args) => return verbs::demo::run(args),
        Verb::Compare(args) => return verbs::compare::run(args),
        Verb::Verify(args) => return verbs::verify::run(args),
        Verb::Data(args) => return verbs::data::run(args),
        Verb::Doctor(args) => return verbs::doctor::run(args),
        Verb::Train(args) => verbs::train::run(args, Kind::Alone)?,
        Verb::Distill(args) => verbs::train::run(args, Kind::Taught)?,
        Verb::Labels(args) => verbs::labels::run(args)?,
        Verb::Export(args) => verbs::export::run(args)?,
        Verb::Bench(args) => verbs::bench::run(args)?,
        Verb::BenchTrain(args) => verbs::bench_train::run(args)?,
        Verb::Predict(args) => verbs::predict::run(args)?,
        Verb::Models(args) => verbs::models::run(args)?,
        Verb::Losses(args) => verbs::losses::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}
