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
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::differentiable::mean_squared;
use crate::losses::parts::maps::{common_size, unit_rows};
use crate::losses::parts::pairs::{self, Pairs};
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Taps, Teachers};

/// Settings of [`at`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AtSpec {
    /// Which map follows which.
    #[serde(default = "Pairs::stages")]
    pub pairs: Pairs,
    /// The power of activations; higher looks at the strongest.
    #[serde(default = "two")]
    #[schemars(extend("minimum" = 1))]
    pub power: f64,
}

fn two() -> f64 {
    2.0
}

/// `mean (Q_s - Q_t)^2` over samples and positions, with `Q` of [`attention`], for maps `[N, C, H, W]`; channels and
/// sizes may differ. The teacher is a constant.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn at(student: &Tensor, teacher: &Tensor, power: f64) -> Result<Tensor> {
    let (student, teacher) = common_size(student, &teacher.detach())?;
    mean_squared(&attention(&student, power)?, &attention(&teacher, power)?)
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
impl Spec for AtSpec {
    const ENTRY: Entry = Entry {
        kind: "at",
        summary: "Where the student's maps are active follows the teacher's, at the end of every stage: squared error of \
                  attention maps of length 1.",
        paper: "Zagoruyko and Komodakis 2017, arXiv 1612.03928 (AT)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        if !(self.power.is_finite() && self.power >= 1.0) {
            return Err(
                context.error("power", format!("{} is not a power, expected a finite number from 1", self.power))
            );
        }
        let taps = self.pairs.taps(context, |pair| pair.maps(context).map(|_| None))?;
        Ok(Box::new(At { taps, power: self.power }))
    }
}

#[derive(Debug)]
struct At {
    taps: Taps,
    power: f64,
}

impl Loss for At {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        pairs::sum(step, |_, student, teacher| at(student, teacher, self.power))
    }
}
