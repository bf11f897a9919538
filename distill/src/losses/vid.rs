//! Variational information distillation (VID: Ahn et al. 2019, arXiv 1904.05835): the student's features shall tell as
//! much as they can about the teacher's.
//!
//! A regressor (three 1x1 convolutions with ReLU between them) predicts the teacher's map from the student's; each
//! teacher channel has a variance, trained with it, `v = log(1 + exp(scale)) + 1e-5`, 5 at first. The loss of a pair is
//! the Gaussian negative log-likelihood `mean (mu - t)^2 / (2 v) + log(v) / 2`, without its constant; pairs add up. The
//! larger map is average-pooled to the smaller one's size, the student's before the regressor.
//!
//! As in RepDistiller the variances are trained. In mdistiller they are left out of the optimiser, so there they stay
//! 5.

use candle_core::Tensor;

use super::maps::common_size;
use crate::error::Result;

/// Smallest variance.
const EPS: f64 = 1e-5;

/// `mean (mu - t)^2 / (2 v_c) + log(v_c) / 2` over samples, channels and positions, for the prediction `mu` and the
/// teacher's map `t`, both `[N, C, H, W]`, and variances `v = log(1 + exp(scale)) + 1e-5`, `scale` being `[C]`. The
/// teacher is a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn vid(predicted: &Tensor, teacher: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let (predicted, teacher) = common_size(predicted, &teacher.detach())?;
    let errors = (predicted - teacher)?.sqr()?.mean((0, 2, 3))?;
    let variance = (softplus(scale)? + EPS)?;
    Ok(((errors.div(&variance)? + variance.log()?)?.mean_all()? * 0.5)?)
}

/// `log(1 + exp(x))` without overflow; its gradient is the sigmoid.
fn softplus(x: &Tensor) -> Result<Tensor> {
    let shift = x.detach().maximum(0.0)?;
    let sum = ((x - &shift)?.exp()? + shift.neg()?.exp()?)?;
    Ok((shift + sum.log()?)?)
}
