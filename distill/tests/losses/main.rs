//! The losses against PyTorch (values and gradients), against finite differences in `f64`, and at their edges.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

mod classic;
mod common;
mod features;
mod features_built;
mod logits;
mod logits_objects;
