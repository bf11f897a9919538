//! `attar-infer`: a bundle at work, without anything that trains. Exit codes: `docs/exit-codes.md`.

use std::process::ExitCode;

use attar_infer::cli::{self, Exit, bench, doctor, predict, selftest, verify};
use clap::{Parser, Subcommand};

/// Classifies images with a bundle, verifies that it decides like the network that was trained, and measures it.
#[derive(Debug, Parser)]
#[command(name = "attar-infer", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What its help calls it.
const PROGRAM: &str = "attar-infer";

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(after_help = predict::examples(PROGRAM))]
    Predict(predict::Args),
    #[command(after_help = verify::examples(PROGRAM))]
    Verify(Box<verify::Args>),
    #[command(after_help = selftest::examples(PROGRAM))]
    Selftest(selftest::Args),
    #[command(after_help = bench::examples(PROGRAM))]
    Bench(bench::Args),
    #[command(after_help = doctor::examples(PROGRAM))]
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    cli::interrupt::watch("interrupted");
    let done = match &verb {
        Verb::Predict(args) => predict::run(args),
        Verb::Verify(args) => verify::run(args, &mut cli::progress("verifying")),
        Verb::Selftest(args) => selftest::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Doctor(args) => doctor::run(args),
    };
    let exit = done.unwrap_or_else(|error| {
        cli::complain(&cli::told(&error));
        Exit::of(&error)
    });
    exit.into()
}
