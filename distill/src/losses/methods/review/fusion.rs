//! What ReviewKD computes: features fused from deep to shallow, compared at several sizes.

use candle_core::{D, Tensor};

use crate::error::{Error, Result};
use crate::losses::parts::differentiable::{batch_norm, conv2d, resize_nearest};
use crate::losses::parts::maps::adaptive_avg_pool;

/// Added to the variance in a fusion's batch norm.
const EPS: f64 = 1e-5;

/// The layers of one attention-based fusion that stand behind its `1x1` convolution; `M` channels inside, `C` outside.
#[derive(Debug, Clone)]
pub struct Fusion {
    /// Weight `[2, 2 M, 1, 1]` and bias `[2]` of the convolution that weighs the stage's own map and the deeper one; none at
    /// the deepest stage.
    pub attention: Option<[Tensor; 2]>,
    /// Weight of the `3x3` convolution to the teacher's channels, `[C, M, 3, 3]`.
    pub weight: Tensor,
    /// Scale of its batch norm, `[C]`.
    pub scale: Tensor,
    /// Shift of its batch norm, `[C]`.
    pub shift: Tensor,
}

/// The student's maps as the teacher's shall look, shallow to deep. `maps` are `[N, M, H, W]` of every stage, reduced to `M`
/// channels each; `sizes` are the heights and widths of the teacher's maps.
///
/// From deep to shallow, `r_i = a_i · x_i + b_i · up(r_{i+1})` with `[a_i, b_i] = sigmoid(conv([x_i, up(r_{i+1})]))` for
/// each position, resized to the teacher's map where that differs; then `BN(conv3x3(r_i))`.
///
/// # Errors
/// Counts or shapes that do not fit, or a device that failed.
pub fn review(maps: &[Tensor], fusions: &[Fusion], sizes: &[[usize; 2]]) -> Result<Vec<Tensor>> {
    if maps.is_empty() || maps.len() != fusions.len() || maps.len() != sizes.len() {
        return Err(uneven("review", [maps.len(), fusions.len(), sizes.len()]));
    }
    let mut deeper: Option<Tensor> = None;
    let mut results = Vec::with_capacity(maps.len());
    for ((map, fusion), size) in maps.iter().zip(fusions).zip(sizes).rev() {
        let fused = match (&deeper, &fusion.attention) {
            (None, None) => map.clone(),
            (Some(deeper), Some(attention)) => fuse(map, deeper, attention)?,
            _ => return Err(uneven("attention at the deepest stage, or none above it, of", [maps.len(); 3])),
        };
        let fused = resize_nearest(&fused, *size)?;
        results.push(batch_norm(&conv2d(&fused, &fusion.weight, 1, 1)?, &fusion.scale, &fusion.shift, EPS)?);
        deeper = Some(fused);
    }
    results.reverse();
    Ok(results)
}

fn fuse(map: &Tensor, deeper: &Tensor, [weight, bias]: &[Tensor; 2]) -> Result<Tensor> {
    let (_, _, height, width) = map.dims4()?;
    let deeper = resize_nearest(deeper, [height, width])?;
    let both = Tensor::cat(&[map, &deeper], 1)?;
    let shares = sigmoid(&conv2d(&both, weight, 1, 0)?.broadcast_add(&bias.reshape((1, (), 1, 1))?)?)?;
    let (own, other) = (shares.narrow(1, 0, 1)?, shares.narrow(1, 1, 1)?);
    Ok((map.broadcast_mul(&own)? + deeper.broadcast_mul(&other)?)?)
}

/// `1 / (1 + exp(-x))`, from what Candle differentiates and what no size of `x` overflows.
fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok(((x * 0.5)?.tanh()? + 1.0)?.affine(0.5, 0.0)?)
}

/// The hierarchical context loss, summed over stages: the mean squared difference of two maps at their full size and of
/// their adaptive means over 4x4, 2x2 and 1x1 windows (those smaller than the map), weighed 1, 1/2, 1/4, 1/8 and divided by
/// the sum of the weights. Maps are `[N, C, H, W]`; the teacher is a constant.
///
/// # Errors
/// No maps, counts or shapes that differ, or a device that failed.
pub fn hcl(student: &[Tensor], teacher: &[Tensor]) -> Result<Tensor> {
    if student.is_empty() || student.len() != teacher.len() {
        return Err(uneven("hierarchical context", [student.len(), teacher.len(), student.len()]));
    }
    let mut terms = Vec::with_capacity(student.len());
    for (own, other) in student.iter().zip(teacher) {
        // Means are linear, so that the difference is pooled once instead of both maps.
        let difference = (own - other.detach())?;
        let height = difference.dim(D::Minus2)?;
        let mut term = difference.sqr()?.mean_all()?;
        let (mut weight, mut total) = (1.0, 1.0);
        for size in [4, 2, 1].into_iter().filter(|size| *size < height) {
            weight /= 2.0;
            total += weight;
            let pooled = adaptive_avg_pool(&difference, [size; 2])?.sqr()?.mean_all()?;
            term = (term + (pooled * weight)?)?;
        }
        terms.push((term / total)?);
    }
    Ok(Tensor::stack(&terms, 0)?.sum_all()?)
}

fn uneven(what: &str, counts: [usize; 3]) -> Error {
    candle_core::Error::Msg(format!("{what} of {counts:?} stages")).into()
}
