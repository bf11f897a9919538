//! The forward pass: step by step, freeing values after their last use.

use attar_models::op::{BatchNorm2d, Dropout, Linear, PadChannels, Subsample};
use attar_models::{Activation, Graph, NodeId, Op};
use candle_core::{DType, Tensor};
use rand_chacha::ChaCha8Rng;

use super::Outputs;
use super::plan::{Plan, Step};
use super::profile::{self, Pass as Way};
use super::tape::{Saved, as_stored};
use crate::error::{Error, Result};
use crate::ops::{self, BatchStats};
use crate::params::Params;

/// How batch norms and dropouts behave.
pub(super) enum Mode<'a> {
    /// Running statistics, no dropout; `keep` what backward needs or not.
    Eval { keep: bool },
    /// Batch statistics and dropout; `keep` what backward needs or not.
    Train { rng: &'a mut ChaCha8Rng, keep: bool },
}

/// What a forward pass leaves.
pub(super) struct Pass {
    pub(super) outputs: Outputs,
    /// One entry per step if they were to be kept.
    pub(super) saved: Vec<Saved>,
    /// Of each batch norm that ran, in training.
    pub(super) statistics: Vec<(NodeId, BatchStats)>,
}

/// Runs `plan`, which was made for `taps`, with images stored as `stored`.
#[allow(clippy::too_many_arguments)] // a network's parts and what is asked of it
pub(super) fn run(
    graph: &Graph,
    params: &Params,
    plan: &Plan,
    taps: &[NodeId],
    x: &Tensor,
    stored: DType,
    mut mode: Mode<'_>,
) -> Result<Pass> {
    let mut values: Vec<Option<Tensor>> = vec![None; graph.nodes().len()];
    let mut saved = Vec::new();
    let mut statistics = Vec::new();
    values[graph.input().index()] = Some(as_stored(x, stored)?);
    for step in &plan.steps {
        let inputs = step.inputs(graph).map(|id| value(graph, &values, id)).collect::<Result<Vec<_>>>()?;
        let begun = profile::start();
        let still = plan.is_still(graph.node(step.node));
        let (y, keeps) =
            apply(graph, params, step, &inputs, still, &mut mode).map_err(|error| at(graph, step.node, error))?;
        let y = as_stored(&y, stored)?;
        let way = if let Mode::Train { .. } = mode { Way::Forward } else { Way::Eval };
        profile::stop(begun, way, graph.node(step.node), &y, [&y])?;
        drop(inputs);
        if let (Saved::Norm { stats, .. }, Mode::Train { .. }) = (&keeps, &mode) {
            statistics.push((step.node, stats.clone()));
        }
        if let Mode::Train { keep: true, .. } | Mode::Eval { keep: true } = mode {
            saved.push(keeps);
        }
        values[step.output.index()] = Some(y);
        for id in &step.frees {
            values[id.index()] = None;
        }
    }
    let out = |id: NodeId| ops::convert(&value(graph, &values, id)?, DType::F32);
    let logits = out(graph.output())?;
    let taps = taps.iter().map(|id| out(*id)).collect::<Result<_>>()?;
    Ok(Pass { outputs: Outputs { logits, taps }, saved, statistics })
}

/// Lets the running statistics follow the batch: `running += momentum * (batch - running)`, the variance unbiased.
pub(super) fn follow(graph: &Graph, params: &mut Params, statistics: &[(NodeId, BatchStats)]) -> Result<()> {
    let mut followed = Vec::with_capacity(2 * statistics.len());
    for (id, stats) in statistics {
        let node = graph.node(*id);
        let Op::BatchNorm2d(BatchNorm2d { momentum, .. }) = node.op else { continue };
        followed.push((momentum, format!("{}.running_mean", node.name), &stats.mean));
        followed.push((momentum, format!("{}.running_var", node.name), &stats.unbiased_variance));
    }
    // Nearly always one group, and on CUDA one launch.
    for alike in followed.chunk_by(|(a, ..), (b, ..)| a == b) {
        let pairs = alike.iter().map(|(_, name, batch)| Ok((params.get(name)?, *batch))).collect::<Result<Vec<_>>>()?;
        let next = ops::mix(&pairs, 1.0 - alike[0].0)?;
        for ((_, name, _), value) in alike.iter().zip(next) {
            params.set(name, value)?;
        }
    }
    Ok(())
}

/// Says at which node an operation failed.
pub(super) fn at(graph: &Graph, id: NodeId, error: Error) -> Error {
    match error {
        Error::Tensor(_) => {
            attar_models::Error::Node { node: graph.node(id).name.clone(), problem: error.to_string() }.into()
        }
        other => other,
    }
}

fn value(graph: &Graph, values: &[Option<Tensor>], id: NodeId) -> Result<Tensor> {
    values[id.index()].clone().ok_or_else(|| {
        let problem = "its value is not there".to_owned();
        attar_models::Error::Node { node: graph.node(id).name.clone(), problem }.into()
    })
}

/// One step: its value, and what its gradient will need. A batch norm that is `still` has running statistics in training.
fn apply(
    graph: &Graph,
    params: &Params,
    step: &Step,
    inputs: &[Tensor],
    still: bool,
    mode: &mut Mode<'_>,
) -> Result<(Tensor, Saved)> {
    let node = graph.node(step.node);
    let param = |suffix: &str| params.get(&format!("{}.{suffix}", node.name));
    let bias = |there: bool| if there { param("bias").map(Some) } else { Ok(None) };
    let Some(x) = inputs.first() else { return Err(candle_core::Error::Msg("reads nothing".to_owned()).into()) };
    Ok(match &node.op {
        Op::Input(_) => (x.clone(), Saved::Nothing),
        Op::Conv2d(conv) => {
            let tail = ops::Tail { residual: inputs.get(1), activation: step.activation.map(ops::clamp) };
            (ops::conv2d(conv, x, param("weight")?, bias(conv.bias)?, tail)?, Saved::Input(x.clone()))
        }
        Op::BatchNorm2d(BatchNorm2d { eps, .. }) => {
            let affine = ops::Affine { weight: param("weight")?, bias: param("bias")? };
            let tail = ops::Tail { residual: inputs.get(1), activation: step.activation.map(ops::clamp) };
            if still || matches!(mode, Mode::Eval { .. }) {
                let running = (param("running_mean")?, param("running_var")?);
                let y = ops::batch_norm_eval(x, affine, running, *eps, tail)?;
                let keeps = match mode {
                    Mode::Train { keep: true, .. } => Saved::Still { activated: step.activation.map(|_| y.clone()) },
                    _ => Saved::Nothing,
                };
                (y, keeps)
            } else {
                let (y, stats) = ops::batch_norm_train(x, affine, *eps, tail)?;
                let activated = step.activation.map(|_| y.clone());
                (y, Saved::Norm { x: x.clone(), stats, activated })
            }
        }
        Op::Activation(activation) => activated(*activation, x)?,
        Op::Add(_) => (ops::add(x, inputs.get(1).unwrap_or(x))?, Saved::Nothing),
        Op::Subsample(Subsample { stride }) => (ops::subsample(x, *stride)?, Saved::Nothing),
        Op::PadChannels(PadChannels { before, after }) => (ops::pad_channels(x, *before, *after)?, Saved::Nothing),
        Op::MaxPool2d(pool) => {
            let (y, argmax) = ops::max_pool2d(pool, x)?;
            (y, Saved::Argmax(argmax))
        }
        Op::AvgPool2d(pool) => (ops::avg_pool2d(pool, x)?, Saved::Nothing),
        Op::GlobalAvgPool(_) => (ops::global_avg_pool(x)?, Saved::Nothing),
        Op::Flatten(_) => (x.flatten_from(1)?, Saved::Nothing),
        Op::Dropout(Dropout { p }) => match mode {
            Mode::Train { rng, .. } if *p > 0.0 => {
                let mask = ops::dropout_mask(x.dims(), *p, rng, x.device())?.to_dtype(x.dtype())?;
                ((x * &mask)?, Saved::Mask(mask))
            }
            _ => (x.clone(), Saved::Nothing),
        },
        Op::Linear(Linear { bias: there, .. }) => {
            (ops::linear(x, param("weight")?, bias(*there)?)?, Saved::Input(x.clone()))
        }
    })
}

fn activated(activation: Activation, x: &Tensor) -> Result<(Tensor, Saved)> {
    let y = ops::activate(ops::clamp(activation), x)?;
    Ok((y.clone(), Saved::Output(y)))
}
