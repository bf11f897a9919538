//! The optimisers against ten steps of PyTorch's, resumed after each, and what they refuse.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

use std::collections::BTreeMap;
use std::path::Path;

use attar_exec::ops::Backend;
use attar_exec::optim::{Ema, OptimiserSpec, Rates, clip_global_norm};
use attar_exec::{Params, Slots};
use attar_models::op::{BatchNorm2d, Conv2d, GlobalAvgPool, Linear};
use attar_models::{Array, Graph, GraphBuilder, Op, Weights};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde_json::Value;

const FIXTURE: &str = "../tests/fixtures/losses/optim.safetensors";

struct Fixture {
    tensors: BTreeMap<String, Tensor>,
    settings: BTreeMap<String, Value>,
}

impl Fixture {
    fn load() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURE);
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap().into_iter().collect();
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        let settings = metadata.into_iter().map(|(case, text)| (case, serde_json::from_str(&text).unwrap())).collect();
        Self { tensors, settings }
    }

    fn under(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let own = |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()));
        self.tensors.iter().filter_map(own).collect()
    }

    fn rate(&self, step: usize, case: &Value) -> f64 {
        self.settings["rates"][step].as_f64().unwrap() * case["scale"].as_f64().unwrap()
    }

    /// The parameters at the start; buffers as initialised.
    fn start(&self) -> Params {
        let mut params = Params::init(&graph(), 0, "", &Device::Cpu).unwrap();
        for (name, tensor) in self.under("start.") {
            params.set(&name, tensor).unwrap();
        }
        params
    }
}

/// The network whose parameters the fixture names.
fn graph() -> Graph {
    let (mut builder, x) = GraphBuilder::new("small", [3, 4, 4]).unwrap();
    let conv = builder.add("conv1", Op::Conv2d(Conv2d::square(3, 4, 3, 1, 1)), &[x]).unwrap();
    let norm =
        builder.add("bn1", Op::BatchNorm2d(BatchNorm2d { channels: 4, eps: 1e-5, momentum: 0.1 }), &[conv]).unwrap();
    let pool = builder.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[norm]).unwrap();
    let fc = builder
        .add("fc", Op::Linear(Linear { in_features: 4, out_features: 5, bias: true, quantized: false }), &[pool])
        .unwrap();
    builder.finish(fc)
}

/// Gradients by name, as the slots of `params`.
fn slots(params: &Params, named: BTreeMap<String, Tensor>) -> Slots {
    named.into_iter().map(|(name, tensor)| (params.id(&name).unwrap(), tensor)).collect()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn close(what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.elem_count(), expected.elem_count(), "{what}");
    for (got, expected) in numbers(got).iter().zip(numbers(expected)) {
        assert!((got - expected).abs() <= 2e-6 * expected.abs().max(1.0), "{what}: {got}, expected {expected}");
    }
}

fn spec(text: &str) -> OptimiserSpec {
    serde_json::from_str(text).unwrap()
}

#[test]
fn ten_steps_are_pytorchs_resumed_after_each() {
    let fixture = Fixture::load();
    let mut seen = 0;
    for (name, case) in fixture.settings.iter().filter(|(name, _)| *name != "rates") {
        let fresh = || spec(&case["optimiser"].to_string()).build().unwrap();
        let (mut params, mut optimiser) = (fixture.start(), fresh());
        let mut ema = Ema::new(&params);
        for step in 0..10 {
            let mut grads = slots(&params, fixture.under(&format!("grad{step}.")));
            if let Some(most) = case["clip"].as_f64() {
                let norm = clip_global_norm(Backend::Cpu, &mut grads, most).unwrap();
                let expected = numbers(&fixture.tensors[&format!("{name}.norm{step}")])[0];
                assert!((norm as f32 - expected).abs() < 1e-5, "{name}: {norm}, expected {expected}");
            }
            optimiser.step(Backend::Cpu, &mut params, &grads, fixture.rate(step, case)).unwrap();
            if let Some(decay) = case["ema"].as_f64() {
                ema.update(Backend::Cpu, &params, decay).unwrap();
            }
            for (param, expected) in fixture.under(&format!("{name}.after{}.", step + 1)) {
                close(&format!("{name} step {} {param}", step + 1), params.get(&param).unwrap(), &expected);
            }
            // Every step is followed by a resume: nothing may live outside the state.
            let (state, average) = (optimiser.state(&params).unwrap(), ema.state());
            optimiser = fresh();
            optimiser.load(&params, state).unwrap();
            ema = Ema::new(&fixture.start());
            ema.load(average).unwrap();
        }
        for (param, tensor, _) in params.trained() {
            close(&format!("{name} {param}"), tensor, &fixture.tensors[&format!("{name}.{param}")]);
            if let Some(expected) = fixture.tensors.get(&format!("{name}.average.{param}")) {
                close(&format!("{name} average {param}"), ema.params().get(param).unwrap(), expected);
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn clipping_scales_large_gradients_only() {
    let fixture = Fixture::load();
    let norms: Vec<f32> = fixture.under("sgd_clip_ema.norm").values().map(|norm| numbers(norm)[0]).collect();
    assert!(norms.iter().any(|n| *n < 11.5) && norms.iter().any(|n| *n > 11.5), "both sides: {norms:?}");
    let params = fixture.start();
    let before = slots(&params, fixture.under("grad0."));
    let mut grads = before.clone();
    clip_global_norm(Backend::Cpu, &mut grads, 1e6).unwrap();
    for (slot, grad) in grads.iter() {
        assert_eq!(numbers(grad), numbers(before.get(slot).unwrap()), "{}", params.name(slot));
    }
    let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let [a, b] = ["bn1.bias", "fc.bias"].map(|name| params.id(name).unwrap());
    let mut broken = Slots::from_iter([(a, tensor(&[f32::NAN, 1.0])), (b, tensor(&[3.0]))]);
    assert!(clip_global_norm(Backend::Cpu, &mut broken, 1.0).unwrap().is_nan());
    assert_eq!(numbers(broken.get(b).unwrap()), [3.0]);
}

#[test]
fn a_parameter_without_a_gradient_only_decays() {
    let fixture = Fixture::load();
    let (mut params, start) = (fixture.start(), fixture.start());
    let spared = r#"{"kind":"sgd","momentum":0.9,"weight_decay":0.1,"no_decay_norm_and_bias":true}"#;
    spec(spared).build().unwrap().step(Backend::Cpu, &mut params, &Slots::default(), 0.5).unwrap();
    close("fc.weight", params.get("fc.weight").unwrap(), &(start.get("fc.weight").unwrap() * 0.95).unwrap());
    for name in ["fc.bias", "bn1.weight", "bn1.running_var"] {
        assert_eq!(numbers(params.get(name).unwrap()), numbers(start.get(name).unwrap()), "{name}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (mut builder, x) = GraphBuilder::new("large", [64, 2, 2]).unwrap();
    let conv = builder.add("conv1", Op::Conv2d(Conv2d::square(64, 200, 3, 1, 1)), &[x]).unwrap();
    let large = builder.finish(conv);
    let values = |salt: f32| (0..200 * 64 * 9).map(|i| (i as f32 * 0.37 + salt).sin()).collect::<Vec<_>>();
    let run = || {
        let mut weights = Weights::default();
        weights.0.insert("conv1.weight".into(), Array::new(vec![200, 64, 3, 3], values(0.0)).unwrap());
        let mut params = Params::from_weights(&large, &weights, &Device::Cpu).unwrap();
        let mut sgd = spec(r#"{"kind":"sgd","momentum":0.9,"nesterov":true,"weight_decay":0.01}"#).build().unwrap();
        let mut norms = Vec::new();
        for step in 0..3 {
            let grad = Tensor::from_vec(values(step as f32 + 1.0), (200, 64, 3, 3), &Device::Cpu).unwrap();
            let mut grads = slots(&params, BTreeMap::from([("conv1.weight".to_owned(), grad)]));
            norms.push(clip_global_norm(Backend::Cpu, &mut grads, 1.0).unwrap().to_bits());
            sgd.step(Backend::Cpu, &mut params, &grads, 0.1).unwrap();
        }
        let bits: Vec<u32> = numbers(params.get("conv1.weight").unwrap()).iter().map(|v| v.to_bits()).collect();
        (norms, bits)
    };
    let with = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run);
    assert!(with(1) == with(3));
}

#[test]
fn a_copy_taken_before_a_step_stays_what_it_was() {
    let fixture = Fixture::load();
    let mut params = fixture.start();
    let copy = params.clone();
    let first = slots(&params, fixture.under("grad0."));
    spec(r#"{"kind":"adamw"}"#).build().unwrap().step(Backend::Cpu, &mut params, &first, 0.1).unwrap();
    assert_eq!(numbers(copy.get("fc.weight").unwrap()), numbers(&fixture.tensors["start.fc.weight"]));
    assert_ne!(numbers(params.get("fc.weight").unwrap()), numbers(&fixture.tensors["start.fc.weight"]));
}

#[test]
fn the_average_copies_buffers() {
    let params = Fixture::load().start();
    let mut ema = Ema::new(&params);
    let mut moved = params.clone();
    moved.set("bn1.running_mean", Tensor::full(3.0_f32, 4, &Device::Cpu).unwrap()).unwrap();
    moved.set("fc.bias", Tensor::full(3.0_f32, 5, &Device::Cpu).unwrap()).unwrap();
    ema.update(Backend::Cpu, &moved, 0.75).unwrap();
    assert_eq!(numbers(ema.params().get("bn1.running_mean").unwrap()), [3.0; 4]);
    let expected = ((params.get("fc.bias").unwrap() * 0.75).unwrap() + 0.75).unwrap();
    close("fc.bias", ema.params().get("fc.bias").unwrap(), &expected);
    let mut state = ema.state();
    state.remove("fc.bias");
    assert!(ema.load(state).unwrap_err().to_string().contains("`fc.bias`: is missing"));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let mut params = Fixture::load().start();
    let mut sgd = spec(r#"{"kind":"sgd","momentum":0.9}"#).build().unwrap();
    let one = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    for (name, expected) in [
        ("fc.bias", "node `fc.bias`: gradient of shape [1] for [5]"),
        ("bn1.running_mean", "node `bn1.running_mean`: a gradient for a buffer"),
    ] {
        let grads = slots(&params, BTreeMap::from([(name.to_owned(), one.clone())]));
        let message = sgd.step(Backend::Cpu, &mut params, &grads, 0.1).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let still: Vec<Option<f64>> = params.iter().map(|(name, ..)| (name != "fc.bias").then_some(1.0)).collect();
    let grads =
        slots(&params, BTreeMap::from([("fc.bias".to_owned(), Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap())]));
    let refused = sgd.step_at(Backend::Cpu, &mut params, &grads, &Rates::new(0.1, &still));
    assert!(refused.unwrap_err().to_string().contains("`fc.bias`: a gradient for a parameter that keeps still"));
    let mut load =
        |name: &str| sgd.load(&params, BTreeMap::from([(name.to_owned(), one.clone())])).unwrap_err().to_string();
    assert!(load("momentum.fc.bias").contains("optimiser state of shape [1] for [5]"));
    assert!(load("momentum.fc.biass").contains("did you mean `fc.bias`?"));
    let message = load("first.fc.bias");
    assert!(message.contains("first.fc.bias") && message.contains("was the optimiser changed?"), "{message}");
}

#[test]
fn what_keeps_still_neither_moves_nor_decays_and_factors_multiply_the_rate() {
    let fixture = Fixture::load();
    let (mut params, start) = (fixture.start(), fixture.start());
    let factor = |name: &str| match name {
        "fc.weight" => None,
        "conv1.weight" => Some(0.5),
        _ => Some(1.0),
    };
    let factors: Vec<Option<f64>> = params.iter().map(|(name, ..)| factor(name)).collect();
    let mut sgd = spec(r#"{"kind":"sgd","weight_decay":0.1}"#).build().unwrap();
    sgd.step_at(Backend::Cpu, &mut params, &Slots::default(), &Rates::new(0.5, &factors)).unwrap();
    for (name, share) in [("fc.weight", 1.0), ("conv1.weight", 0.975), ("fc.bias", 0.95)] {
        close(name, params.get(name).unwrap(), &(start.get(name).unwrap() * share).unwrap());
    }
}

#[test]
fn a_bad_setting_is_told_by_its_key() {
    for (text, expected) in [
        (r#"{"kind":"sgd","momentum":1.0}"#, "optimiser: momentum: 1 does not do"),
        (r#"{"kind":"sgd","nesterov":true}"#, "optimiser: nesterov"),
        (r#"{"kind":"sgd","weight_decay":-1.0}"#, "optimiser: weight_decay"),
        (r#"{"kind":"adamw","betas":[0.9,1.5]}"#, "optimiser: betas: 1.5"),
        (r#"{"kind":"adamw","eps":0.0}"#, "optimiser: eps"),
    ] {
        let message = spec(text).build().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    for (text, expected) in
        [(r#"{"kind":"sgd","momentun":0.9}"#, "unknown field `momentun`"), (r#"{"kind":"adam"}"#, "`sgd` or `adamw`")]
    {
        let message = serde_json::from_str::<OptimiserSpec>(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
