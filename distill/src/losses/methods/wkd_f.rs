//! Wasserstein distillation of features (WKD-F: Lv et al. 2024, arXiv 2412.08139): mean and spread of every channel
//! follow the teacher's, as Gaussians with diagonal covariance, whose squared Wasserstein distance this is.
//!
//! With the mean `m` and the standard deviation `d` of a channel over positions (unbiased variance + 1e-5 under the
//! root), the loss is `(1 / N) sum_n sum_c [ratio (m_s - m_t)^2 + (d_s - d_t)^2]`: a sum over channels, so its usual
//! weight is small (0.02 with ratio 2 for ImageNet, 0.08 with ratio 4 for CIFAR-100). A `grid` above 1 takes the
//! statistics in each cell of the map and divides by the number of cells. The student's map passes a trained projector
//! first. The authors let the weight fall to 0 by a
//! cosine, from epoch 150 of 240 on CIFAR-100, in their ImageNet configurations from the start: knots of the loss's weight.
//!
//! Deviations from the authors' code: a cell of one position has variance 0 (theirs: NaN); the projector never changes
//! the size of the map, because statistics over positions do not need equal sizes.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::maps::{adaptive_avg_pool, windows};
use crate::losses::parts::pairs::{self, Pairs};
use crate::losses::parts::regressor::{bottleneck, conv_norm};
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Taps, Teachers};

/// Settings of [`wkd_f`] and of the projector before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WkdFSpec {
    /// Which map follows which.
    #[serde(default = "Pairs::last")]
    pub pairs: Pairs,
    /// Weight of the means beside the standard deviations; the authors: 2 on ImageNet with grid 4
    /// and bottleneck, 4 on CIFAR-100 (3 for one pair).
    #[serde(default = "two")]
    #[schemars(extend("minimum" = 0))]
    pub ratio: f64,
    /// Statistics in grid x grid cells of the map; 4 on ImageNet.
    #[serde(default = "one")]
    #[schemars(extend("minimum" = 1))]
    pub grid: usize,
    /// The trained network on the student's map.
    #[serde(default)]
    pub projector: Projector,
}

fn two() -> f64 {
    2.0
}

fn one() -> usize {
    1
}

/// The trained network between the student's map and the loss; each ends in batch norm and ReLU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Projector {
    /// One 1x1 convolution: the authors' choice for CIFAR-100.
    #[default]
    Conv,
    /// 1x1 to 256 channels, 3x3, 1x1: the authors' choice for ImageNet.
    Bottleneck,
}

/// Channels inside [`Projector::Bottleneck`].
const HIDDEN: usize = 256;

/// Added to variances.
const EPS: f64 = 1e-5;

/// `(1 / (N grid^2)) sum [ratio (m_s - m_t)^2 + (d_s - d_t)^2]` over samples, channels and the cells of a `grid` x
/// `grid` division, `m` and `d` being mean and standard deviation over the cell's positions. Maps are `[N, C, H, W]`
/// with equal `N` and `C`; sizes may differ. The teacher is a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn wkd_f(student: &Tensor, teacher: &Tensor, ratio: f64, grid: usize) -> Result<Tensor> {
    let parts = student.dims4()?.0 * grid * grid;
    let (student, teacher) = (statistics(student, grid)?, statistics(&teacher.detach(), grid)?);
    let means = (student.0 - teacher.0)?.sqr()?.sum_all()?;
    let deviations = (student.1 - teacher.1)?.sqr()?.sum_all()?;
    Ok((((means * ratio)? + deviations)? / parts as f64)?)
}

/// `[N, C, H, W]` to mean and standard deviation of each cell, `[N, C, grid, grid]` each.
fn statistics(map: &Tensor, grid: usize) -> Result<(Tensor, Tensor)> {
    let (_, _, height, width) = map.dims4()?;
    // Taken about the channel's mean, a constant: the squares of values far from 0 would cancel.
    let centre = map.detach().mean_keepdim((2, 3))?;
    let centred = map.broadcast_sub(&centre)?;
    let mean = adaptive_avg_pool(&centred, [grid; 2])?;
    let biased = (adaptive_avg_pool(&centred.sqr()?, [grid; 2])? - mean.sqr()?)?;
    let sizes = windows(height, grid).flat_map(|(_, h)| windows(width, grid).map(move |(_, w)| h * w));
    let bessel: Vec<f64> = sizes.map(|size| size as f64 / size.saturating_sub(1).max(1) as f64).collect();
    let bessel = Tensor::from_vec(bessel, (grid, grid), map.device())?.to_dtype(map.dtype())?;
    let deviation = (biased.broadcast_mul(&bessel)?.maximum(0.0)? + EPS)?.sqrt()?;
    Ok((mean.broadcast_add(&centre)?, deviation))
}
impl Spec for WkdFSpec {
    const ENTRY: Entry = Entry {
        kind: "wkd-f",
        summary: "Mean and spread of every channel follow the teacher's, at the end of the last stage: squared Wasserstein \
                  distance of Gaussians.",
        paper: "Lv et al. 2024, arXiv 2412.08139 (WKD-F)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.at_least_zero("ratio", self.ratio)?;
        let taps = self.pairs.taps(context, |pair| {
            let (own, other) = pair.maps(context)?;
            let [_, height, width] = own;
            let smallest = [height, width, other[1], other[2]].into_iter().min().unwrap_or_default();
            if !(1..=smallest).contains(&self.grid) {
                let problem = format!("{} is not a number of cells along {smallest} positions", self.grid);
                return Err(context.error("grid", problem));
            }
            let to = other[0];
            let graph = match self.projector {
                Projector::Conv => conv_norm(&pair.name, own, [to, height, width], true)?,
                Projector::Bottleneck => bottleneck(&pair.name, own, HIDDEN, to)?,
            };
            Ok(Some(graph))
        })?;
        Ok(Box::new(WkdF { taps, spec: self.clone() }))
    }
}

#[derive(Debug)]
struct WkdF {
    taps: Taps,
    spec: WkdFSpec,
}

impl Loss for WkdF {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let WkdFSpec { ratio, grid, .. } = self.spec;
        pairs::sum(step, |_, student, teacher| wkd_f(student, teacher, ratio, grid))
    }
}
