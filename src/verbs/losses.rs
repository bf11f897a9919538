//! `attar losses`: the losses there are, with paper, basis and settings; what one of them is, `--explain` says.

use anyhow::Result;
use attar_distill::losses::{Described, described};
use schemars::JsonSchema;
use serde::Serialize;

use super::{explain, print};

/// Lists the losses that recipes are made of: what each asks of the student, its paper, its settings and their defaults.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar losses\n  attar losses --json\n  attar distill --explain kd\n  attar distill --explain schedules"
)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// All of them.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Losses {
    losses: Vec<Described>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.json {
        return print(&super::versioned(&Losses { losses: described() })?);
    }
    let rest = "one of them, a method or a topic: attar distill --explain NAME";
    let all: Vec<String> = described().iter().map(explain::text).collect();
    print(&format!("{}\n{} losses; {rest}\n{}", all.join("\n"), all.len(), explain::overview()))
}
