//! Similarity-preserving distillation (SP: Tung and Mori 2019, arXiv 1907.09682): samples that look alike to the
//! teacher shall look alike to the student.
//!
//! `G = F F^T` over the flattened features of a batch, each row divided by its length; the loss is `||G_s - G_t||_F^2 /
//! N^2`. Numbers of features may differ, so it needs no connector. The benchmark's usual weight is 3000, on the last
//! feature map. No deviation from RepDistiller and mdistiller.

use candle_core::Tensor;

use super::maps::{rows, unit_rows};
use crate::error::Result;

/// `||G_s - G_t||_F^2 / N^2` with `G` the row-normalised `F F^T`, for features `[N, ...]` of any shapes. The teacher is
/// a constant.
///
/// # Errors
/// Batch sizes that differ, or a device that failed.
pub fn sp(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let difference = (similarities(student)? - similarities(&teacher.detach())?)?;
    Ok(difference.sqr()?.mean_all()?)
}

/// `[N, ...] -> [N, N]`.
fn similarities(features: &Tensor) -> Result<Tensor> {
    let features = rows(features)?;
    unit_rows(&features.matmul(&features.t()?)?)
}
