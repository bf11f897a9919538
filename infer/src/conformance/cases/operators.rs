//! Operations on bytes: ONNX's two, and those of ONNX Runtime's own domain that its quantiser writes in its QOperator format.

use super::List;
use super::quantised::{IMAGE, OUT, X, by, numbers};
use crate::conformance::build::{Build, Steps, float, int, ints};

/// Means, and what stands between them.
const P: Steps = Steps { scale: 1.0 / 64.0, zero: 128, signed: false };

/// A weight of bytes called `w_q` with its scales and zero points.
fn weight(file: &mut Build, shape: &[usize], scales: &[f32]) {
    let of_scales: &[usize] = if scales.len() == 1 { &[] } else { &[scales.len()] };
    file.bytes("w_q", shape, true, &numbers("w", shape.iter().product(), 127));
    file.floats("w_s", of_scales, scales);
    file.bytes("w_z", of_scales, true, &vec![0; scales.len()]);
}

fn conv(list: &mut List, name: &'static str, about: &str, scales: &[f32], x: Steps, out: Steps) {
    list.add(name, about, by(out), Build::new(IMAGE), |file| {
        let bytes = file.quantized("input", "x", x);
        weight(file, &[6, 4, 3, 3], scales);
        file.of_32_bits("b", &[300, -2000, 0, 1500, 90, -700]);
        let [scale, zero] = file.steps("y", out);
        let inputs = [&bytes, "x_s", "x_z", "w_q", "w_s", "w_z", &scale, &zero, "b"];
        let y = file.node("QLinearConv", &inputs, "y_q", vec![ints("pads", &[1, 1, 1, 1])]);
        file.node("DequantizeLinear", &[&y, &scale, &zero], "out", Vec::new())
    });
}

pub(super) fn all(list: &mut List) {
    let each: Vec<f32> = (0..6).map(|at| 2f32.powi(-7 - at % 4)).collect();
    conv(list, "qlinear-conv", "QLinearConv with a bias, one scale for its weight", &[1.0 / 256.0], X, OUT);
    conv(list, "qlinear-conv-channels", "a scale for each channel", &each, X, OUT);
    conv(list, "qlinear-conv-s8", "signed bytes throughout", &each, Steps::s8(1.0 / 64.0, -8), Steps::s8(0.0625, 0));
    conv(list, "qlinear-conv-relu", "an answer from 0 up: a ReLU", &each, X, Steps::u8(0.03125, 0));
    list.add(
        "qlinear-conv-depthwise",
        "a depthwise QLinearConv with a stride, padded on one side",
        by(OUT),
        Build::new([6, 5, 6]),
        |file| {
            let bytes = file.quantized("input", "x", X);
            weight(file, &[6, 1, 3, 3], &[1.0 / 64.0]);
            let [scale, zero] = file.steps("y", OUT);
            let settings = vec![int("group", 6), ints("strides", &[2, 2]), ints("pads", &[0, 0, 1, 1])];
            let y =
                file.node("QLinearConv", &[&bytes, "x_s", "x_z", "w_q", "w_s", "w_z", &scale, &zero], "y_q", settings);
            file.node("DequantizeLinear", &[&y, &scale, &zero], "out", Vec::new())
        },
    );
    rows(list);
    for (name, op, about) in [
        ("qlinear-add", "QLinearAdd", "a sum of bytes of two scales"),
        ("qlinear-mul", "QLinearMul", "a product of bytes of two scales"),
    ] {
        list.add(name, about, by(OUT), Build::new(IMAGE), |file| {
            let a = file.quantized("input", "a", X);
            let b = file.quantized("input", "b", Steps::u8(1.0 / 32.0, 60));
            let [scale, zero] = file.steps("y", OUT);
            let y = file.microsoft(op, &[&a, "a_s", "a_z", &b, "b_s", "b_z", &scale, &zero], "y_q", Vec::new());
            file.node("DequantizeLinear", &[&y, &scale, &zero], "out", Vec::new())
        });
    }
    list.add("qlinear-concat", "QLinearConcat of bytes of two scales", by(OUT), Build::new(IMAGE), |file| {
        let a = file.quantized("input", "a", X);
        let b = file.quantized("input", "b", Steps::u8(1.0 / 32.0, 60));
        let [scale, zero] = file.steps("y", OUT);
        let inputs = [&scale, &zero, &a, "a_s", "a_z", &b, "b_s", "b_z"];
        let y = file.microsoft("QLinearConcat", &inputs, "y_q", vec![int("axis", 1)]);
        file.node("DequantizeLinear", &[&y, &scale, &zero], "out", Vec::new())
    });
    let pool = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    for (name, op, settings, about) in [
        ("qlinear-mean", "QLinearAveragePool", pool(), "means of 2 x 2 bytes"),
        ("qlinear-global-mean", "QLinearGlobalAveragePool", Vec::new(), "means of images of bytes"),
        ("qlinear-sigmoid", "QLinearSigmoid", Vec::new(), "Sigmoid of bytes"),
        ("qlinear-leaky-relu", "QLinearLeakyRelu", vec![float("alpha", 0.3)], "LeakyRelu of bytes, slope 0.3"),
    ] {
        list.add(name, about, by(P), Build::new(IMAGE), |file| {
            let x = file.quantized("input", "x", X);
            let [scale, zero] = file.steps("y", P);
            let y = file.microsoft(op, &[&x, "x_s", "x_z", &scale, &zero], "y_q", settings);
            file.node("DequantizeLinear", &[&y, &scale, &zero], "out", Vec::new())
        });
    }
}

/// Products of matrices.
fn rows(list: &mut List) {
    let row = |file: &mut Build| {
        let x = file.quantized("input", "x", X);
        file.node("Flatten", &[&x], "row", vec![int("axis", 1)])
    };
    list.add("qlinear-matmul", "QLinearMatMul with one scale for its weight", by(OUT), Build::new([2, 2, 5]), |file| {
        let row = row(file);
        weight(file, &[20, 5], &[1.0 / 128.0]);
        let [scale, zero] = file.steps("y", OUT);
        let y =
            file.node("QLinearMatMul", &[&row, "x_s", "x_z", "w_q", "w_s", "w_z", &scale, &zero], "y_q", Vec::new());
        file.node("DequantizeLinear", &[&y, &scale, &zero], "out", Vec::new())
    });
    list.floats(
        "qgemm-logits",
        "QGemm of a transposed weight, with floats for an answer",
        Build::new([2, 2, 5]),
        |file| {
            let row = row(file);
            weight(file, &[5, 20], &[0.01, 0.02, 0.003, 0.004, 0.005]);
            file.of_32_bits("b", &[300, -2000, 0, 1500, 90]);
            file.microsoft("QGemm", &[&row, "x_s", "x_z", "w_q", "w_s", "w_z", "b"], "y", vec![int("transB", 1)])
        },
    );
    list.add("qgemm-bytes", "QGemm with bytes for an answer", by(OUT), Build::new([2, 2, 5]), |file| {
        let row = row(file);
        weight(file, &[20, 5], &[1.0 / 128.0]);
        file.of_32_bits("b", &[300, -2000, 0, 1500, 90]);
        let [scale, zero] = file.steps("y", OUT);
        let inputs = [&row, "x_s", "x_z", "w_q", "w_s", "w_z", "b", &scale, &zero];
        let y = file.microsoft("QGemm", &inputs, "y_q", Vec::new());
        file.node("DequantizeLinear", &[&y, &scale, &zero], "out", Vec::new())
    });
}
