//! The backward pass: the records of a tape in reverse, each freed once its gradient is known.

use attar_models::{Graph, NodeId};
use candle_core::Tensor;

use super::bound::{BoundOp, LevelSlots, NormSlots, WeightSlots};
use super::tape::{Activated, Record, Tape, as_stored};
use super::{Body, Gradients, at};
use crate::error::Result;
use crate::ops::{self, Affine, Backend, NormGrads, Tail};
use crate::params::{ParamId, Params, Slots};
use crate::profile::Pass;

/// What of a network learns.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Learns<'a> {
    /// By slot, the parameters that do not; none if it is empty.
    pub(super) fixed: &'a [bool],
    /// Whether the scales of quantisers do.
    pub(super) scales: bool,
}

impl Learns<'_> {
    fn is_fixed(self, slot: ParamId) -> bool {
        self.fixed.get(slot.index()).is_some_and(|fixed| *fixed)
    }

    /// Whether anything of an operation does.
    fn any_of(self, bound: &BoundOp) -> bool {
        let scale = bound.scale().filter(|_| self.scales);
        bound.trained().chain(scale).any(|slot| !self.is_fixed(slot))
    }
}

/// Which gradients a backward pass is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Params,
    Input,
    Both,
}

/// Runs the tape backwards. Parameters that do not learn get no gradient.
pub(super) fn run(
    body: &Body,
    tape: Tape,
    grads_out: Vec<(NodeId, Tensor)>,
    learns: Learns<'_>,
    wants: Wants,
) -> Result<Gradients> {
    let Body { graph, params, bound, .. } = body;
    let Tape { schedule, records, batch, context } = tape;
    let on = context.backend();
    let mut grads: Vec<Option<Tensor>> = vec![None; graph.nodes().len()];
    for (id, grad) in grads_out {
        check(graph, schedule.makes(id) || id == graph.input(), batch, id, &grad)?;
        add_to(on, &mut grads[id.index()], as_stored(&context, &grad.detach())?)?;
    }
    let wants_input = wants != Wants::Params;
    let wanted = wanted(graph, bound, wants_input, learns);
    let mut found = Slots::default();
    for (op, record) in schedule.ops().iter().zip(records).rev() {
        let Some(dy) = grads[op.output.index()].take() else { continue };
        let Some(first) = graph.node(op.node).inputs.first() else { continue };
        let mut step = Step {
            on,
            params,
            wants_x: wanted[first.index()],
            x_shape: std::iter::once(batch).chain(graph.node(*first).shape.iter().copied()).collect(),
            learns,
            wants,
            found: &mut found,
        };
        let begun = context.profiler().start();
        let dxs = step.run(record, &dy).map_err(|error| at(graph, op.node, error))?;
        context.profiler().stop(begun, Pass::Backward, graph.node(op.node), &dy, dxs.iter().flatten())?;
        for (id, dx) in op.inputs(graph).zip(dxs) {
            if let (Some(dx), true) = (dx, wanted[id.index()]) {
                add_to(on, &mut grads[id.index()], as_stored(&context, &dx)?)?;
            }
        }
    }
    let input = grads[graph.input().index()].take().filter(|_| wants_input);
    let input = input.map(|grad| ops::convert(on, &grad, context.values())).transpose()?;
    Ok(Gradients { params: found, input })
}

fn check(graph: &Graph, known: bool, batch: usize, id: NodeId, grad: &Tensor) -> Result<()> {
    let node = graph.node(id);
    let expected: Vec<usize> = std::iter::once(batch).chain(node.shape.iter().copied()).collect();
    let problem = if !known {
        "has a gradient but was neither output nor tap of this pass".to_owned()
    } else if grad.dims() != expected {
        format!("has a gradient of shape {:?}, expected {expected:?}", grad.dims())
    } else {
        return Ok(());
    };
    Err(attar_models::Error::Node { node: node.name.clone(), problem }.into())
}

/// For each node, whether anything at or before it wants a gradient.
fn wanted(graph: &Graph, bound: &[BoundOp], wants_input: bool, learns: Learns<'_>) -> Vec<bool> {
    let mut wanted = vec![false; graph.nodes().len()];
    for (id, node) in graph.iter() {
        let own = learns.any_of(&bound[id.index()]);
        let earlier = node.inputs.iter().any(|input| wanted[input.index()]);
        wanted[id.index()] = own || earlier || (wants_input && id == graph.input());
    }
    wanted
}

fn add_to(on: Backend, place: &mut Option<Tensor>, grad: Tensor) -> Result<()> {
    *place = Some(match place.take() {
        Some(sum) => ops::add(on, &sum, &grad)?,
        None => grad,
    });
    Ok(())
}

/// One operation's way back.
struct Step<'a> {
    on: Backend,
    params: &'a Params,
    /// Whether anybody wants the gradient of the first input.
    wants_x: bool,
    /// `[N, ...]`, of the first input.
    x_shape: Vec<usize>,
    learns: Learns<'a>,
    wants: Wants,
    found: &'a mut Slots,
}

impl Step<'_> {
    /// Gradients of the inputs, in the order of [`attar_models::ScheduledOp::inputs`], where they
    /// are wanted.
    fn run(&mut self, record: Record, dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let on = self.on;
        Ok(match record {
            Record::Conv2d { conv, slots, x } => {
                self.products(slots, dy, || ops::conv2d_weight_grad(on, &conv, &x, dy))?;
                drop(x);
                let weight = self.params.value(slots.weight);
                let dx = || ops::conv2d_input_grad(on, &conv, dy, weight, &self.x_shape);
                vec![self.wants_x.then(dx).transpose()?]
            }
            Record::Linear { slots, x } => {
                self.products(slots, dy, || ops::linear_weight_grad(on, &x, dy))?;
                let dx = || ops::linear_input_grad(on, dy, self.params.value(slots.weight));
                vec![self.wants_x.then(dx).transpose()?]
            }
            Record::BatchNorm2d { slots, x, stats, activated, residual } => {
                let mask = activated.as_ref().map(|(y, activation)| (y, *activation));
                let weight = self.params.value(slots.weight);
                let grads = ops::batch_norm_backward(on, &x, weight, &stats, mask, dy, residual)?;
                self.learn(slots.weight, || Ok(grads.dweight))?;
                self.learn(slots.bias, || Ok(grads.dbias))?;
                vec![Some(grads.dx), grads.dresidual]
            }
            Record::RunningNorm { slots, eps, activated, residual } => {
                let dy = self.before(activated, dy)?;
                let dx = self.wants_x.then(|| self.scaled(&dy, slots, eps)).transpose()?;
                vec![dx, residual.then_some(dy)]
            }
            Record::Activation { activation, kept } => {
                vec![Some(ops::activate_backward(on, activation, &kept, dy)?)]
            }
            Record::LayerNorm2d { eps, slots, x } => {
                let grads = ops::layer_norm_backward(on, &x, self.params.value(slots.weight), eps, dy)?;
                self.affine(slots, grads)?
            }
            Record::Scale { slots, x: Some(x) } => {
                let grads = ops::scale_backward(on, &x, self.params.value(slots.weight), dy)?;
                self.affine(slots, grads)?
            }
            Record::Scale { slots, x: None } => {
                vec![Some(ops::scale(on, dy, self.params.value(slots.weight), None)?)]
            }
            Record::PRelu { weight, x } => {
                let (dx, dweight) = ops::prelu_backward(on, &x, self.params.value(weight), dy)?;
                self.learn(weight, || Ok(dweight))?;
                vec![Some(dx)]
            }
            Record::Add { other } => {
                let (da, db) = ops::add_backward(on, dy, &other)?;
                vec![Some(da), Some(db)]
            }
            Record::Mul { x, factor } => {
                let (dx, dfactor) = ops::mul_backward(on, &x, &factor, dy)?;
                vec![Some(dx), Some(dfactor)]
            }
            Record::Subsample { stride } => vec![Some(ops::subsample_backward(on, dy, stride, &self.x_shape)?)],
            Record::PadChannels { before } => vec![Some(dy.narrow(1, before, self.x_shape[1])?)],
            Record::MaxPool2d { pool, argmax } => {
                vec![Some(ops::max_pool2d_backward(on, &pool, dy, &argmax, &self.x_shape)?)]
            }
            Record::AvgPool2d(pool) => vec![Some(ops::avg_pool2d_backward(on, &pool, dy, &self.x_shape)?)],
            Record::GlobalAvgPool => vec![Some(ops::global_avg_pool_backward(on, dy, &self.x_shape)?)],
            Record::Flatten => vec![Some(dy.reshape(self.x_shape.as_slice())?)],
            Record::Dropout { mask: Some(mask) } => vec![Some((dy * mask)?)],
            Record::Concat { widths } => ops::concat_backward(on, dy, &widths)?.into_iter().map(Some).collect(),
            Record::SliceChannels { start } => {
                vec![Some(ops::slice_channels_backward(on, dy, start, &self.x_shape)?)]
            }
            Record::ChannelShuffle { groups } => vec![Some(ops::channel_shuffle_backward(on, dy, groups)?)],
            Record::Pad2d(pad) => vec![Some(ops::pad2d_backward(on, dy, pad, &self.x_shape)?)],
            Record::Softmax { y } => vec![Some(ops::softmax_channels_backward(on, &y, dy)?)],
            Record::Quantize { slots, range, x } => {
                let (dx, dscale) = ops::quantize_backward(on, &x, slots.levels(self.params), range, dy)?;
                self.learn_scale(slots, dscale)?;
                vec![Some(dx)]
            }
            Record::Dequantize { slots, x } => {
                let (dx, dscale) = ops::dequantize_backward(on, &x, slots.levels(self.params), dy)?;
                self.learn_scale(slots, dscale)?;
                vec![Some(dx)]
            }
            Record::Reshape => vec![Some(dy.reshape(self.x_shape.as_slice())?)],
            Record::StochasticDepth { mask: Some(mask) } => vec![Some(ops::mul(on, dy, &mask)?)],
            Record::Dropout { mask: None } | Record::StochasticDepth { mask: None } => vec![Some(dy.clone())],
        })
    }

    /// Gradients of a weight and of a bias that is added to each channel.
    fn products(&mut self, slots: WeightSlots, dy: &Tensor, dweight: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        let on = self.on;
        self.learn(slots.weight, dweight)?;
        slots.bias.map_or(Ok(()), |bias| self.learn(bias, || ops::channel_sums(on, dy)))
    }

    /// Gradients of a scale and of the shift that may follow it; that of the input is handed on.
    fn affine(&mut self, slots: WeightSlots, grads: NormGrads) -> Result<Vec<Option<Tensor>>> {
        self.learn(slots.weight, || Ok(grads.dweight))?;
        slots.bias.map_or(Ok(()), |bias| self.learn(bias, || Ok(grads.dbias)))?;
        Ok(vec![Some(grads.dx)])
    }

    /// Puts down the gradient of a parameter if anybody wants it.
    fn learn(&mut self, slot: ParamId, gradient: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        if self.wants != Wants::Input && !self.learns.is_fixed(slot) {
            self.found.put(slot, gradient()?);
        }
        Ok(())
    }

    /// The gradient of the scale of a quantiser, where scales learn.
    fn learn_scale(&mut self, slots: LevelSlots, dscale: Tensor) -> Result<()> {
        if self.learns.scales { self.learn(slots.scale, || Ok(dscale)) } else { Ok(()) }
    }

    /// The gradient before the activation that ended an operation.
    fn before(&self, activated: Activated, dy: &Tensor) -> Result<Tensor> {
        match activated {
            Some((y, activation)) => ops::activate_backward(self.on, activation, &y, dy),
            None => Ok(dy.clone()),
        }
    }

    /// The gradient in the input of a batch norm by running statistics,
    /// `dy weight / sqrt(variance + eps)`: what the norm itself makes of `dy` around a mean and
    /// with a shift of 0.
    fn scaled(&self, dy: &Tensor, slots: NormSlots, eps: f64) -> Result<Tensor> {
        let (weight, variance) = (self.params.value(slots.weight), self.params.value(slots.variance));
        let zero = weight.zeros_like()?;
        let affine = Affine { weight, bias: &zero };
        ops::batch_norm_eval(self.on, dy, affine, (&zero, variance), eps, Tail::default())
    }
}
