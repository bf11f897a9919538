//! One small network by every operator set: as that set writes clips, padding, means and slices, and with what came with it.

use super::List;
use crate::conformance::build::{Build, Steps, float, int, ints};
use crate::conformance::case::{FEW, Judge};

/// The operator sets, and a name for each.
const SETS: [(i64, &str); 18] = [
    (7, "opset-7"),
    (8, "opset-8"),
    (9, "opset-9"),
    (10, "opset-10"),
    (11, "opset-11"),
    (12, "opset-12"),
    (13, "opset-13"),
    (14, "opset-14"),
    (15, "opset-15"),
    (16, "opset-16"),
    (17, "opset-17"),
    (18, "opset-18"),
    (19, "opset-19"),
    (20, "opset-20"),
    (21, "opset-21"),
    (22, "opset-22"),
    (23, "opset-23"),
    (24, "opset-24"),
];

/// Operator sets in which a network of bytes is written: from the first that has them for each channel.
const OF_BYTES: [(i64, &str); 6] = [
    (13, "qdq-opset-13"),
    (17, "qdq-opset-17"),
    (19, "qdq-opset-19"),
    (21, "qdq-opset-21"),
    (23, "qdq-opset-23"),
    (24, "qdq-opset-24"),
];

const IMAGE: [usize; 3] = [3, 6, 6];

pub(super) fn all(list: &mut List) {
    for (opset, name) in SETS {
        let about = format!("convolution, norm, clip, pool, slice, mean and Gemm as operator set {opset} has them");
        list.floats(name, &about, Build::by_opset(opset, IMAGE), |file| network(file, opset));
    }
    for (opset, name) in OF_BYTES {
        let about = format!("two layers of bytes, a scale for each channel, by operator set {opset}");
        let judge = Judge::Steps { step: 0.0625, ties: FEW };
        list.add(name, &about, judge, Build::by_opset(opset, IMAGE), of_bytes);
    }
}

fn network(file: &mut Build, opset: i64) -> String {
    file.seeded("w", &[6, 3, 3, 3], 4.0);
    let x = file.node("Conv", &["input", "w"], "conv", vec![ints("pads", &[1, 1, 1, 1])]);
    [("scale", 1.0), ("shift", 0.5), ("mean", 0.5)].into_iter().for_each(|(name, size)| file.seeded(name, &[6], size));
    file.floats("variance", &[6], &[0.5, 1.0, 2.0, 0.7, 1.3, 0.9]);
    let x = file.node(
        "BatchNormalization",
        &[&x, "scale", "shift", "mean", "variance"],
        "norm",
        vec![float("epsilon", 0.001)],
    );
    let x = match opset {
        ..11 => file.node("Clip", &[&x], "clip", vec![float("min", 0.0), float("max", 6.0)]),
        _ => {
            file.floats("low", &[], &[0.0]);
            file.floats("high", &[], &[6.0]);
            file.node("Clip", &[&x, "low", "high"], "clip", Vec::new())
        }
    };
    let x = match opset {
        ..11 => file.node("Pad", &[&x], "pad", vec![ints("pads", &[0, 0, 0, 0, 0, 0, 1, 1])]),
        _ => {
            file.whole("pads", &[0, 0, 0, 0, 0, 0, 1, 1]);
            file.node("Pad", &[&x, "pads"], "pad", Vec::new())
        }
    };
    let x = file.node("MaxPool", &[&x], "pool", vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])]);
    let x = match opset {
        ..10 => file.node("Slice", &[&x], "slice", vec![ints("axes", &[1]), ints("starts", &[1]), ints("ends", &[6])]),
        _ => {
            [("starts", 1), ("ends", 6), ("axes", 1)].into_iter().for_each(|(name, at)| file.whole(name, &[at]));
            file.node("Slice", &[&x, "starts", "ends", "axes"], "slice", Vec::new())
        }
    };
    let x = file.node("Dropout", &[&x], "dropped", Vec::new());
    let x = match opset {
        ..18 => file.node("ReduceMean", &[&x], "means", vec![ints("axes", &[2, 3]), int("keepdims", 0)]),
        _ => {
            file.whole("positions", &[2, 3]);
            file.node("ReduceMean", &[&x, "positions"], "means", vec![int("keepdims", 0)])
        }
    };
    file.seeded("head", &[5, 5], 0.8);
    file.seeded("bias", &[5], 0.5);
    file.node("Gemm", &[&x, "head", "bias"], "gemm", vec![int("transB", 1)])
}

fn of_bytes(file: &mut Build) -> String {
    let numbers = |name: &str, count: usize| super::quantised::numbers(name, count, 127);
    let x = file.rounded("input", "x", Steps::u8(1.0 / 64.0, 120));
    let scales: Vec<f32> = (0..6).map(|at| 2f32.powi(-8 - at % 3)).collect();
    let w = file.weight("w", &[6, 3, 3, 3], &numbers("w", 162), &scales, vec![int("axis", 0)]);
    let b = file.bias("b", &[300, -2000, 0, 1500, 90, -700], 1.0 / 64.0, &scales);
    let y = file.node("Conv", &[&x, &w, &b], "conv", vec![ints("pads", &[1, 1, 1, 1])]);
    let y = file.node("Relu", &[&y], "relu", Vec::new());
    let y = file.rounded(&y, "y", Steps::u8(1.0 / 32.0, 0));
    let v = file.weight("v", &[5, 6, 1, 1], &numbers("v", 30), &[1.0 / 128.0], Vec::new());
    let z = file.node("Conv", &[&y, &v], "conv2", Vec::new());
    file.rounded(&z, "out", Steps::u8(0.0625, 128))
}
