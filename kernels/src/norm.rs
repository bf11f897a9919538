//! Batch normalisation, with the addition and the activation that usually follow it.
//!
//! Ioffe and Szegedy, "Batch Normalization" (2015), equations 1 to 4; statistics as PyTorch keeps them.

mod backward;
mod forward;
mod stats;

use crate::rows::Rows;
use crate::shape::NormShape;

pub use backward::{Clamp, NormGrads};
pub(crate) use backward::{batch_norm_backward, batch_norm_eval_backward};
pub(crate) use forward::{batch_norm_apply, batch_norm_eval, batch_norm_train};
pub(crate) use stats::batch_stats;
pub use stats::{BatchStats, SavedStats};

/// What is done to each column of long rows: `(x - mean) * scale + bias`.
///
/// Forward and backward take it from here, so that the same values are clamped in both.
struct Affine {
    mean: Vec<f32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Affine {
    fn new(shape: &NormShape, rows: &Rows, weight: &[f32], bias: &[f32], stats: SavedStats<'_>) -> Self {
        for (what, slice) in [("weight", weight), ("bias", bias), ("mean", stats.mean), ("inv_std", stats.inv_std)] {
            assert_channels(shape, what, slice);
        }
        let scale: Vec<f32> = weight.iter().zip(stats.inv_std).map(|(weight, inv_std)| weight * inv_std).collect();
        Self { mean: rows.columns(stats.mean), scale: rows.columns(&scale), bias: rows.columns(bias) }
    }
}

#[inline(always)]
fn affine(x: f32, mean: f32, scale: f32, bias: f32) -> f32 {
    (x - mean) * scale + bias
}

fn assert_values<T>(shape: &NormShape, what: &str, values: &[T]) {
    assert_eq!(values.len(), shape.len(), "{what} of {shape:?}");
}

fn assert_channels(shape: &NormShape, what: &str, values: &[f32]) {
    assert_eq!(values.len(), shape.channels, "{what} of {shape:?}");
}
