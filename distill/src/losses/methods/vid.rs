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
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::maps::common_size;
use crate::losses::parts::pairs::{self, Pair, Pairs};
use crate::losses::parts::regressor::three_convs;
use crate::losses::parts::softmax::softplus;
use crate::losses::{Basis, BuildContext, Entry, Init, Loss, Param, Spec, Step, Taps, Teachers};

/// Settings of [`vid`] and of the regressors before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VidSpec {
    /// Which map tells about which.
    #[serde(default = "Pairs::stages")]
    pub pairs: Pairs,
    /// Variance of every channel at first.
    #[serde(default = "five")]
    #[schemars(extend("exclusiveMinimum" = 1e-5))]
    pub variance: f64,
}

fn five() -> f64 {
    5.0
}

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

impl Spec for VidSpec {
    const ENTRY: Entry = Entry {
        kind: "vid",
        summary: "The student's maps tell the teacher's as well as they can, at the end of every stage: Gaussian \
                  log-likelihood of the teacher's map given a trained prediction, with a trained variance a channel.",
        paper: "Ahn et al. 2019, arXiv 1904.05835 (VID)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        if !(self.variance.is_finite() && self.variance > EPS) {
            let problem = format!("{} is not a variance, expected a finite number above 1e-5", self.variance);
            return Err(context.error("variance", problem));
        }
        let mut params = Vec::new();
        let taps = self.pairs.taps(context, |pair| {
            let (own, other) = pair.maps(context)?;
            let scale = format!("{}-scale", pair.name);
            params.push(Param { name: scale, shape: vec![other[0]], init: Init::Constant(scale_of(self.variance)) });
            Ok(Some(three_convs(&pair.name, own, pooling(context, pair, own, other)?, other[0])?))
        })?;
        Ok(Box::new(Vid { taps, params }))
    }
}

/// The window that brings a map of the student to the teacher's size where it is larger.
fn pooling(context: &BuildContext<'_>, pair: &Pair, own: [usize; 3], other: [usize; 3]) -> Result<[usize; 2]> {
    let [_, height, width] = own;
    let [_, other_height, other_width] = other;
    let window = [height / other_height.min(height).max(1), width / other_width.min(width).max(1)];
    let whole = |own: usize, other: usize| own <= other || own.is_multiple_of(other);
    if whole(height, other_height) && whole(width, other_width) {
        return Ok(window);
    }
    let problem = format!(
        "the student's {height}x{width} map at `{}` is larger than the teacher's {other_height}x{other_width}, but no multiple of it",
        context.student.value(pair.student).name
    );
    Err(context.error("pairs", problem))
}

/// The scale whose variance is `variance`, above [`EPS`]: `log(exp(variance - EPS) - 1)`.
fn scale_of(variance: f64) -> f64 {
    let softplus = variance - EPS;
    softplus + (-(-softplus).exp()).ln_1p()
}

#[derive(Debug)]
struct Vid {
    taps: Taps,
    /// One a pair.
    params: Vec<Param>,
}

impl Loss for Vid {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn params(&self) -> Vec<Param> {
        self.params.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let scales = self.params.iter().map(|param| step.param(&param.name)).collect::<Result<Vec<_>>>()?;
        pairs::sum(step, |i, predicted, teacher| match scales.get(i) {
            Some(scale) => vid(predicted, teacher, scale),
            None => Err(candle_core::Error::Msg(format!("VID has no scale for pair {i}")).into()),
        })
    }
}
