//! Steps of optimisers, the moving average, clipping; and whole networks, forward and backward.

use attar_measures::random::Stream;
use attar_models::op::Dropout;
use attar_models::zoo::{self, NetworkSpec, Shortcut};
use attar_models::{Graph, GraphBuilder, Op};
use candle_core::{Device, Tensor};

use super::{BF16, Checks, DEEP, DEEP_BF16, Named, ROUNDING, flat, missing, random};
use crate::context::Context;
use crate::error::Result;
use crate::network::Network;
use crate::optim::{Ema, OptimiserSpec, clip_global_norm};
use crate::params::{ParamId, Params, Slots};
use crate::precision::Precision;

fn graph(name: &str, size: usize, shortcut: Option<Shortcut>) -> Result<Graph> {
    let mut spec = NetworkSpec::new(name, 10, [3, size, size]);
    if let Some(shortcut) = shortcut {
        spec.options.set("shortcut", shortcut);
    }
    Ok(zoo::build(&spec)?)
}

/// Gradients for every second trained parameter; the others have none, and decay all the same.
fn gradients(params: &Params, seed: u64, at: &Context) -> Result<Slots> {
    let chosen = params.trained_slots().enumerate().filter(|(i, _)| i % 2 == 0);
    let gradient =
        |(i, slot): (usize, ParamId)| Ok((slot, random(params.value(slot).dims(), 100 * seed + i as u64, at)?));
    chosen.map(gradient).collect()
}

/// `graph` without edges at which a gradient jumps: activations do nothing, maxima are means.
fn smooth(graph: &Graph) -> Result<Graph> {
    let [c, h, w] = *graph.input_shape() else {
        return Err(missing("an input of three axes"));
    };
    let (mut builder, input) = GraphBuilder::new(graph.name(), [c, h, w])?;
    let mut moved = vec![input];
    for (_, node) in graph.iter().skip(1) {
        let op = match &node.op {
            Op::Activation(_) => Op::Dropout(Dropout { p: 0.0 }),
            Op::MaxPool2d(pool) => Op::AvgPool2d(pool.clone()),
            other => other.clone(),
        };
        let inputs: Vec<_> = node.inputs.iter().map(|input| moved[input.index()]).collect();
        moved.push(builder.add(node.name.as_str(), op, &inputs)?);
    }
    Ok(builder.finish(moved[graph.output().index()]))
}

fn flat_params(params: &Params) -> Result<Tensor> {
    flat(params.iter().map(|(_, value, _)| value))
}

pub(super) fn optimisers(checks: &mut Checks) -> Result<()> {
    let sgd = |momentum, nesterov| OptimiserSpec::Sgd {
        momentum,
        nesterov,
        weight_decay: 5e-2,
        no_decay_norm_and_bias: nesterov,
    };
    let adamw =
        OptimiserSpec::AdamW { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.05, no_decay_norm_and_bias: true };
    let graph = graph("resnet8", 8, None)?;
    let kinds = [("sgd", "plain", sgd(0.0, false)), ("sgd", "momentum", sgd(0.9, false))];
    for (op, case, spec) in kinds.into_iter().chain([("sgd", "nesterov", sgd(0.9, true)), ("adamw", "", adamw)]) {
        let case = format!("three steps on resnet8 {case}");
        checks.compare(op, case.trim_end(), ROUNDING, |at| {
            let (mut params, mut optimiser) = (Params::init(&graph, 1, "", at)?, spec.build()?);
            for step in 1..=3 {
                let gradients = gradients(&params, step, at)?;
                optimiser.step(at.backend(), &mut params, &gradients, 0.05)?;
            }
            let state = optimiser.state(&params)?;
            let mut all = vec![("weights", flat_params(&params)?)];
            if !state.is_empty() {
                all.push(("state", flat(state.values())?));
            }
            Ok(all)
        })?;
    }
    checks.compare("moving average", "two updates on resnet8", ROUNDING, |at| {
        let mut average = Ema::new(&Params::init(&graph, 1, "", at)?);
        for seed in [2, 3] {
            average.update(at.backend(), &Params::init(&graph, seed, "", at)?, 0.9)?;
        }
        Ok(vec![("", flat_params(average.params())?)])
    })?;
    for (most, case) in [(1.0, "above the limit"), (1e6, "below the limit")] {
        checks.compare("clip", case, ROUNDING, |at| {
            let mut gradients = gradients(&Params::init(&graph, 1, "", at)?, 1, at)?;
            let norm = clip_global_norm(at.backend(), &mut gradients, most)?;
            Ok(vec![
                ("norm", Tensor::new(&[norm as f32], &Device::Cpu)?),
                ("gradients", flat(gradients.iter().map(|(_, gradient)| gradient))?),
            ])
        })?;
    }
    Ok(())
}

pub(super) fn networks(checks: &mut Checks) -> Result<()> {
    let cases = [
        ("resnet8", 16, Some(Shortcut::A)),
        ("resnet8x4", 32, None),
        ("mobilenet_v2", 64, None),
        ("resnet18", 64, None),
    ];
    for (name, size, shortcut) in cases {
        let graph = graph(name, size, shortcut)?;
        let case = format!("{name} of 4x3x{size}x{size}");
        checks.compare("network", &case, DEEP, |at| answers(&graph, size, Precision::F32, at))?;
        let smooth = smooth(&graph)?;
        checks.compare("network", &case, DEEP, |at| gradients_of(&smooth, size, Precision::F32, at))?;
    }
    Ok(())
}

/// With images in `bf16`: on the device under check against the same on the CPU.
pub(super) fn bf16(checks: &mut Checks) -> Result<()> {
    let graph = graph("resnet8", 16, None)?;
    let (case, smooth) = ("resnet8 of 4x3x16x16", smooth(&graph)?);
    checks.compare("network bf16", case, BF16, |at| answers(&graph, 16, Precision::Bf16, at))?;
    checks.compare("network bf16", case, DEEP_BF16, |at| gradients_of(&smooth, 16, Precision::Bf16, at))
}

/// A training pass, then an evaluation with the running statistics that followed.
fn answers(graph: &Graph, size: usize, precision: Precision, at: &Context) -> Result<Named> {
    let (mut network, x) = network(graph, size, precision, at)?;
    let (outputs, _) = network.train(&x, &[], &mut Stream::of_number(1))?;
    Ok(vec![("logits", outputs.logits), ("eval logits", network.eval(&x, &[])?.logits)])
}

/// What a training pass finds on its way back. Of a graph without edges: where there are some,
/// values near them fall on either side, and gradients are as far apart as that, whoever computes
/// them.
fn gradients_of(graph: &Graph, size: usize, precision: Precision, at: &Context) -> Result<Named> {
    let (mut network, x) = network(graph, size, precision, at)?;
    let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(1))?;
    let dy = random(outputs.logits.dims(), 2, at)?;
    let found = network.backward(tape, vec![(graph.output(), dy)], true)?;
    let gradients = flat(found.params.iter().map(|(_, gradient)| gradient))?;
    Ok(vec![("gradients", gradients), ("dx", found.input.ok_or_else(|| missing("the gradient of the input"))?)])
}

fn network(graph: &Graph, size: usize, precision: Precision, at: &Context) -> Result<(Network, Tensor)> {
    let mut network = Network::new(graph.clone(), Params::init(graph, 1, "", at)?, at)?;
    network.set_precision(precision);
    Ok((network, random(&[4, 3, size, size], 1, at)?))
}
