//! Similarity-preserving distillation (SP: Tung and Mori 2019, arXiv 1907.09682): samples that look alike to the
//! teacher shall look alike to the student.
//!
//! `G = F F^T` over the flattened features of a batch, each row divided by its length; the loss is
//! `||G_s - G_t||_F^2 / N^2`. Numbers of features may differ, so it needs no connector. The usual weight is 3000, on
//! the last feature map.
//!
//! Deviation from the benchmark code (RepDistiller, mdistiller): the row of a sample whose features are all 0 gives no
//! gradient; theirs multiplies it by 1e12.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::differentiable::mean_squared;
use crate::losses::parts::maps::{rows, unit_rows};
use crate::losses::parts::pairs::{self, Pairs};
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Taps, Teachers};

/// Settings of [`sp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpSpec {
    /// Which features follow which.
    #[serde(default = "Pairs::last")]
    pub pairs: Pairs,
}

/// `||G_s - G_t||_F^2 / N^2` with `G` the row-normalised `F F^T`, for features `[N, ...]` of any shapes. The teacher is
/// a constant.
///
/// # Errors
/// Batch sizes that differ, or a device that failed.
pub fn sp(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    mean_squared(&similarities(student)?, &similarities(&teacher.detach())?)
}

/// `[N, ...] -> [N, N]`.
fn similarities(features: &Tensor) -> Result<Tensor> {
    let features = rows(features)?;
    unit_rows(&features.matmul(&features.t()?)?)
}
impl Spec for SpSpec {
    const ENTRY: Entry = Entry {
        kind: "sp",
        summary: "Samples that the teacher finds alike are alike to the student: squared error of the batch's similarities.",
        paper: "Tung and Mori 2019, arXiv 1907.09682 (SP)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        Ok(Box::new(Sp { taps: self.pairs.taps(context, |_| Ok(None))? }))
    }
}

#[derive(Debug)]
struct Sp {
    taps: Taps,
}

impl Loss for Sp {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        pairs::sum(step, |_, student, teacher| sp(student, teacher))
    }
}
