//! A network for evaluation only, with its batch norms folded into the convolutions before them:
//! fewer passes over memory, the same function up to rounding.

use std::sync::Arc;

use attar_models::{Graph, NodeId, Op, Weights};
use candle_core::{Device, Tensor};

use super::backward::{Learns, Wants};
use super::forward::Mode;
use super::tape::Tape;
use super::{Body, Outputs, backward};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::params::Params;
use crate::precision::Precision;

/// A folded network. Node ids in this interface are ids of the graph before folding.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// Before folding.
    original: Arc<Graph>,
    /// Where each value of `original` is found; `None` where it does not exist any more.
    moved: Arc<[Option<NodeId>]>,
    body: Body,
}

impl Frozen {
    /// The frozen form of a graph with these weights.
    ///
    /// # Errors
    /// When the weights do not fit the graph, or cannot be folded.
    pub fn new(graph: Graph, weights: &Weights, context: impl Into<Context>) -> Result<Self> {
        Self::of(&Arc::new(graph), weights, context.into())
    }

    pub(super) fn of(original: &Arc<Graph>, weights: &Weights, context: Context) -> Result<Self> {
        let folded = attar_models::fold::fold_batch_norm(original, weights)?;
        let params = Params::from_weights(&folded.graph, &folded.weights, &context)?;
        let body = Body::new(Arc::new(folded.graph), params, context)?;
        Ok(Self { original: Arc::clone(original), moved: folded.moved.into(), body })
    }

    /// Lets the images between its operations be stored as `precision` says; what goes in and comes
    /// out stays `f32`.
    pub fn set_precision(&mut self, precision: Precision) {
        self.body.set_precision(precision);
    }

    /// The graph before folding.
    pub fn graph(&self) -> &Graph {
        &self.original
    }

    /// Where and how it runs.
    pub fn context(&self) -> &Context {
        &self.body.context
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        self.body.context.device()
    }

    /// Parameters of the folded graph.
    pub fn params(&self) -> &Params {
        &self.body.params
    }

    /// Evaluation: nothing is kept. `x` is `[N, C, H, W]`.
    ///
    /// # Errors
    /// When `x` does not fit, or a tap does not exist any more.
    pub fn eval(&self, x: &Tensor, taps: &[NodeId]) -> Result<Outputs> {
        let taps = taps.iter().map(|tap| self.tap(*tap)).collect::<Result<Vec<_>>>()?;
        self.body.eval(x, &taps)
    }

    /// Gradient `[N, C, H, W]` in the batch `x` of something whose gradient in the logits is
    /// `slope` of the logits; no parameter's gradient is computed. A batch norm that does not fold
    /// is one by running statistics.
    ///
    /// # Errors
    /// When `x` does not fit, or what `slope` says.
    pub fn input_gradient<E: From<Error>>(
        &self,
        x: &Tensor,
        slope: &dyn Fn(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Tensor, E> {
        let (pass, tape) = self.body.forward(x, &[], &[], Mode::Eval { keep: true })?;
        let ends = vec![(self.body.graph.output(), slope(&pass.outputs.logits)?)];
        self.to_input(tape, ends).map_err(E::from)
    }

    /// [`Frozen::eval`] that keeps what [`Frozen::backward`] needs.
    ///
    /// # Errors
    /// As [`Frozen::eval`].
    pub fn forward(&self, x: &Tensor, taps: &[NodeId]) -> Result<(Outputs, Tape)> {
        let taps = taps.iter().map(|tap| self.tap(*tap)).collect::<Result<Vec<_>>>()?;
        let (pass, tape) = self.body.forward(x, &taps, &[], Mode::Eval { keep: true })?;
        Ok((pass.outputs, tape))
    }

    /// Gradient `[N, C, H, W]` in the batch of a [`Frozen::forward`] of something whose gradients in the
    /// values of nodes are these.
    ///
    /// # Errors
    /// A node that was no tap of that pass; a gradient of another shape; a device that failed.
    pub fn backward(&self, tape: Tape, gradients: Vec<(NodeId, Tensor)>) -> Result<Tensor> {
        let found = gradients.into_iter().map(|(tap, gradient)| Ok((self.tap(tap)?, gradient)));
        self.to_input(tape, found.collect::<Result<_>>()?)
    }

    fn to_input(&self, tape: Tape, ends: Vec<(NodeId, Tensor)>) -> Result<Tensor> {
        let found = backward::run(&self.body, tape, ends, Learns::default(), Wants::Input)?;
        let unreached = || candle_core::Error::Msg("no gradient reaches the pixels".to_owned());
        Ok(found.input.ok_or_else(unreached)?)
    }

    /// Where the value of a node of the graph before folding is found.
    fn tap(&self, tap: NodeId) -> Result<NodeId> {
        self.moved[tap.index()].ok_or_else(|| {
            let node = self.original.node(tap);
            let problem = if matches!(node.op, Op::Conv2d(_)) {
                "its batch norm is folded into it, so its own value does not exist\n  hint: tap the batch norm behind \
                 it, or run the network unfolded"
            } else {
                "does not exist in the folded network"
            };
            attar_models::Error::Node { node: node.name.clone(), problem: problem.to_owned() }.into()
        })
    }
}
