//! One file a verb; those that `attar-infer` has, too, are in `attar_infer::cli`.

pub(crate) mod bench_train;
pub(crate) mod compare;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod labels;
pub(crate) mod losses;
pub(crate) mod models;
pub(crate) mod train;
pub(crate) mod verify;

use attar_infer::cli::print;
