//! Networks of torchvision and timm as PyTorch's two exporters write them, and of Keras as tf2onnx does: read, run, written
//! again, trained.
//!
//! Every graph is read; the small ones are run in this suite, all of them by `cargo xtask onnx-zoo`.

mod quantised;
mod seeded;

use std::path::Path;

use attar_distill::Network;
use attar_exec::Params;
use attar_infer::engine::{self, EngineKind, EngineSpec};
use attar_measures::random::Stream;
use attar_models::{Graph, Weights, generated};
use attar_onnx::{Import, Options, ReadOptions, read, write};
use candle_core::{Device, Tensor};

use crate::support::require_ort;
use seeded::graphs;

/// The twelve of PyTorch's of the fewest multiply-accumulates whose every operation is known, and three of Keras's.
const SMALL: [&str; 15] = [
    "tinynet_e",
    "lcnet_050",
    "mobilenet_v3_small",
    "ghostnet_100",
    "shufflenet_v2_x1_0",
    "mobilenetv4_conv_small",
    "mobilenet_v3_large",
    "hardcorenas_a",
    "mobilenet_v2",
    "mnasnet1_0",
    "squeezenet1_1",
    "efficientnet_lite0",
    "keras_small",
    "keras_mobilenet_v2",
    "keras_mobilenet_v3_small",
];

/// Networks that are no graph here: attention is not among its operations. They can be teachers all the same.
const NOT_KNOWN: [&str; 2] = ["vit_tiny_patch16_224", "deit_tiny_patch16_224"];

/// Largest difference of a logit, as a share of the logits' standard deviation.
const TOLERANCE: f64 = 1e-4;

fn is_full() -> bool {
    std::env::var_os("ATTAR_ONNX_ZOO").is_some()
}

fn import(name: &str, bytes: &[u8]) -> Import {
    read(bytes, Path::new(name), ReadOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_graph_is_read_and_both_exporters_mean_the_same() {
    let mut parameters = std::collections::BTreeMap::new();
    for graph in graphs() {
        let (network, exporter) = graph.parts();
        let found = import(&graph.name, &graph.filled());
        if NOT_KNOWN.contains(&network) {
            assert!(found.network.is_none() && !found.obstacles.is_empty(), "{network} is known by now");
            assert!(found.operations.len() > 300, "{network}: {}", found.operations.len());
            continue;
        }
        let said: Vec<String> = found.obstacles.iter().map(ToString::to_string).collect();
        let (graph, _) = found.network.unwrap_or_else(|| panic!("{network}.{exporter}: {said:?}"));
        let stages = if network == "keras_small" { 1 } else { 3 };
        assert!(
            said.is_empty() && graph.stages().len() >= stages,
            "{network}.{exporter}: {said:?} {:?}",
            graph.stages()
        );
        let stages: Vec<_> = graph.stages().iter().map(|(_, id)| graph.node(*id).shape.clone()).collect();
        // Both exporters, norms kept or folded, come to the same sizes and multiply-accumulates.
        let facts = (graph.macs(), graph.output_shape().to_vec(), stages);
        let first = parameters.entry(network.to_owned()).or_insert_with(|| facts.clone());
        assert_eq!(*first, facts, "{network}.{exporter}");
    }
    assert_eq!(parameters.len(), 37);
}

#[test]
fn networks_of_others_are_run_written_again_and_trained() {
    if !require_ort("onnx_zoo") {
        return;
    }
    let (mut failures, mut seen) = (Vec::new(), 0);
    println!("| network | exporter | nodes | parameters | MACs | difference | written again | loss | runs in |");
    println!("|---|---|---:|---:|---:|---:|---:|---|---|");
    for graph in graphs() {
        let (network, exporter) = graph.parts();
        // In this suite one exporter each, by turns; the full run has all.
        let turn = if network.len() % 2 == 0 { "script" } else { "dynamo" };
        if NOT_KNOWN.contains(&network)
            || (!is_full() && (!SMALL.contains(&network) || ![turn, "tf2onnx"].contains(&exporter)))
        {
            continue;
        }
        match check(&graph.name, &graph.filled()) {
            Ok(row) => {
                seen += 1;
                println!("| {network} | {exporter} | {row}");
            }
            Err(problem) => failures.push(format!("{}: {problem}", graph.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(is_full() || seen == SMALL.len(), "{seen} of the small networks are there");
}

/// A row of the table, or what is wrong.
fn check(name: &str, bytes: &[u8]) -> Result<String, String> {
    let (graph, weights) = import(name, bytes).network.ok_or("is not known")?;
    let [c, h, w] = <[usize; 3]>::try_from(graph.input_shape()).unwrap();
    let x = generated::input([2, c, h, w], 3);
    let expected = answers(EngineKind::Ort, bytes, &x)?;
    let spread = deviation(&expected);
    let ours = executed(&graph, &weights, &x);
    let share = largest_difference(&ours, &expected) / spread;
    if share.is_nan() || share > TOLERANCE {
        return Err(format!("differs from ONNX Runtime by {share:.1e} of the spread {spread:.3}"));
    }
    let again = write(&graph, &weights, &Options::default()).map_err(|error| error.to_string())?;
    let share_again = largest_difference(&answers(EngineKind::Ort, &again, &x)?, &expected) / spread;
    if share_again.is_nan() || share_again > TOLERANCE {
        return Err(format!("written again it differs by {share_again:.1e} of the spread"));
    }
    let reread = import(name, &again).network.ok_or("is not known once it is written again")?;
    if reread.0.macs() != graph.macs() || reread.0.parameter_count() != graph.parameter_count() {
        return Err("is another network once it is written and read again".to_owned());
    }
    if EngineKind::Attar.compiled() {
        let share = largest_difference(&answers(EngineKind::Attar, bytes, &x)?, &expected) / spread;
        if share.is_nan() || share > TOLERANCE {
            return Err(format!("in attar it differs by {share:.1e} of the spread"));
        }
    }
    let tract = match answers(EngineKind::Tract, &again, &x) {
        Ok(found) if largest_difference(&found, &expected) / spread <= 10.0 * TOLERANCE => "ort, tract".to_owned(),
        Ok(found) => format!("ort; tract differs by {:.1e}", largest_difference(&found, &expected) / spread),
        Err(problem) => format!("ort; not tract: {}", problem.lines().next().unwrap_or_default()),
    };
    let losses = trained(&graph, &weights, if is_full() { 20 } else { 3 })?;
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    if last.is_nan() || last >= first {
        return Err(format!("its loss does not fall: {losses:?}"));
    }
    Ok(format!(
        "{} | {} | {} | {share:.1e} | {share_again:.1e} | {first:.2} to {last:.2} | {tract} |",
        graph.nodes().len(),
        attar::table::si(graph.parameter_count() as f64),
        attar::table::si(graph.macs() as f64),
    ))
}

fn answers(kind: EngineKind, bytes: &[u8], x: &[f32]) -> Result<Vec<f32>, String> {
    let mut engine =
        engine::open(&EngineSpec::new(kind), bytes, Path::new("model.onnx")).map_err(|error| error.to_string())?;
    engine.run(x, 2).map_err(|error| error.to_string())
}

fn executed(graph: &Graph, weights: &Weights, x: &[f32]) -> Vec<f32> {
    let shape = [&[2], graph.input_shape()].concat();
    let network = Network::from_weights(graph.clone(), weights, &Device::Cpu).unwrap();
    let x = Tensor::from_slice(x, shape, &Device::Cpu).unwrap();
    network.eval(&x, &[]).unwrap().logits.flatten_all().unwrap().to_vec1().unwrap()
}

/// Losses before and after each of a few steps on the same eight noisy images of as many classes.
fn trained(graph: &Graph, weights: &Weights, steps: usize) -> Result<Vec<f64>, String> {
    const IMAGES: usize = 8;
    let params = Params::from_weights(graph, weights, &Device::Cpu).map_err(|error| error.to_string())?;
    let mut network = Network::new(graph.clone(), params, &Device::Cpu).map_err(|error| error.to_string())?;
    let [c, h, w] = <[usize; 3]>::try_from(graph.input_shape()).unwrap();
    let x = Tensor::from_vec(generated::input([IMAGES, c, h, w], 5), (IMAGES, c, h, w), &Device::Cpu).unwrap();
    let mut losses = Vec::new();
    for step in 0..=steps {
        let (outputs, tape) =
            network.train(&x, &[], &mut Stream::of_number(step as u64)).map_err(|error| error.to_string())?;
        let rows: Vec<Vec<f32>> = outputs.logits.to_vec2().unwrap();
        let mut slope = Vec::new();
        let mut loss = 0.0;
        for (label, row) in rows.iter().enumerate() {
            let logs = attar_measures::log_softmax(row);
            loss -= logs[label] / IMAGES as f64;
            slope.extend(
                logs.iter()
                    .enumerate()
                    .map(|(class, log)| ((log.exp() - f64::from(u8::from(class == label))) / IMAGES as f64) as f32),
            );
        }
        losses.push(loss);
        if step == steps {
            break;
        }
        let slope = Tensor::from_vec(slope, outputs.logits.dims(), &Device::Cpu).unwrap();
        let gradients =
            network.backward(tape, vec![(graph.output(), slope)], false).map_err(|error| error.to_string())?;
        step_down(&mut network, &gradients.params).map_err(|error| error.to_string())?;
    }
    Ok(losses)
}

/// A step against the gradient, of each parameter by a thousandth of its size, whatever the scale of the gradients.
fn step_down(network: &mut Network, gradients: &attar_exec::Slots) -> attar_exec::Result<()> {
    let size =
        |x: &Tensor| -> attar_exec::Result<f64> { Ok(f64::from(x.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt()) };
    for (slot, gradient) in gradients.iter() {
        let value = network.params().value(slot).clone();
        let rate = 1e-3 * size(&value)? / size(gradient)?.max(1e-12);
        network.params_mut().replace(slot, (value - (gradient * rate)?)?)?;
    }
    Ok(())
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, |max, d| if d.is_nan() { d } else { max.max(d) })
}

fn deviation(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}
