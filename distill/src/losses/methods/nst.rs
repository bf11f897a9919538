//! Neuron selectivity transfer (NST: Huang and Wang 2017, arXiv 1707.01219): the student's channels respond to the same
//! regions as the teacher's, as two samples of one distribution.
//!
//! The maps of all channels, as vectors of length 1, are a sample of the network's selectivity; the loss of a pair of
//! maps is the squared maximum mean discrepancy `mean k(t, t') + mean k(s, s') - 2 mean k(s, t)`, a mean over samples
//! and pairs of channels; pairs of maps add up. The larger map is average-pooled to the smaller one's size. The kernel is
//! one of the paper's three:
//!
//! * polynomial, `k(a, b) = (a . b + offset)^degree`, with degree 2 and offset 0 in paper and benchmark (weight 50 there);
//! * linear, the polynomial one of degree 1 and offset 0;
//! * Gaussian, `k(a, b) = exp(-|a - b|^2 / (2 v))`, where the paper sets `v` to the mean squared distance of the pairs. Our
//!   reading: of all pairs of a student's with a teacher's channel of the same image, over the batch; a constant to the
//!   gradient, one number in all three means, without which they were no discrepancy. The benchmarks do not have it.
//!
//! Deviations from the benchmark code (RepDistiller, mdistiller): it pools to a square as high as the smaller map, here
//! each axis goes to its smaller size; a channel that is 0 everywhere has no gradient.

use candle_core::{D, DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::maps::{common_size, unit_rows};
use crate::losses::parts::pairs::{self, Pairs};
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Taps, Teachers};

/// Settings of [`nst`] and [`nst_gaussian`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NstSpec {
    /// Which map follows which.
    #[serde(default = "Pairs::stages")]
    pub pairs: Pairs,
    /// How alike two channels are.
    #[serde(default)]
    pub kernel: Kernel,
    /// Degree of the polynomial kernel; 1 is the linear one.
    #[serde(default = "two")]
    #[schemars(extend("minimum" = 1, "maximum" = 8))]
    pub degree: u32,
    /// Offset of the polynomial kernel.
    #[serde(default)]
    #[schemars(extend("minimum" = 0))]
    pub offset: f64,
}

fn two() -> u32 {
    2
}

/// How alike two channels are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// `(a . b + offset)^degree`.
    #[default]
    Polynomial,
    /// `exp(-|a - b|^2 / (2 v))`, `v` being the mean squared distance of student's and teacher's channels.
    Gaussian,
}

/// Below this the mean squared distance of channels is rounding.
const LEAST_VARIANCE: f64 = 1e-6;

/// Squared maximum mean discrepancy between the channels of two maps `[N, C, H, W]`, whose channels and sizes may
/// differ, with the kernel `(a . b + offset)^degree`. The teacher is a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn nst(student: &Tensor, teacher: &Tensor, degree: u32, offset: f64) -> Result<Tensor> {
    let (s, t) = channels(student, teacher)?;
    discrepancy(&s, &t, |a, b| {
        let product = (products(a, b)? + offset)?;
        let mut power = product.clone();
        for _ in 1..degree {
            power = (power * &product)?;
        }
        Ok(power)
    })
}

/// As [`nst`], with the kernel `exp(-|a - b|^2 / (2 variance))`; `variance` is [`mean_squared_distance`] where it is
/// `None`.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn nst_gaussian(student: &Tensor, teacher: &Tensor, variance: Option<f64>) -> Result<Tensor> {
    let (s, t) = channels(student, teacher)?;
    let variance = match variance {
        Some(variance) => variance,
        None => mean_squared_distance(student, teacher)?,
    };
    discrepancy(&s, &t, |a, b| Ok((distances(a, b)? * (-0.5 / variance.max(LEAST_VARIANCE)))?.exp()?))
}

/// Mean squared distance of a student's channel from a teacher's channel of the same image, both of length 1 and of a common
/// size, over all such pairs of a batch of maps `[N, C, H, W]`.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn mean_squared_distance(student: &Tensor, teacher: &Tensor) -> Result<f64> {
    let (s, t) = channels(&student.detach(), teacher)?;
    Ok(distances(&s, &t)?.mean_all()?.to_dtype(DType::F64)?.to_scalar()?)
}

/// The channels of both as vectors of length 1, `[N, C, P]`, at a common size; the teacher's are constants.
fn channels(student: &Tensor, teacher: &Tensor) -> Result<(Tensor, Tensor)> {
    let (student, teacher) = common_size(student, &teacher.detach())?;
    Ok((unit_rows(&student.flatten_from(2)?)?, unit_rows(&teacher.flatten_from(2)?)?))
}

fn discrepancy(s: &Tensor, t: &Tensor, kernel: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let mean = |a: &Tensor, b: &Tensor| -> Result<Tensor> { Ok(kernel(a, b)?.mean_all()?) };
    Ok(((mean(t, t)? + mean(s, s)?)? - (mean(s, t)? * 2.0)?)?)
}

/// Inner products of all pairs, `[N, C, C']`.
fn products(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(a.contiguous()?.matmul(&b.transpose(D::Minus1, D::Minus2)?)?)
}

/// Squared distances of all pairs, `[N, C, C']`; of channels that are 0 everywhere too, whose length is 0.
fn distances(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let squares = |x: &Tensor| x.sqr()?.sum_keepdim(D::Minus1);
    let sums = squares(a)?.broadcast_add(&squares(b)?.transpose(D::Minus1, D::Minus2)?)?;
    Ok((sums - (products(a, b)? * 2.0)?)?)
}

impl Spec for NstSpec {
    const ENTRY: Entry = Entry {
        kind: "nst",
        summary: "The student's channels respond to the same regions as the teacher's, at the end of every stage: squared \
                  maximum mean discrepancy of channel maps with a polynomial or Gaussian kernel.",
        paper: "Huang and Wang 2017, arXiv 1707.01219 (NST)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        if !(1..=8).contains(&self.degree) {
            return Err(context.error("degree", format!("{} is not a degree from 1 to 8", self.degree)));
        }
        context.at_least_zero("offset", self.offset)?;
        let changed = [("degree", self.degree != two()), ("offset", self.offset != 0.0)];
        if let (Kernel::Gaussian, Some((name, _))) = (self.kernel, changed.iter().find(|(_, changed)| *changed)) {
            return Err(
                context.error(name, "is of the polynomial kernel; the Gaussian one takes its width from the batch")
            );
        }
        let taps = self.pairs.taps(context, |pair| pair.maps(context).map(|_| None))?;
        Ok(Box::new(Nst { taps, spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Nst {
    taps: Taps,
    spec: NstSpec,
}

impl Loss for Nst {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let NstSpec { kernel, degree, offset, .. } = self.spec;
        pairs::sum(step, |_, student, teacher| match kernel {
            Kernel::Polynomial => nst(student, teacher, degree, offset),
            Kernel::Gaussian => nst_gaussian(student, teacher, None),
        })
    }
}
