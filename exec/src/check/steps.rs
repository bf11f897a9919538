//! Steps of optimisers, the moving average, clipping; and whole networks, forward and backward.

use std::collections::BTreeMap;

use attar_models::Graph;
use attar_models::zoo::{self, NetworkSpec, Shortcut};
use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{BF16, Checks, DEEP, DEEP_GRADIENTS, DEEP_GRADIENTS_BF16, Named, ROUNDING, random};
use crate::error::Result;
use crate::network::Network;
use crate::optim::{Ema, OptimiserSpec, clip_global_norm};
use crate::params::Params;
use crate::precision::Precision;

fn graph(name: &str, size: usize, shortcut: Option<Shortcut>) -> Result<Graph> {
    let mut spec = NetworkSpec::new(name, 10, [3, size, size]);
    if let Some(shortcut) = shortcut {
        spec.options.set("shortcut", shortcut);
    }
    Ok(zoo::build(&spec)?)
}

/// Gradients for every second trained parameter; the others have none, and decay all the same.
fn gradients(params: &Params, seed: u64, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let chosen = params.trained().enumerate().filter(|(at, _)| at % 2 == 0);
    let gradient = |(at, (name, value, _)): (usize, (&str, &Tensor, _))| {
        Ok((name.to_owned(), random(value.dims(), 100 * seed + at as u64, device)?))
    };
    chosen.map(gradient).collect()
}

/// Everything in one tensor, by name.
fn flat(all: &BTreeMap<String, Tensor>) -> Result<Tensor> {
    let parts = all.values().map(|x| x.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_device(&Device::Cpu));
    Ok(Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
}

fn flat_params(params: &Params) -> Result<Tensor> {
    flat(&params.iter().map(|(name, value, _)| (name.to_owned(), value.clone())).collect())
}

pub(super) fn optimisers(checks: &mut Checks<'_>) -> Result<()> {
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
        checks.compare(op, case.trim_end(), ROUNDING, |device| {
            let (mut params, mut optimiser) = (Params::init(&graph, 1, "", device)?, spec.build()?);
            for step in 1..=3 {
                let gradients = gradients(&params, step, device)?;
                optimiser.step(&mut params, &gradients, 0.05)?;
            }
            let state = optimiser.state()?;
            let mut all = vec![("weights", flat_params(&params)?)];
            if !state.is_empty() {
                all.push(("state", flat(&state)?));
            }
            Ok(all)
        })?;
    }
    checks.compare("moving average", "two updates on resnet8", ROUNDING, |device| {
        let mut average = Ema::new(&Params::init(&graph, 1, "", device)?);
        for seed in [2, 3] {
            average.update(&Params::init(&graph, seed, "", device)?, 0.9)?;
        }
        Ok(vec![("", flat_params(average.params())?)])
    })?;
    for (most, case) in [(1.0, "above the limit"), (1e6, "below the limit")] {
        checks.compare("clip", case, ROUNDING, |device| {
            let mut gradients = gradients(&Params::init(&graph, 1, "", device)?, 1, device)?;
            let norm = clip_global_norm(&mut gradients, most)?;
            Ok(vec![("norm", Tensor::new(&[norm as f32], &Device::Cpu)?), ("gradients", flat(&gradients)?)])
        })?;
    }
    Ok(())
}

pub(super) fn networks(checks: &mut Checks<'_>) -> Result<()> {
    let cases = [
        ("resnet8", 16, Some(Shortcut::A)),
        ("resnet8x4", 32, None),
        ("mobilenet_v2", 64, None),
        ("resnet18", 64, None),
    ];
    for (name, size, shortcut) in cases {
        let graph = graph(name, size, shortcut)?;
        let case = format!("{name} of 4x3x{size}x{size}");
        let tolerance = by_depth(DEEP, DEEP_GRADIENTS);
        checks.compare_each("network", &case, tolerance, |device| pass(&graph, size, Precision::F32, device))?;
    }
    Ok(())
}

/// With images in `bf16`: on the device under check against the same on the CPU.
pub(super) fn bf16(checks: &mut Checks<'_>) -> Result<()> {
    let graph = graph("resnet8", 16, None)?;
    let pass = |device: &Device| pass(&graph, 16, Precision::Bf16, device);
    checks.compare_each("network bf16", "resnet8 of 4x3x16x16", by_depth(BF16, DEEP_GRADIENTS_BF16), pass)
}

/// The tolerance of a result of [`pass`]: logits pass no edge that could send them elsewhere, gradients do.
fn by_depth(logits: f64, gradients: f64) -> impl Fn(&str) -> f64 {
    move |name| if name.ends_with("logits") { logits } else { gradients }
}

/// A training pass and its gradients, then an evaluation with the running statistics that followed.
fn pass(graph: &Graph, size: usize, precision: Precision, device: &Device) -> Result<Named> {
    let mut network = Network::new(graph.clone(), Params::init(graph, 1, "", device)?, device)?;
    network.set_precision(precision);
    let x = random(&[4, 3, size, size], 1, device)?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (outputs, tape) = network.train(&x, &[], &mut rng)?;
    let dy = random(outputs.logits.dims(), 2, device)?;
    let gradients = network.backward(tape, vec![(graph.output(), dy)], true)?;
    let eval = network.eval(&x, &[])?.logits;
    let mut all = vec![("logits", outputs.logits), ("gradients", flat(&gradients.params)?), ("eval logits", eval)];
    all.extend(gradients.input.map(|dx| ("dx", dx)));
    Ok(all)
}
