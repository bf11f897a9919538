//! Every operation alone, written as ONNX, in every runtime: what the exporter makes of it is what the trainer computes.

use std::path::Path;

use attar_distill::{Network, check};
use attar_infer::engine::{self, EngineKind, EngineSpec};
use attar_models::op::Linear;
use attar_models::{Graph, GraphBuilder, NodeId, Op, generated};
use attar_onnx::{Options, ReadOptions, SUPPORTED_OPSETS, read, write};
use candle_core::{Device, Tensor};

use crate::support::require_ort;

/// Largest difference, in units of the largest value.
const TOLERANCE: f32 = 1e-5;

/// The same network with a linear layer at its end, so that it answers with logits whatever the operation does.
fn with_head(graph: &Graph) -> Graph {
    let input = <[usize; 3]>::try_from(graph.input_shape()).unwrap();
    let (mut builder, x) = GraphBuilder::new(graph.name(), input).unwrap();
    let mut moved = vec![x];
    for node in &graph.nodes()[1..] {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|id| moved[id.index()]).collect();
        moved.push(builder.add(node.name.as_str(), node.op.clone(), &inputs).unwrap());
    }
    let features = graph.output_shape()[0];
    let head = Op::Linear(Linear { in_features: features, out_features: 5, bias: true, quantized: false });
    let end = builder.add("head", head, &[moved[graph.output().index()]]).unwrap();
    builder.finish(end)
}

/// What the executor answers with the network that the file is read as.
fn read_back(onnx: &[u8], batch: &Tensor) -> Result<Vec<f32>, String> {
    let import = read(onnx, Path::new("model.onnx"), ReadOptions::default()).map_err(|error| error.to_string())?;
    let (graph, weights) = import.network.ok_or_else(|| format!("{:?}", import.obstacles))?;
    let network = Network::from_weights(graph, &weights, &Device::Cpu).map_err(|error| error.to_string())?;
    let logits = network.eval(batch, &[]).map_err(|error| error.to_string())?.logits;
    Ok(logits.flatten_all().unwrap().to_vec1().unwrap())
}

/// What the engine `attar` refuses by the name of its node: 8-bit numbers that are computed with as they are.
const UNKNOWN_TO_ATTAR: [&str; 2] = ["quantize", "quantize-signed"];

#[test]
fn every_operation_is_exported_read_back_and_answers_alike_everywhere() {
    let ort = EngineKind::Ort.compiled() && require_ort("operations");
    let kinds = EngineKind::ALL.into_iter().filter(|kind| kind.compiled() && (ort || *kind != EngineKind::Ort));
    let engines: Vec<EngineSpec> = kinds.map(EngineSpec::new).collect();
    let mut failures = Vec::new();
    for (name, graph) in check::examples().unwrap() {
        let graph = with_head(&graph);
        let weights = generated::weights(&graph, 3);
        let [c, h, w] = <[usize; 3]>::try_from(graph.input_shape()).unwrap();
        let x = generated::input([2, c, h, w], 1);
        let batch = Tensor::from_slice(&x, (2, c, h, w), &Device::Cpu).unwrap();
        let network = Network::from_weights(graph.clone(), &weights, &Device::Cpu).unwrap();
        let expected = network.eval(&batch, &[]).unwrap().logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let largest = expected.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        // The oldest operator set, in which some operations are written out, the usual one, and the newest.
        for opset in [*SUPPORTED_OPSETS.start(), Options::default().opset, *SUPPORTED_OPSETS.end()] {
            let case = format!("{name} by operator set {opset}");
            let onnx = match write(&graph, &weights, &Options { opset, ..Options::default() }) {
                Ok(onnx) => onnx,
                Err(error) => {
                    failures.push(format!("{case} has no ONNX: {error}"));
                    continue;
                }
            };
            let mut judge = |by: &str, answer: Result<Vec<f32>, String>| match answer {
                Ok(got) => {
                    assert_eq!(got.len(), expected.len(), "{case} {by}");
                    let differences = got.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                    let apart = differences.fold(0.0f32, |max, d| if d > max || d.is_nan() { d } else { max });
                    if apart.is_nan() || apart > TOLERANCE * largest || largest == 0.0 {
                        failures.push(format!("{case} {by}: {apart:e} apart of up to {largest:e}"));
                    }
                }
                Err(error) => failures.push(format!("{case} {by}: {error}")),
            };
            for spec in &engines {
                let answer =
                    engine::open(spec, &onnx, Path::new("model.onnx")).and_then(|mut engine| engine.run(&x, 2));
                let answer = answer.map_err(|error| error.to_string());
                if spec.kind == EngineKind::Attar && UNKNOWN_TO_ATTAR.contains(&name.as_str()) {
                    let refused = answer.is_err_and(|error| error.contains("node `"));
                    assert!(refused, "{case} in attar: expected an error that names the node");
                    continue;
                }
                judge(&format!("in {}", spec.kind), answer);
            }
            judge("read back", read_back(&onnx, &batch));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
