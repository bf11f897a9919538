//! Engines, bundles, certificates and the program, each against what it should do and what it may meet.

mod bundles;
mod engines;
mod parity;
mod program;
mod support;
