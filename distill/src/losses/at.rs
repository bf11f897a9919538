//! Attention transfer (AT: Zagoruyko and Komodakis 2017, arXiv 1612.03928, eq. 2): where the student looks follows
//! where the teacher looks.
//!
//! The attention map of a sample is the mean over channels of `|F|^p` at each position, as a vector of length 1; the
//! loss of a pair of maps is `mean_{n, position} (Q_s - Q_t)^2`, and pairs add up. The larger map is average-pooled to
//! the smaller one's size first. As in the benchmark code (RepDistiller, mdistiller), whose usual weight is 1000, the
//! error is a mean over positions; the paper writes the length of the difference.
//!
//! Deviations from the benchmark code: it takes `F^p` without the absolute value, which is the same for even `p`; it
//! pools to a square as high as the smaller map, here each axis goes to its smaller size.

use candle_core::Tensor;

use super::maps::{common_size, unit_rows};
use crate::error::Result;

/// `mean (Q_s - Q_t)^2` over samples and positions, with `Q` of [`attention`], for maps `[N, C, H, W]`; channels and
/// sizes may differ. The teacher is a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn at(student: &Tensor, teacher: &Tensor, power: f64) -> Result<Tensor> {
    let (student, teacher) = common_size(student, &teacher.detach())?;
    let difference = (attention(&student, power)? - attention(&teacher, power)?)?;
    Ok(difference.sqr()?.mean_all()?)
}

/// `[N, C, H, W] -> [N, H W]`: the mean over channels of `|F|^power`, each row of length 1. An element of zero has no
/// gradient for any power from 1.
///
/// # Errors
/// A tensor that is not of rank 4, or a device that failed.
pub fn attention(map: &Tensor, power: f64) -> Result<Tensor> {
    let powers = if power == 2.0 {
        map.sqr()?
    } else {
        (map * map.detach().sign()?)?.powf(power)? // Candle's abs has gradient 1 at 0
    };
    unit_rows(&powers.mean(1)?.flatten_from(1)?)
}
