//! The inspector: rules of the house, the command line, the whole pipeline and the parity matrix.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy.toml allows them in test functions, not in what they share

mod parity;
mod support;
mod tidy;
