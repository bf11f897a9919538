//! The discriminator of MEAL (Shen et al. 2019, arXiv 1812.02425): fully connected layers from logits to two numbers,
//! the student's and the teachers', and the two games that are played with it.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::softmax::softplus;
use crate::losses::{BuildContext, Init, Param, Step};

/// Settings of the discriminator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscriminatorSpec {
    /// Who plays for what.
    pub game: Game,
    /// Weight of the game beside the soft cross-entropy.
    #[serde(default = "one")]
    pub weight: f64,
    /// Widths between the logits and the two outputs; `K / 8` and `K / 64`, at least 8, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Vec<usize>>,
}

fn one() -> f64 {
    1.0
}

/// Who plays for what. The discriminator and the student learn in the same step, with the same optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Game {
    /// The text: the discriminator learns to tell logits apart that are constants to it, and the student learns to be
    /// taken for its teachers by a discriminator that is a constant to it. Our reading of how (labels exchanged, no
    /// ReLU last).
    Adversarial,
    /// The authors' code: one loss for both, in which the student's gradient helps the discriminator, a ReLU on the two
    /// outputs included.
    Joint,
}

/// Weight `[out, in]` and bias `[out]` of a fully connected layer.
pub type Layer = (Tensor, Tensor);

/// The discriminator's two numbers for each row of logits, `[N, K]` to `[N, 2]`: layers with a ReLU after each, after
/// the last one only if `rectified`.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn discriminate(logits: &Tensor, layers: &[Layer], rectified: bool) -> Result<Tensor> {
    let mut x = logits.contiguous()?;
    for (i, (weight, bias)) in layers.iter().enumerate() {
        x = x.matmul(&weight.t()?)?.broadcast_add(bias)?;
        if rectified || i + 1 < layers.len() {
            x = (&x * x.detach().gt(0.0)?.to_dtype(x.dtype())?)?; // Candle's own ReLU has slope 1 at 0
        }
    }
    Ok(x)
}

/// The mean binary cross-entropy of `[N, 2]` outputs with `(1, 0)`, the student's mark, or `(0, 1)`, the teachers'.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn told_apart(outputs: &Tensor, is_teacher: bool) -> Result<Tensor> {
    let mark: [f64; 2] = if is_teacher { [0.0, 1.0] } else { [1.0, 0.0] };
    let mark = Tensor::new(&[mark], outputs.device())?.to_dtype(outputs.dtype())?;
    Ok((softplus(outputs)? - outputs.broadcast_mul(&mark)?)?.mean_all()?)
}

impl DiscriminatorSpec {
    pub(super) fn build(&self, context: &BuildContext<'_>, classes: usize) -> Result<Discriminator> {
        context.at_least_zero("discriminator.weight", self.weight)?;
        let hidden = self.hidden.clone().unwrap_or_else(|| vec![(classes / 8).max(8), (classes / 64).max(8)]);
        if hidden.contains(&0) {
            return Err(context.error("discriminator.hidden", "a layer of width 0, expected at least 1"));
        }
        let widths = std::iter::once(classes).chain(hidden).chain(std::iter::once(2)).collect();
        Ok(Discriminator { game: self.game, weight: self.weight, widths })
    }
}

/// The game and the widths of the layers, logits and outputs included.
#[derive(Debug)]
pub(super) struct Discriminator {
    game: Game,
    weight: f64,
    widths: Vec<usize>,
}

impl Discriminator {
    /// Names of weight and bias of layer `i`, from 0.
    fn names(i: usize) -> [String; 2] {
        ["weight", "bias"].map(|part| format!("discriminator.fc{}.{part}", i + 1))
    }

    pub(super) fn params(&self) -> Vec<Param> {
        let layer = |(i, pair): (usize, &[usize])| {
            let (from, to) = (pair[0], pair[1]);
            let init = Init::Uniform(1.0 / (from as f64).sqrt());
            let [weight, bias] = Self::names(i);
            [Param { name: weight, shape: vec![to, from], init }, Param { name: bias, shape: vec![to], init }]
        };
        self.widths.windows(2).enumerate().flat_map(layer).collect()
    }

    /// The weighted loss of the game between the student's logits and the teachers' mean, both `[N, K]`.
    pub(super) fn game(&self, step: &Step<'_>, student: &Tensor, teachers: &Tensor) -> Result<Tensor> {
        let layers = (0..self.widths.len() - 1)
            .map(|i| {
                let [weight, bias] = Self::names(i);
                let param = |name: &str| Ok::<_, crate::Error>(step.param(name)?.to_dtype(student.dtype())?);
                Ok((param(&weight)?, param(&bias)?))
            })
            .collect::<Result<Vec<Layer>>>()?;
        Ok((play(self.game, student, teachers, &layers)? * self.weight)?)
    }
}

/// What the game costs, for logits `[N, K]` of the student and the teachers' mean, a constant: the mean binary
/// cross-entropy over all rows and both outputs; in the adversarial game plus that of the student's rows with the
/// teachers' mark.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn play(game: Game, student: &Tensor, teachers: &Tensor, layers: &[Layer]) -> Result<Tensor> {
    let teachers = teachers.detach();
    let tell = |student: &Tensor, rectified: bool| -> Result<Tensor> {
        let own = told_apart(&discriminate(student, layers, rectified)?, false)?;
        let other = told_apart(&discriminate(&teachers, layers, rectified)?, true)?;
        Ok(((own + other)? * 0.5)?)
    };
    match game {
        Game::Joint => tell(student, true),
        Game::Adversarial => {
            let fixed: Vec<Layer> = layers.iter().map(|(weight, bias)| (weight.detach(), bias.detach())).collect();
            let fooled = told_apart(&discriminate(student, &fixed, false)?, true)?;
            Ok((tell(&student.detach(), false)? + fooled)?)
        }
    }
}
