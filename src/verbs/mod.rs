//! One file a verb.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};

use serde::Serialize;

pub(crate) mod bench;
pub(crate) mod bench_train;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod labels;
pub(crate) mod losses;
pub(crate) mod man;
pub(crate) mod models;
pub(crate) mod new;
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

/// Version of what the verbs print as JSON. It grows when a key changes its meaning or goes; new keys leave it.
const JSON_VERSION: u32 = 1;

/// A result as JSON for programs: an object whose first key is the version of its layout.
fn versioned(value: &impl Serialize) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        version: u32,
        #[serde(flatten)]
        value: &'a T,
    }
    Ok(serde_json::to_string_pretty(&Versioned { version: JSON_VERSION, value })?)
}

/// [`versioned`] of a list, under a name.
fn listed(name: &str, items: &impl Serialize) -> anyhow::Result<String> {
    versioned(&BTreeMap::from([(name, items)]))
}
