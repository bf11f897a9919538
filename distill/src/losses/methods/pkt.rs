//! Probabilistic knowledge transfer (PKT: Passalis and Tefas 2018, arXiv 1803.10837): who is whose neighbour in the
//! batch follows the teacher, as probabilities.
//!
//! The similarity of two samples is `(cos + 1) / 2` of their features; row `n`, divided by its sum, is a distribution
//! over the batch (the sample itself included). The loss is `mean_nm t_nm log((t_nm + 1e-7) / (s_nm + 1e-7))`: the KL
//! divergence as a mean over all `N^2` entries, as in the authors' code and the benchmarks, whence their usual weight
//! of 30000.
//!
//! Deviations from that code: the gradient of a sample whose features are all 0 is 0 (theirs is NaN), and a similarity
//! that rounding made negative counts as 0.

use candle_core::{D, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::maps::rows;
use crate::losses::parts::pairs::{self, Pairs};
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Taps, Teachers};

/// Settings of [`pkt`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PktSpec {
    /// Which features follow which.
    #[serde(default = "Pairs::penultimate")]
    pub pairs: Pairs,
}

/// Keeps lengths from being divided by 0 and logarithms finite.
const EPS: f64 = 1e-7;

/// `mean_nm t_nm log(t_nm / s_nm)` over the neighbourhoods `[N, N]` of features `[N, ...]` of any shapes. The teacher
/// is a constant.
///
/// # Errors
/// Batch sizes that differ, or a device that failed.
pub fn pkt(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = (neighbours(student)?, neighbours(&teacher.detach())?);
    let log_ratio = ((&teacher + EPS)?.log()? - (student + EPS)?.log()?)?;
    Ok((teacher * log_ratio)?.mean_all()?)
}

/// `[N, ...] -> [N, N]`, rows adding up to 1.
fn neighbours(features: &Tensor) -> Result<Tensor> {
    let features = rows(features)?;
    // The square root's gradient at 0 is infinite, and a row of zeros divided by next to nothing has one of 1e7.
    let squares = features.sqr()?.sum_keepdim(D::Minus1)?;
    let is_some = squares.detach().gt(0.0)?.to_dtype(features.dtype())?;
    let lengths = (squares.maximum(1e-24)?.sqrt()? + EPS)?;
    let units = features.broadcast_mul(&is_some.div(&lengths)?)?;
    let similar = units.matmul(&units.t()?)?.affine(0.5, 0.5)?.maximum(0.0)?;
    Ok(similar.broadcast_div(&similar.sum_keepdim(D::Minus1)?)?)
}
impl Spec for PktSpec {
    const ENTRY: Entry = Entry {
        kind: "pkt",
        summary: "Who is whose neighbour in the batch follows the teacher: KL(teacher || student) of similarities as probabilities.",
        paper: "Passalis and Tefas 2018, arXiv 1803.10837 (PKT)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        Ok(Box::new(Pkt { taps: self.pairs.taps(context, |_| Ok(None))? }))
    }
}

#[derive(Debug)]
struct Pkt {
    taps: Taps,
}

impl Loss for Pkt {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        pairs::sum(step, |_, student, teacher| pkt(student, teacher))
    }
}
