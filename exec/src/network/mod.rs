//! A network that runs: a graph, its parameters, a device. Students, teachers and connectors are all of this kind.

mod backward;
mod forward;
mod plan;
pub mod profile;
mod tape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use attar_models::{Graph, NodeId, Op, Weights};
use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::params::Params;
use crate::precision::Precision;
use backward::Wants;
use forward::Mode;
use plan::{Fuse, Plan};
pub use tape::Tape;

/// A graph with its parameters on a device.
#[derive(Debug, Clone)]
pub struct Network {
    graph: Graph,
    params: Params,
    device: Device,
    folded: Option<Folded>,
    /// What images are stored as between operations.
    stored: DType,
    /// Names of the parameters that do not learn.
    frozen: Arc<BTreeSet<String>>,
}

/// The same network with batch norms folded into convolutions; it is what runs when it is there, on parameters of its
/// own.
#[derive(Debug, Clone)]
struct Folded {
    graph: Graph,
    /// Node of the folded graph for each node of the original; `None` where the value does not exist any more.
    ids: Vec<Option<NodeId>>,
}

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
    /// By parameter name, without prefix. A parameter that no gradient reached is absent.
    pub params: BTreeMap<String, Tensor>,
    /// Of the input `[N, C, H, W]`, if it was asked for and a gradient reached it.
    pub input: Option<Tensor>,
}

impl Network {
    /// A network from its parts.
    ///
    /// # Errors
    /// When the parameters are not exactly those of the graph, or live on another device.
    pub fn new(graph: Graph, params: Params, device: &Device) -> Result<Self> {
        for param in graph.params() {
            let tensor = params.get(&param.name)?;
            let problem = if tensor.dims() != param.shape {
                format!("has shape {:?}, expected {:?}", tensor.dims(), param.shape)
            } else if tensor.dtype() != DType::F32 {
                format!("has type {:?}, expected F32", tensor.dtype())
            } else if !tensor.device().same_device(device) {
                "lives on another device than the network".to_owned()
            } else {
                continue;
            };
            return Err(attar_models::Error::Node { node: param.name, problem }.into());
        }
        if let Some((name, ..)) = params.iter().find(|(name, ..)| !graph.params().any(|param| param.name == *name)) {
            let problem = format!("`{}` has no parameter of this name", graph.name());
            return Err(attar_models::Error::Node { node: name.to_owned(), problem }.into());
        }
        Ok(Self { graph, params, device: device.clone(), folded: None, stored: DType::F32, frozen: Arc::default() })
    }

    /// A network with weights as they are.
    ///
    /// # Errors
    /// When the weights do not fit the graph.
    pub fn from_weights(graph: Graph, weights: &Weights, device: &Device) -> Result<Self> {
        let params = Params::from_weights(&graph, weights, device)?;
        Self::new(graph, params, device)
    }

    /// A network for evaluation only, with its batch norms folded into the convolutions before them: fewer passes over
    /// memory, the same function up to rounding. [`Network::graph`] and all node ids stay those of the graph given.
    ///
    /// # Errors
    /// When the weights do not fit the graph.
    pub fn folded(graph: Graph, weights: &Weights, device: &Device) -> Result<Self> {
        let (small, weights) = attar_models::fold::fold_batch_norm(&graph, weights)?;
        let params = Params::from_weights(&small, &weights, device)?;
        let ids = folded_ids(&graph, &small);
        let folded = Some(Folded { graph: small, ids });
        Ok(Self { graph, params, device: device.clone(), folded, stored: DType::F32, frozen: Arc::default() })
    }

    /// Lets the images between its operations be stored as `precision` says, which decides what their products are formed
    /// of. What goes in and comes out stays `f32`, and so do parameters and their gradients.
    pub fn set_precision(&mut self, precision: Precision) {
        self.stored = match precision {
            Precision::F32 | Precision::Tf32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        };
    }

    /// Lets parameters be constants of training: [`Network::backward`] finds no gradient of them, and a batch norm of which both
    /// scale and shift are frozen normalises with its running statistics, which stay as they are.
    pub fn freeze(&mut self, names: BTreeSet<String>) {
        self.frozen = Arc::new(names);
    }

    /// The graph: node ids in this interface are ids of this graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Parameters and buffers; those of the folded graph if the network is folded.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Parameters and buffers, for an optimiser or a checkpoint to change.
    ///
    /// # Errors
    /// For a folded network, which cannot train.
    pub fn params_mut(&mut self) -> Result<&mut Params> {
        self.refuse_folded("its parameters cannot change")?;
        Ok(&mut self.params)
    }

    /// Evaluation: running statistics, no dropout, nothing kept. `x` is `[N, C, H, W]`.
    ///
    /// # Errors
    /// When `x` does not fit, or a tap does not exist in a folded network.
    pub fn eval(&self, x: &Tensor, taps: &[NodeId]) -> Result<Outputs> {
        let x = self.input(x)?;
        let pass = match &self.folded {
            None => {
                let plan = Plan::new(&self.graph, taps, Fuse::NormsAndConvolutions);
                forward::run(&self.graph, &self.params, &plan, taps, &x, self.stored, Mode::Eval { keep: false })?
            }
            Some(folded) => {
                let taps = taps.iter().map(|tap| self.folded_tap(folded, *tap)).collect::<Result<Vec<_>>>()?;
                let plan = Plan::new(&folded.graph, &taps, Fuse::NormsAndConvolutions);
                forward::run(&folded.graph, &self.params, &plan, &taps, &x, self.stored, Mode::Eval { keep: false })?
            }
        };
        Ok(pass.outputs)
    }

    /// Training: batch statistics, dropout drawn from `rng`; the running statistics follow the batch. The tape keeps
    /// what [`Network::backward`] needs and nothing else. `x` is `[N, C, H, W]`.
    ///
    /// # Errors
    /// When `x` does not fit, a batch norm sees one value per channel, or the network is folded.
    pub fn train(&mut self, x: &Tensor, taps: &[NodeId], rng: &mut ChaCha8Rng) -> Result<(Outputs, Tape)> {
        self.refuse_folded("it cannot train")?;
        let x = self.input(x)?;
        let batch = x.dims()[0];
        let plan = Plan::new(&self.graph, taps, Fuse::Norms).freezing(&self.frozen);
        let mode = Mode::Train { rng, keep: true };
        let pass = forward::run(&self.graph, &self.params, &plan, taps, &x, self.stored, mode)?;
        forward::follow(&self.graph, &mut self.params, &pass.statistics)?;
        Ok((pass.outputs, Tape { plan, saved: pass.saved, batch, stored: self.stored }))
    }

    /// A forward pass exactly as PyTorch's `train()` mode does it (batch statistics, running statistics updated,
    /// dropout), with nothing kept for a backward pass: a teacher with `bn = "batch"`.
    ///
    /// # Errors
    /// As [`Network::train`].
    pub fn batch_stats(&mut self, x: &Tensor, taps: &[NodeId], rng: &mut ChaCha8Rng) -> Result<Outputs> {
        self.refuse_folded("it has no batch norms to take batch statistics in")?;
        let x = self.input(x)?;
        let plan = Plan::new(&self.graph, taps, Fuse::Norms);
        let mode = Mode::Train { rng, keep: false };
        let pass = forward::run(&self.graph, &self.params, &plan, taps, &x, self.stored, mode)?;
        forward::follow(&self.graph, &mut self.params, &pass.statistics)?;
        Ok(pass.outputs)
    }

    /// The same network folded, sharing its tensors if it is folded already.
    ///
    /// # Errors
    /// A device that failed.
    pub fn folded_copy(&self) -> Result<Self> {
        match &self.folded {
            Some(_) => Ok(self.clone()),
            None => Self::folded(self.graph.clone(), &self.params.to_weights()?, &self.device),
        }
    }

    /// Gradient `[N, C, H, W]` in the batch `x`, in evaluation mode, of something whose gradient in the logits is `slope` of
    /// the logits; no parameter's gradient is computed.
    ///
    /// # Errors
    /// When `x` does not fit, the network is not folded, or it has a batch norm that does not fold.
    pub fn input_gradient<E: From<Error>>(
        &self,
        x: &Tensor,
        slope: &dyn Fn(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Tensor, E> {
        let Some(Folded { graph, .. }) = &self.folded else {
            let problem = format!("`{}` must be folded before it is attacked", self.graph.name());
            return Err(Error::Model(attar_models::Error::Setting { setting: "network", problem }).into());
        };
        let x = self.input(x)?;
        let batch = x.dims()[0];
        let plan = Plan::new(graph, &[], Fuse::Norms);
        let pass = forward::run(graph, &self.params, &plan, &[], &x, self.stored, Mode::Eval { keep: true })?;
        let ends = vec![(graph.output(), slope(&pass.outputs.logits)?)];
        let tape = Tape { plan, saved: pass.saved, batch, stored: self.stored };
        let found = backward::run(graph, &self.params, tape, ends, Wants::Input)?;
        let unreached = || Error::from(candle_core::Error::Msg("no gradient reaches the pixels".to_owned()));
        Ok(found.input.ok_or_else(unreached)?)
    }

    /// Carries gradients from the output and the taps of a training pass to the parameters, and to the input if it
    /// `wants_input`. Where a node is named twice its gradients add up. Frees the tape as it goes.
    ///
    /// # Errors
    /// When a gradient is for a node that was neither output nor tap, or has another shape than its value.
    pub fn backward(&self, tape: Tape, grads_out: Vec<(NodeId, Tensor)>, wants_input: bool) -> Result<Gradients> {
        let wants = if wants_input { Wants::Both } else { Wants::Params };
        backward::run(&self.graph, &self.params, tape, grads_out, wants)
    }

    /// Checks a batch and cuts it off from any Candle graph.
    fn input(&self, x: &Tensor) -> Result<Tensor> {
        let fits = x.dims().len() == 4 && x.dims()[0] > 0 && x.dims()[1..] == *self.graph.input_shape();
        let problem = if !fits {
            format!("expects a batch of {:?}, got {:?}", self.graph.input_shape(), x.dims())
        } else if x.dtype() != DType::F32 {
            format!("expects F32, got {:?}", x.dtype())
        } else if !x.device().same_device(&self.device) {
            "the batch lives on another device".to_owned()
        } else {
            return Ok(x.detach());
        };
        Err(attar_models::Error::Node { node: self.graph.node(self.graph.input()).name.clone(), problem }.into())
    }

    fn folded_tap(&self, folded: &Folded, tap: NodeId) -> Result<NodeId> {
        folded.ids[tap.index()].ok_or_else(|| {
            let node = self.graph.node(tap);
            let problem = if matches!(node.op, Op::Conv2d(_)) {
                "its batch norm is folded into it, so its own value does not exist\n  hint: tap the batch norm behind \
                 it, or run the network unfolded"
            } else {
                "does not exist in the folded network"
            };
            attar_models::Error::Node { node: node.name.clone(), problem: problem.to_owned() }.into()
        })
    }

    fn refuse_folded(&self, problem: &str) -> Result<()> {
        match self.folded {
            None => Ok(()),
            Some(_) => Err(Error::Model(attar_models::Error::Setting {
                setting: "network",
                problem: format!("`{}` has its batch norms folded away: {problem}", self.graph.name()),
            })),
        }
    }
}

/// Where each value of `graph` is found in `small`, its folded form: under the same name, except that a batch norm that
/// went into a convolution is that convolution's value now, and what the convolution gave before is gone.
fn folded_ids(graph: &Graph, small: &Graph) -> Vec<Option<NodeId>> {
    let by_name: BTreeMap<&str, NodeId> = small.iter().map(|(id, node)| (node.name.as_str(), id)).collect();
    let mut ids: Vec<Option<NodeId>> = vec![None; graph.nodes().len()];
    for (id, node) in graph.iter() {
        ids[id.index()] = by_name.get(node.name.as_str()).copied();
        if let (None, Some(conv)) = (ids[id.index()], node.inputs.first()) {
            ids[id.index()] = ids[conv.index()].take();
        }
    }
    ids
}
