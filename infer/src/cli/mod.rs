//! The verbs that ask a bundle or an ONNX file something, with their options: `attar` and `attar-infer` are one dialect because they share
//! this code. Results go to stdout, messages to stderr.

pub mod bench;
pub mod data;
pub mod doctor;
pub mod engines;
mod exit;
pub mod interrupt;
mod output;
pub mod predict;
pub mod selftest;
pub mod stated;
pub mod verify;

pub use exit::{Exit, NotSo};
pub use output::{Versioned, complain, print, progress, say, told};
