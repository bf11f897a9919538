//! Whole numbers of 8 bits: what files leave out, and what looks like something else than it is.

use attar_models::Op;
use attar_models::op::{Activation, Quantize, Slope};

use super::files::File;
use super::files::Setting::{Float, Int, Ints};
use super::{kinds, network, tensor};

/// A convolution of 4 channels whose weight is `values` dequantised with these scales and settings.
fn weight(scales: &[i64], settings: &[(&str, super::files::Setting<'_>)]) -> File {
    let mut file = File::new(21, &[0, 4, 1, 2]).weights("scales", scales);
    let bytes = (0..16).map(|at| at * 3).collect();
    file.graph().initializer.push(tensor("bytes", &[4, 4, 1, 1], 3, bytes));
    let file = file.node("DequantizeLinear", &["bytes", "scales"], "w", settings);
    file.node("Conv", &["x", "w"], "c", &[]).node("Flatten", &["c"], "y", &[])
}

/// Four blocks, four channels: read as a scale a channel they would be other numbers, and nobody would know.
#[test]
fn scales_of_blocks_are_not_taken_for_scales_of_channels() {
    assert!(weight(&[4], &[("axis", Int(1))]).read("y").obstacles.is_empty());
    let blocks = weight(&[4, 1, 1, 1], &[("axis", Int(1)), ("block_size", Int(4))]).read("y");
    assert!(blocks.obstacles[0].problem.contains("each block of 4 numbers"), "{:?}", blocks.obstacles);
}

#[test]
fn the_type_of_bytes_is_said_by_a_setting_where_there_is_no_zero_point() {
    for (settings, signed) in
        [(&[][..], false), (&[("output_dtype", Int(3))][..], true), (&[("output_dtype", Int(2))][..], false)]
    {
        let file = File::new(21, &[0, 3, 1, 2]).floats("scale", &[], &[0.5]);
        let file = file.node("Flatten", &["x"], "flat", &[]).node("QuantizeLinear", &["flat", "scale"], "q", settings);
        let (graph, _) = network(file.node("DequantizeLinear", &["q", "scale"], "y", &[]).read("y"));
        assert_eq!(graph.nodes()[2].op, Op::Quantize(Quantize { signed, high: None }));
    }
    let wide = File::new(21, &[0, 3, 1, 2]).floats("scale", &[], &[0.5]).node("Flatten", &["x"], "flat", &[]);
    let wide = wide.node("QuantizeLinear", &["flat", "scale"], "q", &[("output_dtype", Int(4))]);
    let wide = wide.node("DequantizeLinear", &["q", "scale"], "y", &[]).read("y");
    assert!(wide.obstacles[0].problem.contains("quantises to type 4"), "{:?}", wide.obstacles);
}

/// ONNX Runtime's own: an answer that stays floats, and functions of bytes.
#[test]
fn operations_of_onnx_runtime_on_bytes_are_read() {
    let byte = |mut file: File, name: &str, dims: &[i64], kind: i32, values: Vec<u8>| {
        file.graph().initializer.push(tensor(name, dims, kind, values));
        file
    };
    let start = || {
        let file = File::new(17, &[0, 3, 1, 2]).floats("s", &[], &[0.5]);
        let file = byte(file, "z", &[], 2, vec![128]);
        file.node("Flatten", &["x"], "flat", &[]).node("QuantizeLinear", &["flat", "s", "z"], "q", &[])
    };
    let gemm = byte(start(), "w", &[2, 6], 3, (0..12).collect());
    let gemm = byte(gemm, "w_z", &[], 3, vec![0]);
    let gemm = gemm.node("QGemm", &["q", "s", "z", "w", "s", "w_z"], "y", &[("transB", Int(1))]);
    let (graph, _) = network(gemm.read("y"));
    assert_eq!(kinds(&graph), ["flatten", "quantize", "dequantize", "linear"]);
    let slope = Slope::new(0.25).unwrap();
    for (op, settings, function) in [
        ("QLinearSigmoid", &[][..], Activation::Sigmoid),
        ("QLinearLeakyRelu", &[("alpha", Float(0.25))][..], Activation::LeakyRelu(slope)),
    ] {
        let file = start().node(op, &["q", "s", "z", "s", "z"], "f", settings);
        let (graph, _) = network(file.node("DequantizeLinear", &["f", "s", "z"], "y", &[]).read("y"));
        assert_eq!(kinds(&graph), ["flatten", "quantize", "dequantize", "activation", "quantize", "dequantize"]);
        assert_eq!(graph.nodes()[4].op, Op::Activation(function));
    }
}

/// Operations on bytes lay values over each other as those on floats do.
#[test]
fn bytes_are_joined_along_channels_and_added_where_axes_lie_alike() {
    let bytes = |file: File, of: &str, name: &str| {
        let mut file = file.floats(&format!("{name}.s"), &[], &[0.5]);
        file.graph().initializer.push(tensor(&format!("{name}.z"), &[], 2, vec![0]));
        file.node("QuantizeLinear", &[of, &format!("{name}.s"), &format!("{name}.z")], name, &[])
    };
    let concat = |axis: i64| {
        let file = bytes(File::new(17, &[0, 3, 2, 2]), "x", "q");
        let inputs = ["q.s", "q.z", "q", "q.s", "q.z", "q", "q.s", "q.z"];
        let file = file.node("QLinearConcat", &inputs, "joined", &[("axis", Int(axis))]);
        let file = file.node("DequantizeLinear", &["joined", "q.s", "q.z"], "dq", &[]);
        file.node("Flatten", &["dq"], "y", &[]).read("y")
    };
    assert!(concat(1).obstacles.is_empty(), "{:?}", concat(1).obstacles);
    assert!(concat(2).obstacles[0].problem.contains("along axis 2"), "{:?}", concat(2).obstacles);

    // A row of channels that came last, twice itself, in front of a matrix in the file's order.
    let file = File::new(17, &[0, 3, 1, 2]).node("Transpose", &["x"], "last", &[("perm", Ints(&[0, 2, 3, 1]))]);
    let file = bytes(file.node("Flatten", &["last"], "row", &[]), "row", "q");
    let file = file.node("QLinearAdd", &["q", "q.s", "q.z", "q", "q.s", "q.z", "q.s", "q.z"], "sum", &[]);
    let file = file.node("DequantizeLinear", &["sum", "q.s", "q.z"], "dq", &[]);
    let file = file.floats("w", &[6, 1], &[0.0, 1.0, 2.0, 10.0, 11.0, 12.0]).node("MatMul", &["dq", "w"], "y", &[]);
    let (_, weights) = network(file.read("y"));
    assert_eq!(weights.get("y.weight").unwrap().f32().unwrap(), [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
}
