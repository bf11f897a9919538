//! A network that runs: a graph, its parameters, a context. Students, teachers and connectors are
//! all of this kind.
//!
//! A [`Network`] trains. A [`Frozen`] one evaluates: its batch norms are folded into the
//! convolutions before them.

mod backward;
mod bound;
mod forward;
mod frozen;
mod schedules;
mod tape;

use std::collections::BTreeSet;
use std::sync::Arc;

use attar_measures::random::Stream;
use attar_models::{Fuse, Graph, NodeId, Weights};
use candle_core::{Device, Tensor};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::params::{Params, Slots};
use crate::precision::Precision;
use backward::{Learns, Wants};
use bound::BoundOp;
use forward::{Mode, Pass};
pub use frozen::Frozen;
use schedules::Schedules;
pub use tape::Tape;

/// What a pass hands out.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Value of the graph's output: `[N, K]` for a classifier; for a connector whatever it ends in.
    pub logits: Tensor,
    /// Values of the nodes asked for, `[N, ...]`, in the order they were asked for.
    pub taps: Vec<Tensor>,
}

/// What a backward pass found.
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    /// By the slots of the network's parameters. A parameter that no gradient reached has none.
    pub params: Slots,
    /// Of the input `[N, C, H, W]`, if it was asked for and a gradient reached it.
    pub input: Option<Tensor>,
}

/// What every kind of network runs.
#[derive(Debug, Clone)]
struct Body {
    graph: Arc<Graph>,
    params: Params,
    context: Context,
    /// One operation of each node.
    bound: Arc<[BoundOp]>,
    schedules: Schedules,
}

impl Body {
    fn new(graph: Arc<Graph>, params: Params, context: Context) -> Result<Self> {
        context.check()?;
        for param in graph.params() {
            let tensor = params.get(&param.name)?;
            let problem = if tensor.dims() != param.shape {
                format!("has shape {:?}, expected {:?}", tensor.dims(), param.shape)
            } else if tensor.dtype() != context.values() {
                format!("has type {:?}, expected {:?}", tensor.dtype(), context.values())
            } else if !tensor.device().same_device(context.device()) {
                "lives on another device than the network".to_owned()
            } else {
                continue;
            };
            return Err(attar_models::Error::Node { node: param.name, problem }.into());
        }
        let known: BTreeSet<String> = graph.params().map(|param| param.name).collect();
        if let Some((name, ..)) = params.iter().find(|(name, ..)| !known.contains(*name)) {
            let problem = format!("`{}` has no parameter of this name", graph.name());
            return Err(attar_models::Error::Node { node: name.to_owned(), problem }.into());
        }
        let bound = BoundOp::all(&graph, &params)?.into();
        Ok(Self { graph, params, context, bound, schedules: Schedules::default() })
    }

    fn set_precision(&mut self, precision: Precision) {
        self.context = self.context.with_precision(precision);
    }

    /// Evaluation with nothing kept.
    fn eval(&self, x: &Tensor, taps: &[NodeId]) -> Result<Outputs> {
        let x = self.input(x)?;
        let schedule = self.schedules.get(&self.graph, taps, Fuse::NormsAndConvolutions);
        Ok(forward::run(self, &schedule, taps, &x, &[], Mode::Eval { keep: false })?.outputs)
    }

    /// A pass that goes on as backward needs it, and its tape, which holds nothing where nothing is
    /// kept.
    fn forward(&self, x: &Tensor, taps: &[NodeId], fixed: &[bool], mode: Mode<'_>) -> Result<(Pass, Tape)> {
        let x = self.input(x)?;
        let schedule = self.schedules.get(&self.graph, taps, Fuse::Norms);
        let mut pass = forward::run(self, &schedule, taps, &x, fixed, mode)?;
        let records = std::mem::take(&mut pass.records);
        let tape = Tape { schedule, records, batch: x.dims()[0], context: self.context.clone() };
        Ok((pass, tape))
    }

    /// Checks a batch and cuts it off from any Candle graph.
    fn input(&self, x: &Tensor) -> Result<Tensor> {
        let fits = x.dims().len() == 4 && x.dims()[0] > 0 && x.dims()[1..] == *self.graph.input_shape();
        let problem = if !fits {
            format!("expects a batch of {:?}, got {:?}", self.graph.input_shape(), x.dims())
        } else if x.dtype() != self.context.values() {
            format!("expects {:?}, got {:?}", self.context.values(), x.dtype())
        } else if !x.device().same_device(self.context.device()) {
            "the batch lives on another device".to_owned()
        } else {
            return Ok(x.detach());
        };
        Err(attar_models::Error::Node { node: self.graph.node(self.graph.input()).name.clone(), problem }.into())
    }
}

/// A graph with its parameters in a context, which trains and evaluates.
#[derive(Debug, Clone)]
pub struct Network {
    body: Body,
    /// By slot, the parameters that do not learn; empty where all do.
    fixed: Arc<[bool]>,
    /// Whether gradients of the scales of quantisers are found.
    learns_scales: bool,
}

impl Network {
    /// A network from its parts: parameters, and a context or the device alone.
    ///
    /// # Errors
    /// When the parameters are not exactly those of the graph, or live on another device.
    pub fn new(graph: Graph, params: Params, context: impl Into<Context>) -> Result<Self> {
        Ok(Self {
            body: Body::new(Arc::new(graph), params, context.into())?,
            fixed: Arc::default(),
            learns_scales: false,
        })
    }

    /// A network with weights as they are.
    ///
    /// # Errors
    /// When the weights do not fit the graph.
    pub fn from_weights(graph: Graph, weights: &Weights, context: impl Into<Context>) -> Result<Self> {
        let context = context.into();
        let params = Params::from_weights(&graph, weights, &context)?;
        Self::new(graph, params, context)
    }

    /// The same network for evaluation only.
    ///
    /// # Errors
    /// A device that failed, or weights that cannot be folded.
    pub fn freeze(&self) -> Result<Frozen> {
        Frozen::of(&self.body.graph, &self.body.params.to_weights()?, self.body.context.clone())
    }

    /// Lets the images between its operations be stored as `precision` says, which decides what
    /// their products are formed of. What goes in and comes out stays `f32`, and so do parameters
    /// and their gradients.
    pub fn set_precision(&mut self, precision: Precision) {
        self.body.set_precision(precision);
    }

    /// Lets parameters be constants of training: [`Network::backward`] finds no gradient of them,
    /// and a batch norm of which both scale and shift are fixed normalises with its running
    /// statistics, which stay as they are. Names that it does not have are passed over.
    pub fn fix(&mut self, names: &BTreeSet<String>) {
        let fixed: Vec<bool> = self.body.params.iter().map(|(name, ..)| names.contains(name)).collect();
        self.fixed = if fixed.contains(&true) { fixed.into() } else { Arc::default() };
    }

    /// Lets [`Network::backward`] find gradients of the scales of quantisers, too, unless they are
    /// fixed ([`Network::fix`]). They are constants of the graph: whoever moves them must keep what
    /// hangs together, such as a quantiser and those that read its numbers, together.
    pub fn learn_scales(&mut self) {
        self.learns_scales = true;
    }

    /// The graph: node ids in this interface are ids of this graph.
    pub fn graph(&self) -> &Graph {
        &self.body.graph
    }

    /// Where and how it runs.
    pub fn context(&self) -> &Context {
        &self.body.context
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        self.body.context.device()
    }

    /// Parameters and buffers.
    pub fn params(&self) -> &Params {
        &self.body.params
    }

    /// Parameters and buffers, for an optimiser or a checkpoint to change. Their slots stay as they
    /// are.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.body.params
    }

    /// Evaluation: running statistics, no dropout, nothing kept. `x` is `[N, C, H, W]`.
    ///
    /// # Errors
    /// When `x` does not fit, or a device failed.
    pub fn eval(&self, x: &Tensor, taps: &[NodeId]) -> Result<Outputs> {
        self.body.eval(x, taps)
    }

    /// Training: batch statistics, dropout drawn from `rng`; the running statistics follow the
    /// batch. The tape keeps what [`Network::backward`] needs and nothing else. `x` is
    /// `[N, C, H, W]`.
    ///
    /// # Errors
    /// When `x` does not fit, or a batch norm sees one value per channel.
    pub fn train(&mut self, x: &Tensor, taps: &[NodeId], rng: &mut Stream) -> Result<(Outputs, Tape)> {
        let (pass, tape) = self.body.forward(x, taps, &self.fixed, Mode::Train { rng, keep: true })?;
        forward::follow(&self.body.context, &mut self.body.params, &pass.statistics)?;
        Ok((pass.outputs, tape))
    }

    /// A forward pass exactly as PyTorch's `train()` mode does it (batch statistics, running
    /// statistics updated, dropout), with nothing kept for a backward pass: a teacher with
    /// `bn = "batch"`.
    ///
    /// # Errors
    /// As [`Network::train`].
    pub fn batch_stats(&mut self, x: &Tensor, taps: &[NodeId], rng: &mut Stream) -> Result<Outputs> {
        let (pass, _) = self.body.forward(x, taps, &[], Mode::Train { rng, keep: false })?;
        forward::follow(&self.body.context, &mut self.body.params, &pass.statistics)?;
        Ok(pass.outputs)
    }

    /// Carries gradients from the output and the taps of a training pass to the parameters, and to
    /// the input if it `wants_input`. Where a node is named twice its gradients add up. Frees the
    /// tape as it goes.
    ///
    /// # Errors
    /// When a gradient is for a node that was neither output nor tap, or has another shape than its
    /// value.
    pub fn backward(&self, tape: Tape, grads_out: Vec<(NodeId, Tensor)>, wants_input: bool) -> Result<Gradients> {
        let wants = if wants_input { Wants::Both } else { Wants::Params };
        let learns = Learns { fixed: &self.fixed, scales: self.learns_scales };
        backward::run(&self.body, tape, grads_out, learns, wants)
    }
}

/// Says at which node an operation failed.
fn at(graph: &Graph, id: NodeId, error: Error) -> Error {
    match error {
        Error::Tensor(_) => {
            attar_models::Error::Node { node: graph.node(id).name.clone(), problem: error.to_string() }.into()
        }
        other => other,
    }
}
