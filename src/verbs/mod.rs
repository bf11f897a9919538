//! One file a verb.

pub(crate) mod bench;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod models;
pub(crate) mod predict;
pub(crate) mod train;
pub(crate) mod verify;
