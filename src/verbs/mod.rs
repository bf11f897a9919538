//! One file a verb.

use std::io::{ErrorKind, Write};

pub(crate) mod bench;
pub(crate) mod bench_train;
pub(crate) mod compare;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod labels;
pub(crate) mod losses;
pub(crate) mod models;
pub(crate) mod predict;
pub(crate) mod train;
mod unfinished;
pub(crate) mod verify;

/// Prints a result to stdout and ends its line. A reader who has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
