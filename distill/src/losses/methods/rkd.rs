//! Relational knowledge distillation (RKD: Park et al. 2019, arXiv 1904.05068): distances between samples, and angles
//! among three of them, follow the teacher's.
//!
//! Distances are Euclidean, divided by their mean over the pairs of the batch; angles are cosines at `i` between the
//! directions to `j` and `k`. Both are compared by the Huber loss with threshold 1 (smooth L1), a mean over all `N^2`
//! pairs and all `N^3` triplets, trivial ones included; weights 25 and 50 as in the benchmarks (RepDistiller,
//! mdistiller).
//!
//! Deviations: distances come from the differences themselves rather than from `a^2 + b^2 - 2ab`, which cancels; two
//! samples with equal features have no direction and give no gradient (the benchmark code divides theirs by 1e-12); a
//! batch of one has no relations and gives 0 (theirs: NaN).

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::maps::{rows, unit_rows};
use crate::losses::parts::pairs::{self, Pairs};
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Taps, Teachers, changed};

/// Settings of [`rkd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RkdSpec {
    /// Which features follow which.
    #[serde(default = "Pairs::penultimate")]
    pub pairs: Pairs,
    /// Weight of the distances.
    #[serde(default = "distance")]
    #[schemars(extend("minimum" = 0))]
    pub distance: f64,
    /// Weight of the angles; 0 saves their time and memory.
    #[serde(default = "angle")]
    #[schemars(extend("minimum" = 0))]
    pub angle: f64,
}

fn distance() -> f64 {
    25.0
}

fn angle() -> f64 {
    50.0
}

/// `distance * mean_ij h(d_s, d_t) + angle * mean_ijk h(cos_s, cos_t)` with the Huber loss `h`, for features `[N, ...]`
/// of any shapes; `distance` and `angle` are the two weights. The teacher is a constant. Memory grows as `N^2 F + N^3`.
///
/// # Errors
/// Batch sizes that differ, or a device that failed.
pub fn rkd(student: &Tensor, teacher: &Tensor, distance: f64, angle: f64) -> Result<Tensor> {
    let (student, teacher) = (directions(student)?, directions(&teacher.detach())?);
    let loss = (huber(&distances(&student)?, &distances(&teacher)?)? * distance)?;
    if angle == 0.0 {
        return Ok(loss);
    }
    Ok((loss + (huber(&cosines(&student)?, &cosines(&teacher)?)? * angle)?)?)
}

/// `[N, ...] -> [N, N, F]`: at `i, j` what leads from sample `i` to sample `j`.
fn directions(features: &Tensor) -> Result<Tensor> {
    let features = rows(features)?;
    Ok(features.unsqueeze(0)?.broadcast_sub(&features.unsqueeze(1)?)?)
}

/// `[N, N, F] -> [N, N]`: lengths, divided by the mean over pairs of two samples.
fn distances(directions: &Tensor) -> Result<Tensor> {
    let samples = directions.dims3()?.0;
    let pairs = (samples * samples.saturating_sub(1)).max(1);
    let others = (1.0 - Tensor::eye(samples, directions.dtype(), directions.device())?)?;
    // The square root's gradient at 0 is infinite; the authors' code has the same bound.
    let lengths = (directions.sqr()?.sum(2)?.maximum(1e-12)?.sqrt()? * others)?;
    let mean = (lengths.sum_all()? / pairs as f64)?.maximum(1e-12)?;
    Ok(lengths.broadcast_div(&mean)?)
}

/// `[N, N, F] -> [N, N, N]`: at `i, j, k` the cosine of the angle at `i`; 0 where `j` or `k` is `i`.
fn cosines(directions: &Tensor) -> Result<Tensor> {
    let units = unit_rows(directions)?;
    Ok(units.matmul(&units.transpose(1, 2)?)?)
}

/// The mean of `x^2 / 2` where `|x| < 1`, of `|x| - 1/2` elsewhere, for `x = a - b`.
fn huber(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let x = (a - b)?;
    let slope = x.detach().clamp(-1.0, 1.0)?; // its own gradient cancels
    Ok((&slope * (&x - (&slope * 0.5)?)?)?.mean_all()?)
}
impl Spec for RkdSpec {
    const ENTRY: Entry = Entry {
        kind: "rkd",
        summary: "Distances between samples, and angles among three of them, follow the teacher's: Huber loss.",
        paper: "Park et al. 2019, arXiv 1904.05068 (RKD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        let none = self.distance == 0.0 && self.angle == 0.0;
        changed([("distance", none)], "with angle it is 0, and the loss with them")
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.at_least_zero("distance", self.distance)?;
        context.at_least_zero("angle", self.angle)?;
        Ok(Box::new(Rkd { taps: self.pairs.taps(context, |_| Ok(None))?, spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Rkd {
    taps: Taps,
    spec: RkdSpec,
}

impl Loss for Rkd {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let RkdSpec { distance, angle, .. } = self.spec;
        pairs::sum(step, |_, student, teacher| rkd(student, teacher, distance, angle))
    }
}
