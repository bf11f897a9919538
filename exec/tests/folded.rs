//! Frozen networks: taps by the ids of the graph before folding; and every small network of the zoo
//! runs.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

use attar_exec::{Frozen, Network, Params};
use attar_models::generated;
use attar_models::zoo::{NetworkSpec, build};
use candle_core::{Device, Tensor};

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Whether `got` lies within `share` of the standard deviation of `expected`.
fn agrees(got: &[f32], expected: &[f32], share: f32) -> bool {
    let n = expected.len() as f32;
    let mean = expected.iter().sum::<f32>() / n;
    let sd = (expected.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
    got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() <= share * sd)
}

#[test]
fn a_frozen_network_keeps_its_taps() {
    let graph = build(&NetworkSpec::new("resnet8", 10, [3, 16, 16])).unwrap();
    let weights = generated::weights(&graph, 1);
    let shape = [2, 3, 16, 16];
    let x = Tensor::from_vec(generated::input(shape, 1), &shape, &Device::Cpu).unwrap();
    let plain = Network::from_weights(graph.clone(), &weights, &Device::Cpu).unwrap();
    let folded = Frozen::new(graph.clone(), &weights, &Device::Cpu).unwrap();
    assert_eq!(folded.graph(), &graph);
    let taps = ["layer1", "layer2.0.bn1", "layer1.0.relu1", "fc"].map(|name| graph.tap(name).unwrap());
    let (a, b) = (plain.eval(&x, &taps).unwrap(), folded.eval(&x, &taps).unwrap());
    for (a, b) in a.taps.iter().zip(&b.taps) {
        assert!(agrees(&values(b), &values(a), 3e-5)); // what minimal filtering rounds
    }
    let message = folded.eval(&x, &[graph.tap("layer1.0.conv1").unwrap()]).unwrap_err().to_string();
    assert!(message.contains("layer1.0.conv1") && message.contains("hint: tap the batch norm"), "{message}");
    let same = plain.freeze().unwrap().eval(&x, &taps).unwrap();
    assert_eq!(values(&same.logits), values(&b.logits));
}

#[test]
fn fresh_parameters_make_every_network_run() {
    for entry in attar_models::zoo::catalog().into_iter().filter(|entry| entry.input[1] <= 32) {
        let graph = build(&entry.spec()).unwrap();
        let params = Params::init(&graph, 1, "", &Device::Cpu).unwrap();
        let [c, h, w] = entry.input;
        let x = Tensor::from_vec(generated::input([1, c, h, w], 1), &[1, c, h, w], &Device::Cpu).unwrap();
        let logits = values(&Network::new(graph, params, &Device::Cpu).unwrap().eval(&x, &[]).unwrap().logits);
        assert!(logits.iter().all(|v| v.is_finite()), "{}", entry.name);
    }
}
