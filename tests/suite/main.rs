//! The inspector: rules of the house, the command line, the whole pipeline and the parity matrix.

// clippy.toml allows these in test functions, not in what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod bisect;
mod cli;
mod compare;
mod conformance;
mod data;
mod docs;
mod end_to_end;
mod exit_codes;
mod help;
mod hints;
mod integers;
mod layers;
mod loaders;
mod new;
mod onnx_zoo;
mod operations;
mod parity;
mod pipeline;
mod quantised;
mod recipes;
mod runs;
mod schemas;
mod strangers;
mod support;
mod tidy;
