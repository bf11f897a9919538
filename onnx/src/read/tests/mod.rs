//! Files in the spellings of several writers: what they come to, and what is said where they come to nothing.

mod channels_last;
mod files;
mod integers;
mod slices;

use std::path::Path;

use attar_models::op::{Activation, BatchNorm2d, ChannelShuffle, Conv2d, LayerNorm2d, Linear, Pool2d};
use attar_models::{Graph, Op, Weights};
use prost::Message;

use super::{Import, ReadOptions, read};
use files::Setting::{Float, Int, Ints};
use files::{File, info, tensor};

/// The network of a file that is understood.
fn network(import: Import) -> (Graph, Weights) {
    assert!(import.obstacles.is_empty(), "{:?}", import.obstacles);
    import.network.unwrap()
}

/// Kinds of the operations behind the input.
fn kinds(graph: &Graph) -> Vec<&str> {
    graph.nodes()[1..].iter().map(|node| node.op.kind()).collect()
}

#[test]
fn a_linear_layer_has_many_spellings() {
    // x [3, 1, 1] -> features [3] -> [2]; the weight as [out, in] and as [in, out].
    let start = || File::new(17, &[0, 3, 1, 1]).node("Flatten", &["x"], "features", &[]);
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let turned = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
    let bias = [0.5, -0.5];
    let files = [
        start().floats("w", &[2, 3], &values).floats("b", &[2], &bias).node(
            "Gemm",
            &["features", "w", "b"],
            "y",
            &[("transB", Int(1))],
        ),
        start().floats("w", &[3, 2], &turned).floats("b", &[2], &bias).node("Gemm", &["features", "w", "b"], "y", &[]),
        start()
            .floats("w", &[3, 2], &turned)
            .floats("b", &[2], &bias)
            .node("MatMul", &["features", "w"], "product", &[])
            .node("Add", &["product", "b"], "y", &[]),
        start()
            .floats("w", &[3, 2], &turned)
            .floats("b", &[1, 2], &bias)
            .node("MatMul", &["features", "w"], "product", &[])
            .node("Add", &["b", "product"], "y", &[]),
        start().floats("w", &[2, 3], &values.map(|v| v / 2.0)).floats("b", &[2], &bias.map(|v| 2.0 * v)).node(
            "Gemm",
            &["features", "w", "b"],
            "y",
            &[("transB", Int(1)), ("alpha", Float(2.0)), ("beta", Float(0.5))],
        ),
    ];
    for (at, file) in files.into_iter().enumerate() {
        let (graph, weights) = network(file.read("y"));
        assert_eq!(kinds(&graph), ["flatten", "linear"], "{at}");
        assert_eq!(
            graph.nodes()[2].op,
            Op::Linear(Linear { in_features: 3, out_features: 2, bias: true, quantized: false })
        );
        assert_eq!(weights.get("y.weight").unwrap().f32().unwrap(), values, "{at}");
        assert_eq!(weights.get("y.bias").unwrap().f32().unwrap(), bias, "{at}");
    }
}

#[test]
fn a_row_an_image_has_many_spellings() {
    let start = || File::new(17, &[0, 3, 4, 5]).weights("w", &[2, 3]);
    let mean = |file: File| file.node("GlobalAveragePool", &["x"], "mean", &[]);
    let files = [
        (mean(start()).node("Flatten", &["mean"], "row", &[]), vec!["avg-pool2d", "flatten", "linear"]),
        (
            mean(start()).ints("shape", &[0, -1]).node("Reshape", &["mean", "shape"], "row", &[]),
            vec!["avg-pool2d", "flatten", "linear"],
        ),
        (
            mean(start()).ints("shape", &[-1, 3]).node("Reshape", &["mean", "shape"], "row", &[]),
            vec!["avg-pool2d", "flatten", "linear"],
        ),
        (
            mean(start()).ints("axes", &[2, 3]).node("Squeeze", &["mean", "axes"], "row", &[]),
            vec!["avg-pool2d", "flatten", "linear"],
        ),
        // A batch that the old exporter computes.
        (
            mean(start())
                .node("Shape", &["x"], "sizes", &[])
                .ints("zero", &[0])
                .ints("rest", &[-1])
                .node("Gather", &["sizes", "zero"], "n", &[("axis", Int(0))])
                .node("Concat", &["n", "rest"], "shape", &[("axis", Int(0))])
                .node("Reshape", &["mean", "shape"], "row", &[]),
            vec!["avg-pool2d", "flatten", "linear"],
        ),
        (
            start().node("ReduceMean", &["x"], "row", &[("axes", Ints(&[-1, -2])), ("keepdims", Int(0))]),
            vec!["global-avg-pool", "linear"],
        ),
        (
            start().node("ReduceMean", &["x"], "mean", &[("axes", Ints(&[2, 3]))]).node(
                "Flatten",
                &["mean"],
                "row",
                &[],
            ),
            vec!["avg-pool2d", "flatten", "linear"],
        ),
    ];
    for (at, (file, expected)) in files.into_iter().enumerate() {
        let (graph, _) = network(file.node("Gemm", &["row", "w"], "y", &[("transB", Int(1))]).read("y"));
        assert_eq!(kinds(&graph), expected, "{at}");
        assert_eq!(graph.output_shape(), [2]);
    }
}

/// A convolution with something behind it, and a mean at the end.
fn behind_a_convolution(opset: i64, rest: impl FnOnce(File) -> File) -> (Graph, Weights) {
    let file = File::new(opset, &[0, 3, 8, 8]).weights("w", &[2, 3, 3, 3]);
    let file = rest(file.node("Conv", &["x", "w"], "c", &[("pads", Ints(&[1, 1, 1, 1]))]));
    network(file.node("GlobalAveragePool", &["a"], "mean", &[]).node("Flatten", &["mean"], "y", &[]).read("y"))
}

#[test]
fn an_activation_has_many_spellings() {
    let number = |file: File, name: &str, value: f32| file.floats(name, &[], &[value]);
    type Spelling = Box<dyn FnOnce(File) -> File>;
    let cases: Vec<(i64, Activation, Spelling)> = vec![
        (9, Activation::Relu6, Box::new(|f| f.node("Clip", &["c"], "a", &[("min", Float(0.0)), ("max", Float(6.0))]))),
        (
            17,
            Activation::Relu6,
            Box::new(move |f| number(number(f, "lo", 0.0), "hi", 6.0).node("Clip", &["c", "lo", "hi"], "a", &[])),
        ),
        (17, Activation::Relu, Box::new(move |f| number(f, "lo", 0.0).node("Clip", &["c", "lo"], "a", &[]))),
        (
            9,
            Activation::HardSwish,
            Box::new(move |f| {
                number(number(f, "three", 3.0), "six", 6.0)
                    .node("Add", &["c", "three"], "p", &[])
                    .node("Clip", &["p"], "k", &[("min", Float(0.0)), ("max", Float(6.0))])
                    .node("Mul", &["c", "k"], "m", &[])
                    .node("Div", &["m", "six"], "a", &[])
            }),
        ),
        (
            13,
            Activation::HardSwish,
            Box::new(|f| {
                f.node("HardSigmoid", &["c"], "g", &[("alpha", Float(1.0 / 6.0)), ("beta", Float(0.5))]).node(
                    "Mul",
                    &["g", "c"],
                    "a",
                    &[],
                )
            }),
        ),
        (14, Activation::HardSwish, Box::new(|f| f.node("HardSwish", &["c"], "a", &[]))),
        (17, Activation::Silu, Box::new(|f| f.node("Sigmoid", &["c"], "g", &[]).node("Mul", &["c", "g"], "a", &[]))),
        (
            17,
            Activation::Gelu,
            Box::new(move |f| {
                number(number(number(f, "root", std::f32::consts::SQRT_2), "one", 1.0), "half", 0.5)
                    .node("Div", &["c", "root"], "d", &[])
                    .node("Erf", &["d"], "e", &[])
                    .node("Add", &["e", "one"], "s", &[])
                    .node("Mul", &["c", "s"], "m", &[])
                    .node("Mul", &["m", "half"], "a", &[])
            }),
        ),
    ];
    for (opset, expected, spelling) in cases {
        let (graph, _) = behind_a_convolution(opset, spelling);
        assert_eq!(kinds(&graph), ["conv2d", "activation", "avg-pool2d", "flatten"], "{expected:?}");
        assert_eq!(graph.nodes()[2].op, Op::Activation(expected));
        assert_eq!(graph.nodes()[2].name, "a", "the file's name of the value");
    }
}

#[test]
fn a_value_and_a_function_of_it_that_has_no_name_are_added_as_nodes() {
    let (graph, _) = behind_a_convolution(17, |f| f.node("Relu", &["c"], "r", &[]).node("Add", &["c", "r"], "a", &[]));
    assert_eq!(kinds(&graph), ["conv2d", "activation", "add", "avg-pool2d", "flatten"]);
    assert_eq!(graph.nodes()[3].inputs, [graph.tap("c").unwrap(), graph.tap("r").unwrap()]);
}

#[test]
fn the_difference_of_a_value_and_a_function_of_it_is_no_function_of_both() {
    let (graph, weights) =
        behind_a_convolution(17, |f| f.node("Relu", &["c"], "r", &[]).node("Sub", &["c", "r"], "a", &[]));
    assert_eq!(kinds(&graph), ["conv2d", "activation", "scale", "add", "avg-pool2d", "flatten"]);
    assert_eq!(weights.get("a.negative.weight").unwrap().f32().unwrap(), [-1.0, -1.0]);
    assert_eq!(graph.nodes()[4].inputs, [graph.tap("c").unwrap(), graph.tap("a.negative").unwrap()]);
}

#[test]
fn constants_beside_values_become_biases_and_scales() {
    let (graph, weights) =
        behind_a_convolution(17, |f| f.floats("b", &[1, 2, 1, 1], &[0.25, -1.5]).node("Add", &["c", "b"], "a", &[]));
    assert_eq!(kinds(&graph), ["conv2d", "avg-pool2d", "flatten"]);
    assert_eq!(weights.get("a.bias").unwrap().f32().unwrap(), [0.25, -1.5]);
    let scaled = |f: File| {
        f.floats("g", &[2, 1, 1], &[2.0, 3.0])
            .floats("s", &[2, 1, 1], &[4.0, 5.0])
            .node("Mul", &["c", "g"], "m", &[])
            .node("Add", &["m", "s"], "a", &[])
    };
    let (graph, weights) = behind_a_convolution(17, scaled);
    assert_eq!(kinds(&graph), ["conv2d", "scale", "avg-pool2d", "flatten"]);
    assert_eq!(weights.get("a.weight").unwrap().f32().unwrap(), [2.0, 3.0]);
    assert_eq!(weights.get("a.bias").unwrap().f32().unwrap(), [4.0, 5.0]);
}

#[test]
fn a_batch_norm_keeps_its_numbers_and_the_momentum_is_the_other_share() {
    let norm = |f: File| {
        let f =
            ["scale", "shift", "mean"].iter().fold(f, |f, name| f.weights(name, &[2])).floats("var", &[2], &[1.5, 0.5]);
        f.node(
            "BatchNormalization",
            &["c", "scale", "shift", "mean", "var"],
            "a",
            &[("epsilon", Float(1e-3)), ("momentum", Float(0.9))],
        )
    };
    let (graph, weights) = behind_a_convolution(9, norm);
    let Op::BatchNorm2d(BatchNorm2d { channels: 2, eps, momentum }) = graph.nodes()[2].op else {
        panic!("{:?}", graph.nodes()[2])
    };
    assert!((eps - 1e-3).abs() < 1e-9 && (momentum - 0.1).abs() < 1e-12, "{eps} {momentum}");
    assert_eq!(weights.get("a.running_var").unwrap().f32().unwrap(), [1.5, 0.5]);
}

#[test]
fn a_layer_norm_that_is_written_out_is_one_node() {
    let written = |f: File| {
        f.floats("eps", &[], &[1e-3])
            .floats("g", &[2, 1, 1], &[2.0, 3.0])
            .floats("b", &[2, 1, 1], &[4.0, 5.0])
            .node("ReduceMean", &["c"], "mean", &[("axes", Ints(&[1]))])
            .node("Sub", &["c", "mean"], "d", &[])
            .node("Mul", &["d", "d"], "square", &[])
            .node("ReduceMean", &["square"], "variance", &[("axes", Ints(&[-3]))])
            .node("Add", &["variance", "eps"], "raised", &[])
            .node("Sqrt", &["raised"], "root", &[])
            .node("Div", &["d", "root"], "n", &[])
            .node("Mul", &["n", "g"], "scaled", &[])
            .node("Add", &["scaled", "b"], "a", &[])
    };
    let (graph, weights) = behind_a_convolution(13, written);
    assert_eq!(kinds(&graph), ["conv2d", "layer-norm2d", "avg-pool2d", "flatten"]);
    assert!(
        matches!(graph.nodes()[2].op, Op::LayerNorm2d(LayerNorm2d { channels: 2, eps }) if (eps - 1e-3).abs() < 1e-9)
    );
    assert_eq!(weights.get("a.weight").unwrap().f32().unwrap(), [2.0, 3.0]);
    assert_eq!(weights.get("a.bias").unwrap().f32().unwrap(), [4.0, 5.0]);
    // A mean over channels that is something else is said to be that.
    let file = File::new(13, &[0, 3, 8, 8]).node("ReduceMean", &["x"], "mean", &[("axes", Ints(&[1]))]);
    let import = file.node("Sigmoid", &["mean"], "y", &[]).read("y");
    assert_eq!(import.obstacles.len(), 1);
    assert!(import.obstacles[0].problem.contains("part of a layer norm"), "{}", import.obstacles[0]);
}

#[test]
fn channels_are_shuffled_by_two_reshapes_and_a_transpose() {
    let shuffle = |f: File| {
        f.ints("apart", &[-1, 2, 2, 8, 8])
            .ints("together", &[0, 4, 8, 8])
            .node("Concat", &["c", "c"], "twice", &[("axis", Int(1))])
            .node("Reshape", &["twice", "apart"], "groups", &[])
            .node("Transpose", &["groups"], "turned", &[("perm", Ints(&[0, 2, 1, 3, 4]))])
            .node("Reshape", &["turned", "together"], "a", &[])
    };
    let (graph, _) = behind_a_convolution(17, shuffle);
    assert_eq!(kinds(&graph), ["conv2d", "concat", "channel-shuffle", "avg-pool2d", "flatten"]);
    assert_eq!(graph.nodes()[3].op, Op::ChannelShuffle(ChannelShuffle { groups: 2 }));
}

#[test]
fn images_with_their_channels_last_are_turned_once() {
    let file = File::new(13, &[0, 8, 8, 3])
        .weights("w", &[2, 3, 3, 3])
        .node("Transpose", &["x"], "t", &[("perm", Ints(&[0, 3, 1, 2]))])
        .node("Conv", &["t", "w"], "c", &[])
        .node("Transpose", &["c"], "u", &[("perm", Ints(&[0, 2, 3, 1]))])
        .weights("m", &[2, 4])
        .node("MatMul", &["u", "m"], "p", &[])
        .node("Relu", &["p"], "r", &[])
        .node("ReduceMean", &["r"], "y", &[("axes", Ints(&[1, 2])), ("keepdims", Int(0))]);
    let import = file.read("y");
    assert!(import.notes.iter().any(|note| note.contains("channels last")), "{:?}", import.notes);
    assert_eq!(import.input, [3, 8, 8]);
    let (graph, _) = network(import);
    assert_eq!(kinds(&graph), ["conv2d", "conv2d", "activation", "global-avg-pool"]);
    assert_eq!(graph.nodes()[2].op, Op::Conv2d(Conv2d::square(2, 4, 1, 1, 0)));
}

#[test]
fn windows_keep_their_pads_however_they_are_said() {
    let same = |f: File| {
        f.node(
            "MaxPool",
            &["c"],
            "a",
            &[
                ("kernel_shape", Ints(&[3, 3])),
                ("strides", Ints(&[2, 2])),
                ("pads", Ints(&[0, 0, 1, 1])),
                ("ceil_mode", Int(1)),
            ],
        )
    };
    let (graph, _) = behind_a_convolution(11, same);
    let expected = Pool2d { padding_end: Some([1, 1]), ceil_mode: true, ..Pool2d::square(3, 2, 0) };
    assert_eq!(graph.nodes()[2].op, Op::MaxPool2d(expected));
    let file = File::new(11, &[0, 3, 8, 8]).weights("w", &[2, 3, 3, 3]).node(
        "Conv",
        &["x", "w"],
        "c",
        &[("strides", Ints(&[2, 2])), ("pads", Ints(&[0, 0, 1, 1]))],
    );
    let (graph, _) = network(file.node("GlobalMaxPool", &["c"], "m", &[]).node("Flatten", &["m"], "y", &[]).read("y"));
    assert_eq!(kinds(&graph), ["pad2d", "conv2d", "max-pool2d", "flatten"]);
    assert_eq!(graph.node(graph.tap("c").unwrap()).shape, [2, 4, 4]);
}

#[test]
fn a_softmax_at_the_end_is_cut_off_and_said() {
    let file = File::new(17, &[0, 3, 1, 1]).node("Flatten", &["x"], "f", &[]).weights("w", &[2, 3]).node(
        "Gemm",
        &["f", "w"],
        "logits",
        &[("transB", Int(1))],
    );
    let import = file.node("Softmax", &["logits"], "y", &[]).read("y");
    assert_eq!(import.output, "logits");
    assert!(import.notes.iter().any(|note| note.contains("Softmax")), "{:?}", import.notes);
    assert_eq!(kinds(&network(import).0), ["flatten", "linear"]);
}

#[test]
fn what_is_not_known_is_said_once_and_names_and_shapes_all_the_same() {
    let file = File::new(17, &[0, 3, 8, 8])
        .weights("w", &[2, 3, 3, 3])
        .node("Conv", &["x", "w"], "c", &[])
        .node("Einsum", &["c"], "e", &[])
        .node("Relu", &["e"], "r", &[]);
    let import = file.node("GlobalAveragePool", &["r"], "m", &[]).node("Flatten", &["m"], "y", &[]).read("y");
    let said: Vec<String> = import.obstacles.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["Einsum `e`: `Einsum` is no operation that is known here"]);
    assert!(import.network.is_none());
    let shapes: Vec<_> =
        import.operations.iter().map(|operation| (operation.value.as_str(), operation.shape.clone())).collect();
    assert_eq!(shapes, [("c", Some(vec![2, 6, 6])), ("e", None), ("r", None), ("m", None), ("y", Some(vec![2]))]);
    let outline = import.outline().unwrap();
    assert_eq!((outline.classes(), outline.value(outline.tap("c").unwrap()).shape.clone()), (2, vec![2, 6, 6]));
    let custom = File::new(17, &[0, 3, 8, 8]);
    let mut custom = custom.node("Magic", &["x"], "y", &[]);
    custom.graph().node[0].domain = Some("my.ops".to_owned());
    assert!(custom.read("y").obstacles[0].problem.contains("domain `my.ops`"));
}

#[test]
fn weights_of_every_type_of_float_are_read() {
    let half = |values: [f32; 2]| values.map(|v| half::f16::from_f32(v).to_le_bytes()).concat();
    let brain = |values: [f32; 2]| values.map(|v| half::bf16::from_f32(v).to_le_bytes()).concat();
    let double = |values: [f32; 2]| values.map(|v| f64::from(v).to_le_bytes()).concat();
    for (kind, raw) in [(10, half([1.5, -2.0])), (16, brain([1.5, -2.0])), (11, double([1.5, -2.0]))] {
        let mut file = File::new(17, &[0, 1, 1, 1]).node("Flatten", &["x"], "f", &[]).node(
            "Gemm",
            &["f", "w"],
            "y",
            &[("transB", Int(1))],
        );
        file.graph().initializer.push(tensor("w", &[2, 1], kind, raw));
        let (_, weights) = network(file.read("y"));
        assert_eq!(weights.get("y.weight").unwrap().f32().unwrap(), [1.5, -2.0], "type {kind}");
    }
}

#[test]
fn what_is_no_classifier_of_images_is_refused_in_words() {
    let none = ReadOptions::default();
    let open =
        || File::new(17, &[0, 3, 0, 0]).node("GlobalAveragePool", &["x"], "m", &[]).node("Flatten", &["m"], "y", &[]);
    assert!(open().refusal("y", none).contains("--input-shape"));
    let mut sized = open();
    sized.graph().output = vec![info("y", &[0, 3])];
    let bytes = sized.model.encode_to_vec();
    let options = ReadOptions { input: Some([3, 8, 6]) };
    assert_eq!(read(&bytes, Path::new("net.onnx"), options).unwrap().input, [3, 8, 6]);
    let text = File::new(17, &[0, 16]).node("Identity", &["x"], "y", &[]).refusal("y", none);
    assert!(text.contains("has 2 axes, expected images"), "{text}");
    let old = File::new(6, &[0, 3, 8, 8]).node("Relu", &["x"], "y", &[]).refusal("y", none);
    assert!(old.contains("operator set 6"), "{old}");
    let garbage = read(b"not a model", Path::new("net.onnx"), none).unwrap_err().to_string();
    assert!(garbage.starts_with("net.onnx: is no ONNX file"), "{garbage}");
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let mut file = File::new(17, &[0, 3, 8, 8]).weights("w", &[2, 3, 3, 3]).node(
        "Conv",
        &["x", "w"],
        "c",
        &[("pads", Ints(&[1, 1, 1, 1]))],
    );
    file = file.node("GlobalAveragePool", &["c"], "m", &[]).node("Flatten", &["m"], "y", &[]);
    file.graph().output = vec![info("y", &[0, 2])];
    let bytes = file.model.encode_to_vec();
    for length in 0..bytes.len() {
        drop(read(&bytes[..length], Path::new("net.onnx"), ReadOptions::default()));
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bent = bytes.clone();
            bent[at] = value;
            drop(read(&bent, Path::new("net.onnx"), ReadOptions::default()));
        }
    }
}
