//! The backward pass: the steps of a tape in reverse, each freed once its gradient is known.

use std::collections::{BTreeMap, BTreeSet};

use attar_models::op::{BatchNorm2d, Linear, PadChannels, Subsample};
use attar_models::{Graph, NodeId, Op};
use candle_core::{DType, Tensor};

use super::Gradients;
use super::forward::at;
use super::plan::Step;
use super::profile::{self, Pass};
use super::tape::{Saved, Tape, as_stored};
use crate::error::Result;
use crate::ops;
use crate::params::Params;

/// Which gradients a backward pass is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Params,
    Input,
    Both,
}

/// Runs the tape backwards.
pub(super) fn run(
    graph: &Graph,
    params: &Params,
    tape: Tape,
    grads_out: Vec<(NodeId, Tensor)>,
    wants: Wants,
) -> Result<Gradients> {
    let Tape { plan, saved, batch, stored } = tape;
    let mut grads: Vec<Option<Tensor>> = vec![None; graph.nodes().len()];
    for (id, grad) in grads_out {
        check(graph, plan.makes(id) || id == graph.input(), batch, id, &grad)?;
        add_to(&mut grads[id.index()], as_stored(&grad.detach(), stored)?)?;
    }
    let wants_input = wants != Wants::Params;
    let trains = trains(graph, wants_input, &plan.frozen);
    let mut found = BTreeMap::new();
    for (step, saved) in plan.steps.iter().zip(saved).rev() {
        let Some(dy) = grads[step.output.index()].take() else { continue };
        let mut pass = StepBackward {
            graph,
            params,
            step,
            batch,
            trains: &trains,
            frozen: &plan.frozen,
            wants,
            found: &mut found,
        };
        let begun = profile::start();
        let dxs = pass.run(saved, &dy).map_err(|error| at(graph, step.node, error))?;
        profile::stop(begun, Pass::Backward, graph.node(step.node), &dy, dxs.iter().flatten())?;
        for (id, dx) in step.inputs(graph).zip(dxs) {
            if let (Some(dx), true) = (dx, trains[id.index()]) {
                add_to(&mut grads[id.index()], as_stored(&dx, stored)?)?;
            }
        }
    }
    let input = grads[graph.input().index()].take().filter(|_| wants_input);
    let input = input.map(|grad| ops::convert(&grad, DType::F32)).transpose()?;
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

/// Whether anything at or before a node wants a gradient.
fn trains(graph: &Graph, wants_input: bool, frozen: &BTreeSet<String>) -> Vec<bool> {
    let mut trains = vec![false; graph.nodes().len()];
    for (id, node) in graph.iter() {
        let own = node.params().any(|param| param.role.is_trained() && !frozen.contains(&param.name));
        let earlier = node.inputs.iter().any(|input| trains[input.index()]);
        trains[id.index()] = own || earlier || (wants_input && id == graph.input());
    }
    trains
}

fn add_to(slot: &mut Option<Tensor>, grad: Tensor) -> Result<()> {
    *slot = Some(match slot.take() {
        Some(sum) => ops::add(&sum, &grad)?,
        None => grad,
    });
    Ok(())
}

/// One step of the way back.
struct StepBackward<'a> {
    graph: &'a Graph,
    params: &'a Params,
    step: &'a Step,
    batch: usize,
    trains: &'a [bool],
    frozen: &'a BTreeSet<String>,
    wants: Wants,
    found: &'a mut BTreeMap<String, Tensor>,
}

impl StepBackward<'_> {
    /// Gradients of the step's inputs, in the order of [`Step::inputs`], where they are wanted.
    fn run(&mut self, saved: Saved, dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let node = self.graph.node(self.step.node);
        let Some(first) = node.inputs.first().copied() else { return Ok(Vec::new()) };
        let wanted = self.trains[first.index()];
        let x_shape = self.shape(first);
        Ok(match (&node.op, saved) {
            (Op::Conv2d(conv), Saved::Input(x)) => {
                if self.learns("weight") {
                    self.found("weight", ops::conv2d_weight_grad(conv, &x, dy)?);
                }
                if conv.bias && self.learns("bias") {
                    self.found("bias", ops::channel_sums(dy)?);
                }
                drop(x);
                let dx = || ops::conv2d_input_grad(conv, dy, self.param("weight")?, &x_shape);
                vec![wanted.then(dx).transpose()?]
            }
            (Op::Linear(Linear { bias, .. }), Saved::Input(x)) => {
                if self.learns("weight") {
                    self.found("weight", ops::linear_weight_grad(&x, dy)?);
                }
                if *bias && self.learns("bias") {
                    self.found("bias", ops::channel_sums(dy)?);
                }
                let dx = || ops::linear_input_grad(dy, self.param("weight")?);
                vec![wanted.then(dx).transpose()?]
            }
            (Op::BatchNorm2d(_), Saved::Norm { x, stats, activated }) => {
                let mask = activated.as_ref().zip(self.step.activation.map(ops::clamp));
                let residual = self.step.residual.is_some();
                let grads = ops::batch_norm_backward(&x, self.param("weight")?, &stats, mask, dy, residual)?;
                if self.learns("weight") {
                    self.found("weight", grads.dweight);
                }
                if self.learns("bias") {
                    self.found("bias", grads.dbias);
                }
                vec![Some(grads.dx), grads.dresidual]
            }
            (Op::BatchNorm2d(BatchNorm2d { eps, .. }), Saved::Still { activated }) => {
                let dy = match activated.as_ref().zip(self.step.activation.map(ops::clamp)) {
                    Some((y, activation)) => ops::activate_backward(activation, y, dy)?,
                    None => dy.clone(),
                };
                let residual = self.step.residual.map(|_| dy.clone());
                vec![wanted.then(|| self.scaled(&dy, *eps)).transpose()?, residual]
            }
            (Op::Activation(activation), Saved::Output(y)) => {
                vec![Some(ops::activate_backward(ops::clamp(*activation), &y, dy)?)]
            }
            (Op::Add(_), _) => vec![Some(dy.clone()), Some(dy.clone())],
            (Op::Subsample(Subsample { stride }), _) => vec![Some(ops::subsample_backward(dy, *stride, &x_shape)?)],
            (Op::PadChannels(PadChannels { before, .. }), _) => vec![Some(dy.narrow(1, *before, x_shape[1])?)],
            (Op::MaxPool2d(pool), Saved::Argmax(argmax)) => {
                vec![Some(ops::max_pool2d_backward(pool, dy, &argmax, &x_shape)?)]
            }
            (Op::AvgPool2d(pool), _) => vec![Some(ops::avg_pool2d_backward(pool, dy, &x_shape)?)],
            (Op::GlobalAvgPool(_), _) => vec![Some(ops::global_avg_pool_backward(dy, &x_shape)?)],
            (Op::Flatten(_), _) => vec![Some(dy.reshape(x_shape)?)],
            (Op::Dropout(_), Saved::Mask(mask)) => vec![Some((dy * mask)?)],
            (Op::Dropout(_), _) => vec![Some(dy.clone())],
            (op, saved) => {
                let problem = format!("{op:?} cannot go back from {saved:?}");
                return Err(candle_core::Error::Msg(problem).into());
            }
        })
    }

    /// Whether somebody wants the gradient of a parameter.
    fn learns(&self, suffix: &str) -> bool {
        let is_frozen = || self.frozen.contains(&format!("{}.{suffix}", self.graph.node(self.step.node).name));
        self.wants != Wants::Input && (self.frozen.is_empty() || !is_frozen())
    }

    /// The gradient in the input of a batch norm by running statistics, `dy weight / sqrt(variance + eps)`: what the norm itself
    /// makes of `dy` around a mean and with a shift of 0.
    fn scaled(&self, dy: &Tensor, eps: f64) -> Result<Tensor> {
        let (weight, variance) = (self.param("weight")?, self.param("running_var")?);
        let zero = weight.zeros_like()?;
        let affine = ops::Affine { weight, bias: &zero };
        ops::batch_norm_eval(dy, affine, (&zero, variance), eps, ops::Tail { residual: None, activation: None })
    }

    fn param(&self, suffix: &str) -> Result<&Tensor> {
        self.params.get(&format!("{}.{suffix}", self.graph.node(self.step.node).name))
    }

    fn found(&mut self, suffix: &str, grad: Tensor) {
        self.found.insert(format!("{}.{suffix}", self.graph.node(self.step.node).name), grad);
    }

    fn shape(&self, id: NodeId) -> Vec<usize> {
        std::iter::once(self.batch).chain(self.graph.node(id).shape.iter().copied()).collect()
    }
}
