//! Parallel FEED (feature-level ensemble: Park and Kwak 2019, arXiv 1909.10754): for each teacher a non-linear transform of
//! its own takes the student's last map to that teacher's, so that contradicting teachers need not be averaged.
//!
//! `L = sum_n |σ_n(F) / |σ_n(F)|_2 - F_n / |F_n|_2|_1`, see [`feed`]; `σ_n` is three 3x3 convolutions, trained with the student
//! and dropped afterwards.
//!
//! A reading: neither the paper's details nor code of the authors was at hand. Open points and how they are taken: the L1
//! norm is a mean over elements as in their group's code of Factor Transfer (arXiv 1802.04977, weight 500 there), or a sum
//! (`reduction`); each convolution is followed by batch norm and ReLU, the last ReLU being a choice (`relu`), where Factor
//! Transfer has biases and leaky ReLUs; maps are normalised sample by sample. Sequential FEED is a chain of runs with one
//! teacher each.

use attar_models::op::{Activation, BatchNorm2d, Conv2d};
use attar_models::{Graph, GraphBuilder, Op};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::parts::maps::{rows, unit_rows};
use crate::losses::{Basis, BuildContext, Connector, Entry, Loss, Pairs, Spec, Step, Tap, Taps, Teachers};

/// Settings of [`feed`] and of the transforms before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeedSpec {
    /// The L1 norm as a sum or a mean over elements.
    pub reduction: Reduction,
    /// Whether transforms end in a ReLU.
    pub relu: bool,
    /// The student's map and that of every teacher, one pair.
    pub pairs: Pairs,
}

impl Default for FeedSpec {
    fn default() -> Self {
        Self { reduction: Reduction::default(), relu: true, pairs: Pairs::last() }
    }
}

/// How the distance of two normalised maps becomes one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// The sum over all elements, mean over the batch: the L1 norm as it is written.
    Sum,
    /// The mean over all elements and the batch, as in the code of Factor Transfer.
    #[default]
    Mean,
}

/// `sum_n |σ_n(F) / |σ_n(F)|_2 - F_n / |F_n|_2|_1` over teachers `n`, for transformed maps of the student and maps of the
/// teachers, both `[N, ...]` and normalised sample by sample.
///
/// # Errors
/// No teachers, counts or shapes that differ, or a device that failed.
pub fn feed(student: &[Tensor], teachers: &[Tensor], reduction: Reduction) -> Result<Tensor> {
    if student.len() != teachers.len() || student.is_empty() {
        let message = format!("FEED of {} transformed maps and {} teachers", student.len(), teachers.len());
        return Err(candle_core::Error::Msg(message).into());
    }
    let mut terms = Vec::with_capacity(student.len());
    for (own, other) in student.iter().zip(teachers) {
        let difference = (unit_rows(&rows(own)?)? - unit_rows(&rows(&other.detach())?)?)?;
        // Candle gives |x| the slope 1 at 0, where maps that end in ReLU often meet.
        let distance = (&difference * difference.detach().sign()?)?;
        terms.push(match reduction {
            Reduction::Sum => distance.sum(1)?.mean(0)?,
            Reduction::Mean => distance.mean_all()?,
        });
    }
    Ok(Tensor::stack(&terms, 0)?.sum_all()?)
}

impl Spec for FeedSpec {
    const ENTRY: Entry = Entry {
        kind: "feed",
        summary: "A transform of the student's map for each teacher follows that teacher's map: L1 distance of normalised maps.",
        paper: "Park and Kwak 2019, arXiv 1909.10754 (FEED, parallel)",
        basis: Basis::Reading,
        teachers: Teachers::Many,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        let mut taps = Taps::default();
        for (i, teacher) in context.teachers.iter().enumerate() {
            let context = BuildContext { teachers: std::slice::from_ref(teacher), logits: &[], ..*context };
            let pair = self.pairs.only(&context)?;
            let name = format!("teacher{}", i + 1);
            let graph = self.transform(&context, &name, pair.maps(&context)?)?;
            taps.student.push(Tap { node: pair.student, connector: Some(Connector { name, graph }) });
            taps.teachers.push(vec![pair.teacher]);
        }
        Ok(Box::new(Feed { taps, reduction: self.reduction }))
    }
}

impl FeedSpec {
    /// Three 3x3 convolutions to the teacher's map, the first with a stride where the student's map is larger.
    fn transform(
        &self,
        context: &BuildContext<'_>,
        name: &str,
        (own, other): ([usize; 3], [usize; 3]),
    ) -> Result<Graph> {
        let ([from, height, _], [to, rows, _]) = (own, other);
        let stride = (height / rows.max(1)).max(1);
        let (mut builder, mut at) = GraphBuilder::new(name, own)?;
        for (i, (from, stride)) in (1..).zip([(from, stride), (to, 1), (to, 1)]) {
            let conv = Op::Conv2d(Conv2d::square(from, to, 3, stride, 1));
            at = builder.add(format!("conv{i}"), conv, &[at])?;
            at = builder.add(
                format!("bn{i}"),
                Op::BatchNorm2d(BatchNorm2d { channels: to, eps: 1e-5, momentum: 0.1 }),
                &[at],
            )?;
            if self.relu || i < 3 {
                at = builder.add(format!("relu{i}"), Op::Activation(Activation::Relu), &[at])?;
            }
        }
        let graph = builder.finish(at);
        if graph.output_shape() != other {
            let problem = format!(
                "a map {own:?} of the student does not become the teacher's {other:?}\n  hint: pair maps of one size, or a student's that is larger by a whole factor"
            );
            return Err(context.error("pairs", problem));
        }
        Ok(graph)
    }
}

#[derive(Debug)]
struct Feed {
    taps: Taps,
    reduction: Reduction,
}

impl Loss for Feed {
    fn taps(&self) -> Taps {
        self.taps.clone()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        let teachers: Vec<Tensor> = view.teachers.iter().flat_map(|teacher| teacher.taps.iter().cloned()).collect();
        feed(&view.student.taps, &teachers, self.reduction)
    }
}
