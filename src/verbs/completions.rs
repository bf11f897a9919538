//! `attar completions`: what a shell needs to complete the command line.

use std::io::Write;

use anyhow::Result;
use clap_complete::Shell;

/// Prints a script that completes `attar` in your shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar completions bash > attar.bash    # then: source attar.bash, or put it where bash-completion looks\n  attar completions zsh > _attar           # into a folder of $fpath\n  attar completions fish > attar.fish      # into ~/.config/fish/completions"
)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command_line(), "attar", &mut script);
    match std::io::stdout().write_all(&script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
