//! The losses against PyTorch (values and gradients), against finite differences in `f64`, and at their edges.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share
#![allow(unreachable_pub)] // what the files share is for this program alone

mod bank;
mod class_weights;
mod classic;
mod common;
mod features;
mod features_built;
mod feed;
mod gacd;
mod leaves;
mod logits;
mod logits_objects;
mod pld;
mod review;
