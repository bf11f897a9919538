//! Hints (FitNets: Romero et al. 2015, arXiv 1412.6550, eq. 3): a middle map of the student, through a trained
//! regressor, becomes the teacher's.
//!
//! The loss of a pair is the mean squared difference over all elements; pairs add up, and by default there is one, the
//! middle stages. The regressor is a convolution (3x3 of stride 2 where the student's map is twice as large, without
//! padding where it is otherwise larger), batch norm and ReLU. As in the benchmark code (RepDistiller, mdistiller),
//! whose usual weight is 100, the hint is learnt together with the task; the paper trains up to the hint first and
//! takes half the sum of squares.
//!
//! Deviations from the benchmark code: where the student's map is the smaller one, the teacher's is average-pooled to
//! its size (theirs enlarges the student's by a transposed convolution, from exactly half the size); no bias before the
//! norm.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::differentiable::mean_squared;
use crate::losses::parts::maps::common_size;
use crate::losses::parts::pairs::{self, Pairs};
use crate::losses::parts::regressor::conv_norm;
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Taps, Teachers};

/// Settings of [`hint`] and of the regressors before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FitnetsSpec {
    /// Which map follows which.
    #[serde(default = "Pairs::middle")]
    pub pairs: Pairs,
    /// Whether regressors end in a ReLU.
    #[serde(default = "yes")]
    pub relu: bool,
}

fn yes() -> bool {
    true
}

/// `mean (s - t)^2` over all elements of maps `[N, C, H, W]` of equal channels; the larger is average-pooled to the
/// smaller one's size. The teacher is a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn hint(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let (student, teacher) = common_size(student, &teacher.detach())?;
    mean_squared(&student, &teacher)
}

impl Spec for FitnetsSpec {
    const ENTRY: Entry = Entry {
        kind: "fitnets",
        summary: "A middle map of the student, through a trained regressor, becomes the teacher's: mean squared error.",
        paper: "Romero et al. 2015, arXiv 1412.6550 (FitNets)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        let taps = self.pairs.taps(context, |pair| {
            let (own, other) = pair.maps(context)?;
            Ok(Some(conv_norm(&pair.name, own, other, self.relu)?))
        })?;
        Ok(Box::new(Fitnets { taps }))
    }
}

#[derive(Debug)]
struct Fitnets {
    taps: Taps,
}

impl Loss for Fitnets {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        pairs::sum(step, |_, student, teacher| hint(student, teacher))
    }
}
