//! Neuron selectivity transfer (NST: Huang and Wang 2017, arXiv 1707.01219): the student's channels respond to the same
//! regions as the teacher's, as two samples of one distribution.
//!
//! The maps of all channels, as vectors of length 1, are a sample of the network's selectivity; the loss of a pair of
//! maps is the squared maximum mean discrepancy `mean k(t, t') + mean k(s, s') - 2 mean k(s, t)` with the polynomial
//! kernel `k(a, b) = (a . b + offset)^degree`, a mean over samples and pairs of channels; pairs of maps add up. Degree
//! 2 and offset 0 in paper and benchmark (weight 50 there); degree 1 is the paper's linear kernel. The larger map is
//! average-pooled to the smaller one's size. The paper's Gaussian kernel is not here.
//!
//! Deviations from the benchmark code (RepDistiller, mdistiller): it pools to a square as high as the smaller map, here
//! each axis goes to its smaller size; a channel that is 0 everywhere has no gradient.

use candle_core::{D, Tensor};

use super::maps::{common_size, unit_rows};
use crate::error::Result;

/// Squared maximum mean discrepancy between the channels of two maps `[N, C, H, W]`, whose channels and sizes may
/// differ, with the kernel `(a . b + offset)^degree`. The teacher is a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn nst(student: &Tensor, teacher: &Tensor, degree: u32, offset: f64) -> Result<Tensor> {
    let (student, teacher) = common_size(student, &teacher.detach())?;
    let (s, t) = (unit_rows(&student.flatten_from(2)?)?, unit_rows(&teacher.flatten_from(2)?)?);
    let kernel = |a: &Tensor, b: &Tensor| -> Result<Tensor> {
        let product = (a.contiguous()?.matmul(&b.transpose(D::Minus1, D::Minus2)?)? + offset)?;
        let mut power = product.clone();
        for _ in 1..degree {
            power = (power * &product)?;
        }
        Ok(power.mean_all()?)
    };
    Ok(((kernel(&t, &t)? + kernel(&s, &s)?)? - (kernel(&s, &t)? * 2.0)?)?)
}
