//! Engines, bundles, certificates and the program, each against what it should do and what it may meet.

// clippy.toml allows these in test functions, not in what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bisect;
mod bundles;
mod engines;
mod foreign;
mod integers;
mod parity;
mod program;
mod strangers;
mod support;
mod taps;
