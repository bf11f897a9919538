//! The forward pass: operation by operation, freeing values after their last use.

use attar_measures::random::Stream;
use attar_models::{Graph, NodeId, ScheduledOp};
use candle_core::Tensor;

use super::bound::{BoundOp, NormSlots, WeightSlots};
use super::tape::{Activated, Record, as_stored};
use super::{Body, Outputs, at};
use crate::context::Context;
use crate::error::Result;
use crate::ops::{self, Affine, Backend, BatchStats, Tail};
use crate::params::Params;
use crate::profile::Pass as Way;

/// How batch norms and dropouts behave.
pub(super) enum Mode<'a> {
    /// Running statistics, no dropout; `keep` what the way back needs or not.
    Eval { keep: bool },
    /// Batch statistics and dropout; `keep` what the way back needs or not.
    Train { rng: &'a mut Stream, keep: bool },
}

impl Mode<'_> {
    fn keeps(&self) -> bool {
        matches!(self, Mode::Train { keep: true, .. } | Mode::Eval { keep: true })
    }
}

/// What a forward pass leaves.
pub(super) struct Pass {
    pub(super) outputs: Outputs,
    /// One of each operation if they were to be kept.
    pub(super) records: Vec<Record>,
    /// Of each batch norm that ran by the statistics of the batch.
    pub(super) statistics: Vec<Followed>,
}

/// Statistics of a batch for the running ones to follow.
pub(super) struct Followed {
    momentum: f64,
    slots: NormSlots,
    stats: BatchStats,
}

/// Runs `schedule`, which was made for `taps`. Batch norms of which nothing learns (`fixed`, by
/// slot; nothing is if it is empty) normalise by their running statistics.
pub(super) fn run(
    body: &Body,
    schedule: &attar_models::Schedule,
    taps: &[NodeId],
    x: &Tensor,
    fixed: &[bool],
    mut mode: Mode<'_>,
) -> Result<Pass> {
    let Body { graph, params, context, bound, .. } = body;
    let on = context.backend();
    let mut values: Vec<Option<Tensor>> = vec![None; graph.nodes().len()];
    let (mut records, mut statistics) = (Vec::new(), Vec::new());
    values[graph.input().index()] = Some(as_stored(context, x)?);
    for op in schedule.ops() {
        let inputs = op.inputs(graph).map(|id| value(graph, &values, id)).collect::<Result<Vec<_>>>()?;
        let begun = context.profiler().start();
        let bound = &bound[op.node.index()];
        let still = is_still(bound, fixed);
        let mut step = Step { on, params, op, inputs: &inputs, still, mode: &mut mode };
        let (y, record, followed) = step.run(bound).map_err(|error| at(graph, op.node, error))?;
        let y = as_stored(context, &y)?;
        let way = if let Mode::Train { .. } = mode { Way::Forward } else { Way::Eval };
        context.profiler().stop(begun, way, graph.node(op.node), &y, [&y])?;
        drop(inputs);
        statistics.extend(followed);
        if mode.keeps() {
            records.push(record);
        }
        values[op.output.index()] = Some(y);
        for id in &op.frees {
            values[id.index()] = None;
        }
    }
    let out = |id: NodeId| ops::convert(on, &value(graph, &values, id)?, context.values());
    let logits = out(graph.output())?;
    let taps = taps.iter().map(|id| out(*id)).collect::<Result<_>>()?;
    Ok(Pass { outputs: Outputs { logits, taps }, records, statistics })
}

/// Whether a batch norm normalises by its running statistics although the pass is one of training:
/// all that could learn of it is fixed.
fn is_still(bound: &BoundOp, fixed: &[bool]) -> bool {
    !fixed.is_empty() && bound.trained().all(|slot| fixed[slot.index()])
}

/// Lets the running statistics follow the batch: `running += momentum * (batch - running)`, the
/// variance unbiased.
pub(super) fn follow(context: &Context, params: &mut Params, statistics: &[Followed]) -> Result<()> {
    let both = |followed: &'_ Followed| {
        let Followed { momentum, slots, stats } = followed;
        [(*momentum, slots.mean, stats.mean.clone()), (*momentum, slots.variance, stats.unbiased_variance.clone())]
    };
    let followed: Vec<_> = statistics.iter().flat_map(both).collect();
    // Nearly always one group, and on CUDA one launch.
    for alike in followed.chunk_by(|(a, ..), (b, ..)| a == b) {
        let pairs: Vec<_> = alike.iter().map(|(_, slot, batch)| (params.value(*slot), batch)).collect();
        let next = ops::mix(context.backend(), &pairs, 1.0 - alike[0].0)?;
        for ((_, slot, _), value) in alike.iter().zip(next) {
            params.replace(*slot, value)?;
        }
    }
    Ok(())
}

fn value(graph: &Graph, values: &[Option<Tensor>], id: NodeId) -> Result<Tensor> {
    values[id.index()].clone().ok_or_else(|| {
        let problem = "its value is not there".to_owned();
        attar_models::Error::Node { node: graph.node(id).name.clone(), problem }.into()
    })
}

/// One operation at work.
struct Step<'a, 'rng> {
    on: Backend,
    params: &'a Params,
    op: &'a ScheduledOp,
    inputs: &'a [Tensor],
    /// Whether a batch norm has running statistics in training.
    still: bool,
    mode: &'a mut Mode<'rng>,
}

impl Step<'_, '_> {
    /// Its value, what its gradient will need, and what running statistics follow.
    fn run(&mut self, bound: &BoundOp) -> Result<(Tensor, Record, Option<Followed>)> {
        let (on, inputs) = (self.on, self.inputs);
        let x = input(inputs, 0)?;
        let (y, record) = match bound {
            BoundOp::Input => return Err(missing("an input computes nothing")),
            BoundOp::Conv2d { conv, slots } => {
                let WeightSlots { weight, bias } = *slots;
                let (weight, bias) = (self.params.value(weight), bias.map(|bias| self.params.value(bias)));
                let y = ops::conv2d(on, conv, x, weight, bias, self.tail())?;
                if self.mode.keeps() && (self.op.residual.is_some() || self.op.activation.is_some()) {
                    return Err(missing("a convolution that took in what follows keeps nothing for the way back"));
                }
                (y, Record::Conv2d { conv: conv.clone(), slots: *slots, x: x.clone() })
            }
            BoundOp::BatchNorm2d { eps, momentum, slots } => return self.norm(*eps, *momentum, *slots),
            BoundOp::Activation(activation) => {
                let activation = *activation;
                let y = ops::activate(on, activation, x)?;
                let kept = if activation.keeps_output() { y.clone() } else { x.clone() };
                (y, Record::Activation { activation, kept })
            }
            BoundOp::LayerNorm2d { eps, slots } => {
                let bias = slots.bias.ok_or_else(|| missing("a layer norm without its shift"))?;
                let affine = Affine { weight: self.params.value(slots.weight), bias: self.params.value(bias) };
                let record = Record::LayerNorm2d { eps: *eps, slots: *slots, x: x.clone() };
                (ops::layer_norm(on, x, affine, *eps)?, record)
            }
            BoundOp::Scale { trained, slots } => {
                let (weight, bias) = (self.params.value(slots.weight), slots.bias.map(|bias| self.params.value(bias)));
                let record = Record::Scale { slots: *slots, x: trained.then(|| x.clone()) };
                (ops::scale(on, x, weight, bias)?, record)
            }
            BoundOp::PRelu { weight } => {
                let record = Record::PRelu { weight: *weight, x: x.clone() };
                (ops::prelu(on, x, self.params.value(*weight))?, record)
            }
            BoundOp::Add => {
                let other = input(inputs, 1)?;
                (ops::add(on, x, other)?, Record::Add { other: other.dims().to_vec() })
            }
            BoundOp::Mul => {
                let factor = input(inputs, 1)?;
                (ops::mul(on, x, factor)?, Record::Mul { x: x.clone(), factor: factor.clone() })
            }
            BoundOp::Subsample { stride } => (ops::subsample(on, x, *stride)?, Record::Subsample { stride: *stride }),
            BoundOp::PadChannels { before, after } => {
                (ops::pad_channels(on, x, *before, *after)?, Record::PadChannels { before: *before })
            }
            BoundOp::MaxPool2d(pool) => {
                let (y, argmax) = ops::max_pool2d(on, pool, x)?;
                (y, Record::MaxPool2d { pool: pool.clone(), argmax })
            }
            BoundOp::AvgPool2d(pool) => (ops::avg_pool2d(on, pool, x)?, Record::AvgPool2d(pool.clone())),
            BoundOp::GlobalAvgPool => (ops::global_avg_pool(on, x)?, Record::GlobalAvgPool),
            BoundOp::Flatten => (x.flatten_from(1)?, Record::Flatten),
            BoundOp::Dropout { p } => match self.mode {
                Mode::Train { rng, .. } if *p > 0.0 => {
                    let mask = ops::dropout_mask(x.dims(), *p, rng, x.device())?.to_dtype(x.dtype())?;
                    ((x * &mask)?, Record::Dropout { mask: Some(mask) })
                }
                Mode::Train { .. } | Mode::Eval { .. } => (x.clone(), Record::Dropout { mask: None }),
            },
            BoundOp::StochasticDepth { p } => match self.mode {
                Mode::Train { rng, .. } if *p > 0.0 => {
                    let mask = ops::depth_mask(x.dims(), *p, rng, x.device())?.to_dtype(x.dtype())?;
                    (ops::mul(on, x, &mask)?, Record::StochasticDepth { mask: Some(mask) })
                }
                Mode::Train { .. } | Mode::Eval { .. } => (x.clone(), Record::StochasticDepth { mask: None }),
            },
            BoundOp::Linear { slots } => {
                let WeightSlots { weight, bias } = *slots;
                let (weight, bias) = (self.params.value(weight), bias.map(|bias| self.params.value(bias)));
                (ops::linear(on, x, weight, bias)?, Record::Linear { slots: *slots, x: x.clone() })
            }
            BoundOp::Concat => {
                let widths = inputs.iter().map(|part| part.dim(1)).collect::<candle_core::Result<_>>()?;
                (ops::concat(on, inputs)?, Record::Concat { widths })
            }
            BoundOp::SliceChannels { start, end } => {
                (ops::slice_channels(on, x, *start, *end)?, Record::SliceChannels { start: *start })
            }
            BoundOp::ChannelShuffle { groups } => {
                (ops::channel_shuffle(on, x, *groups)?, Record::ChannelShuffle { groups: *groups })
            }
            BoundOp::Pad2d(pad) => (ops::pad2d(on, x, *pad)?, Record::Pad2d(*pad)),
            BoundOp::Softmax => {
                let y = ops::softmax_channels(on, x)?;
                (y.clone(), Record::Softmax { y })
            }
            BoundOp::Quantize { range, slots } => {
                let record = Record::Quantize { slots: *slots, range: *range, x: x.clone() };
                (ops::quantize(on, x, slots.levels(self.params), *range)?, record)
            }
            BoundOp::Dequantize { slots } => {
                let record = Record::Dequantize { slots: *slots, x: x.clone() };
                (ops::dequantize(on, x, slots.levels(self.params))?, record)
            }
            BoundOp::Reshape { shape } => (x.reshape([&x.dims()[..1], shape].concat())?, Record::Reshape),
        };
        Ok((y, record, None))
    }

    fn norm(&self, eps: f64, momentum: f64, slots: NormSlots) -> Result<(Tensor, Record, Option<Followed>)> {
        let (x, tail) = (input(self.inputs, 0)?, self.tail());
        let affine = Affine { weight: self.params.value(slots.weight), bias: self.params.value(slots.bias) };
        let activated = |y: &Tensor| -> Activated { self.op.activation.map(|activation| (y.clone(), activation)) };
        if self.still || matches!(self.mode, Mode::Eval { .. }) {
            let running = (self.params.value(slots.mean), self.params.value(slots.variance));
            let y = ops::batch_norm_eval(self.on, x, affine, running, eps, tail)?;
            let activated = activated(&y);
            return Ok((y, Record::RunningNorm { slots, eps, activated, residual: self.op.residual.is_some() }, None));
        }
        let (y, stats) = ops::batch_norm_train(self.on, x, affine, eps, tail)?;
        let followed = Followed { momentum, slots, stats: stats.clone() };
        let (activated, residual) = (activated(&y), self.op.residual.is_some());
        Ok((y, Record::BatchNorm2d { slots, x: x.clone(), stats, activated, residual }, Some(followed)))
    }

    fn tail(&self) -> Tail<'_> {
        Tail { residual: self.op.residual.and(self.inputs.get(1)), activation: self.op.activation }
    }
}

fn input(inputs: &[Tensor], at: usize) -> Result<&Tensor> {
    inputs.get(at).ok_or_else(|| missing("an input is missing"))
}

fn missing(what: &str) -> crate::Error {
    candle_core::Error::Msg(what.to_owned()).into()
}
