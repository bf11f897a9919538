//! Channel distillation (CD: Zhou et al. 2020, arXiv 2006.01683): at the end of each stage, the student's mean activation
//! of every channel follows the teacher's.
//!
//! `L = sum_l (1 / (N C_l)) sum_n sum_c (s_nc - t_nc)^2` over the stages `l`, `s` and `t` being means over positions of the
//! student's map, through a trained 1x1 convolution + batch norm + ReLU, and of the teacher's. A sum over stages as in the
//! authors' code (others' notes have a mean, a quarter of it); the usual weight is 6, falling by 0.9 at drops of the learning
//! rate (EDT). Their teacher ran its batch norms in training mode: `bn = "batch"` in `[[teachers]]`. No deviation in numbers.

use attar_exec::ops::{Backend, global_avg_pool};
use attar_models::op::{Conv2d, GlobalAvgPool};
use attar_models::{Graph, GraphBuilder, Op, Value};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::differentiable::mean_squared;
use crate::losses::parts::pairs::{Pair, Pairs};
use crate::losses::parts::regressor::norm;
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Taps, Teachers, changed};

/// Settings of [`channel`] and of the connectors before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelSpec {
    /// What follows what.
    pub pairs: Pairs,
    /// How the stages' terms make one number.
    pub layers: Layers,
    /// Where a trained 1x1 convolution + batch norm adapts the student's channels.
    pub connector: Connect,
    /// Whether connectors end in a ReLU.
    pub relu: bool,
}

/// The authors' settings.
impl Default for ChannelSpec {
    fn default() -> Self {
        Self { pairs: Pairs::stages(), layers: Layers::default(), connector: Connect::default(), relu: true }
    }
}

/// How the terms of several layers make one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layers {
    /// Their sum, as in the authors' code.
    #[default]
    Sum,
    /// Their mean, as in others' notes on the paper; with 4 stages a quarter of the sum.
    Mean,
}

/// Where connectors stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connect {
    /// At every pair, equal channel counts too, as in the authors' code.
    #[default]
    Always,
    /// Only where channel counts differ.
    OnMismatch,
    /// Nowhere; channel counts must be equal.
    None,
}

/// `sum_l (1 / (N C_l)) sum_n sum_c (s_nc - t_nc)^2` over pairs of taps, `s` and `t` being means over height and width;
/// [`Layers::Mean`] divides by the number of pairs. Taps are `[N, C, H, W]` (sizes may differ) or `[N, C]`. The teacher
/// is a constant.
///
/// # Errors
/// No taps, counts or channels that differ, or a device that failed.
pub fn channel(student: &[Tensor], teacher: &[Tensor], layers: Layers) -> Result<Tensor> {
    if student.len() != teacher.len() || student.is_empty() {
        let message = format!("channel loss over {} student and {} teacher taps", student.len(), teacher.len());
        return Err(candle_core::Error::Msg(message).into());
    }
    let mut sum = Tensor::zeros((), student[0].dtype(), student[0].device())?;
    for (student, teacher) in student.iter().zip(teacher) {
        sum = (sum + mean_squared(&channel_means(student)?, &channel_means(teacher)?)?)?;
    }
    Ok(match layers {
        Layers::Sum => sum,
        Layers::Mean => (sum / student.len() as f64)?,
    })
}

/// `[N, C, H, W]` or `[N, C]` to `[N, C]`.
fn channel_means(tap: &Tensor) -> Result<Tensor> {
    Ok(if tap.rank() == 2 { tap.clone() } else { tap.flatten_from(2)?.mean(2)? })
}

impl Spec for ChannelSpec {
    const ENTRY: Entry = Entry {
        kind: "channel",
        summary: "The teacher's mean activation of each channel decides, at the end of every stage: squared error.",
        paper: "Zhou et al. 2020, arXiv 2006.01683 (CD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        match self.connector {
            Connect::None => changed(
                [("relu", self.relu != Self::default().relu)],
                "connector = \"none\", and it is the connectors'",
            ),
            Connect::Always | Connect::OnMismatch => Vec::new(),
        }
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        let taps = self.pairs.taps(context, |pair| self.connector(context, pair))?;
        Ok(Box::new(Channel { taps, layers: self.layers }))
    }
}

impl ChannelSpec {
    /// The connector that the settings ask for on the student's side of a pair.
    fn connector(&self, context: &BuildContext<'_>, pair: &Pair) -> Result<Option<Graph>> {
        let (own, other) = (context.student.value(pair.student), context.teacher()?.value(pair.teacher));
        let channels = |value: &Value| value.shape.first().copied().unwrap_or_default();
        let (from, to) = (channels(own), channels(other));
        let connect = match self.connector {
            Connect::Always => true,
            Connect::OnMismatch => from != to,
            Connect::None if from != to => {
                return Err(context.error(
                    "connector",
                    format!(
                        "`{}` of the student has {from} channels, `{}` of the teacher {to}, and connector = \"none\"\n  hint: connector = \"on-mismatch\" adds a 1x1 convolution there",
                        own.name, other.name
                    ),
                ));
            }
            Connect::None => false,
        };
        let [_, height, width] = own.shape[..] else {
            if !connect {
                return Ok(None); // as many numbers as channels already
            }
            let problem = format!(
                "a connector needs a tap of shape [C, H, W], `{}` of the student has {:?}",
                own.name, own.shape
            );
            return Err(context.error("connector", problem));
        };
        Ok(Some(connector(&pair.name, [from, height, width], connect.then_some(to), self.relu)?))
    }
}

/// 1x1 convolution without bias, batch norm, ReLU if asked for, where the number of channels shall become `channels`; then
/// the mean over positions: `[C, H, W] -> [C']`. The mean belongs to the loss, but the executor takes it without a copy of
/// the features.
fn connector(name: &str, input: [usize; 3], channels: Option<usize>, relu: bool) -> attar_models::Result<Graph> {
    let (mut builder, mut at) = GraphBuilder::new(name, input)?;
    if let Some(channels) = channels {
        at = builder.add("conv", Op::Conv2d(Conv2d::square(input[0], channels, 1, 1, 0)), &[at])?;
        at = norm(&mut builder, at, channels, relu)?;
    }
    let mean = builder.add("mean", Op::GlobalAvgPool(GlobalAvgPool {}), &[at])?;
    Ok(builder.finish(mean))
}

#[derive(Debug)]
struct Channel {
    taps: Taps,
    layers: Layers,
}

impl Loss for Channel {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        // The teacher is a constant, so its means need no gradient.
        let mean = |tap: &Tensor| {
            if tap.rank() == 2 { Ok(tap.clone()) } else { global_avg_pool(Backend::for_tensor(tap), tap) }
        };
        let teacher = view.teacher()?.taps.iter().map(mean).collect::<attar_exec::Result<Vec<_>>>()?;
        channel(&view.student.taps, &teacher, self.layers)
    }
}
