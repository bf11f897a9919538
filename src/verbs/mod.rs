//! One file a verb; those that `attar-infer` has, too, are in `attar_infer::cli`.

use attar_infer::cli::{Versioned, print};
use serde::Serialize;

pub(crate) mod add;
pub(crate) mod bench_train;
pub(crate) mod bisect;
pub(crate) mod compare;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod conformance;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod doctor;
mod end_to_end;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod labels;
pub(crate) mod losses;
pub(crate) mod man;
pub(crate) mod models;
pub(crate) mod new;
pub(crate) mod quantise;
pub(crate) mod reference;
mod schemas;
pub(crate) mod train;
mod unfinished;
pub(crate) mod verify;

/// A result as JSON for programs: an object whose first key is the version of its layout.
fn versioned(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&Versioned::new(value))?)
}
