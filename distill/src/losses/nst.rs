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
use serde::{Deserialize, Serialize};

use super::maps::{common_size, unit_rows};
use super::pairs::{self, Pairs};
use super::{Basis, Entry, Loss, Site, Spec, Step, Taps, Teachers, setting};
use crate::error::Result;

/// Settings of [`nst`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NstSpec {
    /// Which maps of the student follow which of the teacher.
    #[serde(default = "Pairs::stages")]
    pub pairs: Pairs,
    /// Degree of the kernel, from 1.
    #[serde(default = "two")]
    pub degree: u32,
    /// Offset of the kernel.
    #[serde(default)]
    pub offset: f64,
}

fn two() -> u32 {
    2
}

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
impl Spec for NstSpec {
    const ENTRY: Entry = Entry {
        kind: "nst",
        summary: "The student's channels respond to the same regions as the teacher's, at the end of every stage: squared \
                  maximum mean discrepancy of channel maps with a polynomial kernel.",
        paper: "Huang and Wang 2017, arXiv 1707.01219 (NST)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
        settings: &[
            setting("pairs", pairs::VALUES, Some("stages"), "which map follows which"),
            setting("degree", "1 to 8", Some("2"), "degree of the kernel; 1 is the linear one"),
            setting("offset", "at least 0", Some("0"), "offset of the kernel"),
        ],
    };

    fn build(&self, site: &Site<'_>) -> Result<Box<dyn Loss>> {
        if !(1..=8).contains(&self.degree) {
            return Err(site.error("degree", format!("{} is not a degree from 1 to 8", self.degree)));
        }
        site.at_least_zero("offset", self.offset)?;
        let taps = self.pairs.taps(site, |pair| pair.maps(site).map(|_| None))?;
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
        let NstSpec { degree, offset, .. } = self.spec;
        pairs::sum(step, |_, student, teacher| nst(student, teacher, degree, offset))
    }
}
