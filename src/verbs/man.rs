//! `attar man`: manual pages of the program and of every verb, made of the same help that `--help` prints.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Writes manual pages: attar.1 and one for each verb.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  attar man --out man\n  attar man --out ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The folder; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let place = || args.out.display().to_string();
    std::fs::create_dir_all(&args.out).with_context(place)?;
    clap_mangen::generate_to(crate::command_line(), &args.out).with_context(place)?;
    super::print(&place())
}
