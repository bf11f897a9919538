//! Wasserstein distillation of features (WKD-F: Lv et al. 2024, arXiv 2412.08139): mean and spread of every channel
//! follow the teacher's, as Gaussians with diagonal covariance, whose squared Wasserstein distance this is.
//!
//! With the mean `m` and the standard deviation `d` of a channel over positions (unbiased variance + 1e-5 under the
//! root), the loss is `(1 / N) sum_n sum_c [ratio (m_s - m_t)^2 + (d_s - d_t)^2]`: a sum over channels, so its usual
//! weight is small (0.02 with ratio 2 for ImageNet, 0.08 with ratio 4 for CIFAR-100). A `grid` above 1 takes the
//! statistics in each cell of the map and divides by the number of cells. The student's map passes a trained projector
//! first. The authors decay the weight to 0 over the last part of training: knots of the loss's weight.
//!
//! Deviations from the authors' code: a cell of one position has variance 0 (theirs: NaN); the projector never changes
//! the size of the map, because statistics over positions do not need equal sizes.

use candle_core::Tensor;

use super::maps::{adaptive_avg_pool, windows};
use crate::error::Result;

/// Added to variances.
const EPS: f64 = 1e-5;

/// `(1 / (N grid^2)) sum [ratio (m_s - m_t)^2 + (d_s - d_t)^2]` over samples, channels and the cells of a `grid` x
/// `grid` division, `m` and `d` being mean and standard deviation over the cell's positions. Maps are `[N, C, H, W]`
/// with equal `N` and `C`; sizes may differ. The teacher is a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn wkd_f(student: &Tensor, teacher: &Tensor, ratio: f64, grid: usize) -> Result<Tensor> {
    let parts = student.dims4()?.0 * grid * grid;
    let (student, teacher) = (statistics(student, grid)?, statistics(&teacher.detach(), grid)?);
    let means = (student.0 - teacher.0)?.sqr()?.sum_all()?;
    let deviations = (student.1 - teacher.1)?.sqr()?.sum_all()?;
    Ok((((means * ratio)? + deviations)? / parts as f64)?)
}

/// `[N, C, H, W]` to mean and standard deviation of each cell, `[N, C, grid, grid]` each.
fn statistics(map: &Tensor, grid: usize) -> Result<(Tensor, Tensor)> {
    let (_, _, height, width) = map.dims4()?;
    // Taken about the channel's mean, a constant: the squares of values far from 0 would cancel.
    let centre = map.detach().mean_keepdim((2, 3))?;
    let centred = map.broadcast_sub(&centre)?;
    let mean = adaptive_avg_pool(&centred, [grid; 2])?;
    let biased = (adaptive_avg_pool(&centred.sqr()?, [grid; 2])? - mean.sqr()?)?;
    let sizes = windows(height, grid).flat_map(|(_, h)| windows(width, grid).map(move |(_, w)| h * w));
    let bessel: Vec<f64> = sizes.map(|size| size as f64 / size.saturating_sub(1).max(1) as f64).collect();
    let bessel = Tensor::from_vec(bessel, (grid, grid), map.device())?.to_dtype(map.dtype())?;
    let deviation = (biased.broadcast_mul(&bessel)?.maximum(0.0)? + EPS)?.sqrt()?;
    Ok((mean.broadcast_add(&centre)?, deviation))
}
