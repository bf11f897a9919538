//! The writer, read back: structure of every operation, names, opsets, stable bytes, refusals.

use std::collections::BTreeMap;

use attar_models::op::{
    Activation, Add, BatchNorm2d, Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, PadChannels, Pool2d, Subsample,
};
use attar_models::{Array, Graph, GraphBuilder, Op, Weights};
use prost::Message;

use super::{Options, write};
use crate::proto::{AttributeProto, Dimension, ModelProto, NodeProto, ValueInfoProto};

/// Small, and every operation there is.
fn every_op() -> Graph {
    let (mut b, x) = GraphBuilder::new("every-op", [3, 11, 9]).unwrap();
    let mut add = |name: &str, op: Op, inputs: &[_]| b.add(name, op, inputs).unwrap();
    let conv = Conv2d { bias: true, padding: [1, 0], stride: [2, 1], ..Conv2d::square(3, 4, 3, 1, 0) };
    let conv1 = add("conv1", Op::Conv2d(conv), &[x]);
    let bn1 = add("bn1", Op::BatchNorm2d(BatchNorm2d { channels: 4, eps: 1e-5, momentum: 0.1 }), &[conv1]);
    let relu = add("relu", Op::Activation(Activation::Relu), &[bn1]);
    let wide = Conv2d { dilation: [2, 1], padding: [2, 1], ..Conv2d::square(4, 4, 3, 1, 0).with_groups(4) };
    let conv2 = add("conv2", Op::Conv2d(wide), &[relu]);
    let relu6 = add("relu6", Op::Activation(Activation::Relu6), &[conv2]);
    let sum = add("add", Op::Add(Add {}), &[relu6, relu]);
    let half = add("half", Op::Subsample(Subsample { stride: 2 }), &[sum]);
    let padded = add("padded", Op::PadChannels(PadChannels { before: 1, after: 2 }), &[half]);
    let max = add("maxpool", Op::MaxPool2d(Pool2d::square(3, 2, 1)), &[padded]);
    let mean = add("meanpool", Op::AvgPool2d(Pool2d::square(3, 1, 1)), &[max]);
    let global = add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[mean]);
    let flat = add("flat", Op::Flatten(Flatten {}), &[mean]);
    let drop = add("drop", Op::Dropout(Dropout { p: 0.5 }), &[flat]);
    let features = add(
        "features",
        Op::Linear(Linear { in_features: 28, out_features: 7, bias: false, quantized: false }),
        &[drop],
    );
    let both = add("both", Op::Add(Add {}), &[features, global]);
    let fc = add("fc", Op::Linear(Linear { in_features: 7, out_features: 5, bias: true, quantized: false }), &[both]);
    b.finish(fc)
}

/// Values that only depend on the name and the position.
fn weights(graph: &Graph) -> Weights {
    let value = |name: &str, i: usize| {
        let seed: usize = name.bytes().map(usize::from).sum();
        0.1 + ((seed * 31 + i * 17) % 23) as f32 / 23.0
    };
    let arrays = graph.params().map(|param| {
        let count = param.shape.iter().product();
        let data = (0..count).map(|i| value(&param.name, i)).collect();
        (param.name, Array::new::<f32>(param.shape, data).unwrap())
    });
    Weights(arrays.collect())
}

fn model(options: &Options) -> ModelProto {
    let graph = every_op();
    let bytes = write(&graph, &weights(&graph), options).unwrap();
    ModelProto::decode(bytes.as_slice()).unwrap()
}

fn attributes(node: &NodeProto) -> BTreeMap<&str, String> {
    let value = |a: &AttributeProto| match (&a.i, &a.f, &a.s) {
        (Some(i), ..) => i.to_string(),
        (_, Some(f), _) => f.to_string(),
        (.., Some(s)) => String::from_utf8(s.clone()).unwrap(),
        _ => format!("{:?}", a.ints),
    };
    node.attribute.iter().map(|a| (a.name.as_deref().unwrap(), value(a))).collect()
}

#[test]
fn every_operation_is_written_with_its_settings() {
    let graph = model(&Options::default()).graph.unwrap();
    let nodes: Vec<String> = graph
        .node
        .iter()
        .map(|n| {
            let settings: Vec<String> = attributes(n).iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{}: {}({}) {}", n.output[0], n.op_type(), n.input.join(", "), settings.join(" ")).trim().to_owned()
        })
        .collect();
    let expected = [
        "conv1: Conv(input, conv1.weight, conv1.bias) dilations=[1, 1] group=1 kernel_shape=[3, 3] pads=[1, 0, 1, 0] strides=[2, 1]",
        "bn1: BatchNormalization(conv1, bn1.weight, bn1.bias, bn1.running_mean, bn1.running_var) epsilon=0.00001",
        "relu: Relu(bn1)",
        "conv2: Conv(relu, conv2.weight) dilations=[2, 1] group=4 kernel_shape=[3, 3] pads=[2, 1, 2, 1] strides=[1, 1]",
        "relu6: Clip(conv2, relu6/min, relu6/max)",
        "add: Add(relu6, relu)",
        "half: Slice(add, half/starts, half/ends, half/axes, half/steps)",
        "padded: Pad(half, padded/pads) mode=constant",
        "maxpool: MaxPool(padded) kernel_shape=[3, 3] pads=[1, 1, 1, 1] strides=[2, 2]",
        "meanpool: AveragePool(maxpool) count_include_pad=1 kernel_shape=[3, 3] pads=[1, 1, 1, 1] strides=[1, 1]",
        "avgpool/pooled: GlobalAveragePool(meanpool)",
        "avgpool: Flatten(avgpool/pooled) axis=1",
        "flat: Flatten(meanpool) axis=1",
        "drop: Identity(flat)",
        "features: Gemm(drop, features.weight) transB=1",
        "both: Add(features, avgpool)",
        "logits: Gemm(both, fc.weight, fc.bias) transB=1",
    ];
    assert_eq!(nodes, expected);
}

#[test]
fn the_batch_axis_is_a_symbol_and_input_and_output_have_names() {
    let graph = model(&Options::default()).graph.unwrap();
    let shape = |info: &ValueInfoProto| -> Vec<String> {
        let tensor = info.r#type.clone().unwrap().tensor_type.unwrap();
        let sizes = tensor.shape.unwrap().dim.into_iter().map(|dim| match dim.value.unwrap() {
            Dimension::Value(size) => size.to_string(),
            Dimension::Param(symbol) => symbol,
        });
        std::iter::once(info.name().to_owned()).chain(sizes).collect()
    };
    assert_eq!(shape(&graph.input[0]), ["input", "batch", "3", "11", "9"]);
    assert_eq!(shape(&graph.output[0]), ["logits", "batch", "5"]);
    assert_eq!((graph.input.len(), graph.output.len()), (1, 1));
}

#[test]
fn parameters_keep_names_shapes_and_bits() {
    let graph = every_op();
    let weights = weights(&graph);
    let written = model(&Options::default()).graph.unwrap();
    let parameters: Vec<_> = written.initializer.iter().filter(|t| !t.name().contains('/')).collect();
    assert_eq!(parameters.len(), weights.0.len());
    for tensor in parameters {
        let array = weights.get(tensor.name()).unwrap();
        assert_eq!(tensor.dims, array.shape.iter().map(|&s| s as i64).collect::<Vec<_>>());
        let bytes: Vec<u8> = array.f32().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(tensor.raw_data.as_deref(), Some(bytes.as_slice()));
    }
}

#[test]
fn an_opset_brings_its_ir_version_and_others_are_refused() {
    for (opset, ir) in [(13, 7), (14, 7), (15, 8), (18, 8), (19, 9), (20, 9), (21, 10)] {
        let model = model(&Options { opset, ..Options::default() });
        assert_eq!((model.ir_version, model.opset_import[0].version), (Some(ir), Some(opset)));
    }
    let graph = every_op();
    let refused = write(&graph, &weights(&graph), &Options { opset: 22, ..Options::default() }).unwrap_err();
    assert_eq!(refused.to_string(), "opset: 22 is not supported, expected 13 to 21");
}

#[test]
fn metadata_is_written_in_order() {
    let metadata = [("b", "2"), ("a", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let model = model(&Options { metadata: metadata.into(), ..Options::default() });
    let props: Vec<_> = model.metadata_props.iter().map(|p| (p.key(), p.value())).collect();
    assert_eq!(props, [("a", "1"), ("b", "2")]);
}

#[test]
fn weights_that_do_not_fit_or_are_not_numbers_are_refused() {
    let graph = every_op();
    let mut nan = weights(&graph);
    nan.0.get_mut("fc.weight").unwrap().f32_mut().unwrap()[3] = f32::NAN;
    let message = write(&graph, &nan, &Options::default()).unwrap_err().to_string();
    assert!(message.contains("fc.weight[3] is NaN"), "{message}");
    let mut foreign = weights(&graph);
    foreign.0.insert("losses.cd.layer1.weight".to_owned(), Array::new::<f32>(vec![1], vec![0.0]).unwrap());
    let message = write(&graph, &foreign, &Options::default()).unwrap_err().to_string();
    assert!(message.contains("left over losses.cd.layer1.weight"), "{message}");
}

#[test]
fn names_that_onnx_cannot_tell_apart_are_refused() {
    let written = |name: &str| {
        let (mut b, x) = GraphBuilder::new("bad", [1, 2, 2]).unwrap();
        let conv = b.add("a", Op::Conv2d(Conv2d::square(1, 1, 1, 1, 0)), &[x]).unwrap();
        let relu = b.add(name, Op::Activation(Activation::Relu), &[conv]).unwrap();
        let pool = b.add("pool", Op::GlobalAvgPool(GlobalAvgPool {}), &[relu]).unwrap();
        let graph = b.finish(pool);
        write(&graph, &weights(&graph), &Options::default()).map(|_| ()).map_err(|error| error.to_string())
    };
    let refused = |name: &str| written(name).unwrap_err();
    assert!(refused("logits").contains("the network's output"));
    assert!(refused("a.weight").contains("a parameter has the same name"));
    assert!(refused("pool/pooled").contains("node `pool/pooled`: its name is that of a constant of `pool`"));
    written("a/c").unwrap(); // as PyTorch calls values
}

/// If this fails, exported files of the same network have changed: decide that on purpose, then put the new sum here.
#[test]
fn the_same_network_gives_the_same_bytes_today_and_tomorrow() {
    let graph = every_op();
    let metadata = BTreeMap::from([("attar.labels".to_owned(), "[\"a\"]".to_owned())]);
    let bytes = write(&graph, &weights(&graph), &Options { metadata, ..Options::default() }).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    assert_eq!(model.producer_version.take().as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let sum = attar_formats::hash::sha256(&model.encode_to_vec());
    assert_eq!(sum, "d586fb96d27651e3802317f07ecee685011e443f781626778d4461d976bda15c");
}

/// With `ATTAR_ONNX_OUT=FOLDER` it also leaves the files for `tests/fixtures/make/check_onnx.py`.
#[test]
fn every_opset_is_written_as_such() {
    let graph = every_op();
    for opset in super::SUPPORTED_OPSETS {
        let bytes = write(&graph, &weights(&graph), &Options { opset, ..Options::default() }).unwrap();
        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        assert_eq!(model.opset_import.iter().map(|set| set.version).collect::<Vec<_>>(), [Some(opset)]);
        if let Ok(folder) = std::env::var("ATTAR_ONNX_OUT") {
            std::fs::write(format!("{folder}/every-op-{opset}.onnx"), bytes).unwrap();
        }
    }
}
