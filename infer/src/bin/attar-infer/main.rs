//! `attar-infer`: a bundle at work, without anything that trains. Exit codes: 0 fine or equivalent, 1 worse, 2 error,
//! 3 inconclusive or numbers only.

mod bench;
mod common;
mod doctor;
mod predict;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Classifies images with a bundle, verifies that it decides like the network that was trained, and measures it.
#[derive(Debug, Parser)]
#[command(name = "attar-infer", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Predict(predict::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Doctor(doctor::Arguments),
}

/// What an error exits with.
const ERROR: u8 = 2;

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Predict(arguments) => predict::run(&arguments),
        Verb::Verify(arguments) => verify::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Doctor(arguments) => doctor::run(&arguments),
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        common::say(&format!("error: {}\n", told(&error)));
        ERROR
    }))
}

/// The error and its causes in one line each said once: the libraries' messages already hold what the system said.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.contains(&cause) {
        true => said,
        false if said.is_empty() => cause,
        false => format!("{said}: {cause}"),
    })
}
