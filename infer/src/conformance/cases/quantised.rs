//! Layers of bytes as quantisers write them: `QuantizeLinear` and `DequantizeLinear` around operations of floats.
//!
//! Scales are powers of two and zero points even where a case is about something else: then every right way to compute it gives
//! the same bytes, and "one step" is no excuse.

use attar_models::generated::uniform;
use attar_onnx::proto::AttributeProto;

use super::List;
use crate::conformance::build::{Build, Steps, int, ints};
use crate::conformance::case::{FEW, Judge};

pub(super) const IMAGE: [usize; 3] = [4, 5, 6];

/// Of the images.
pub(super) const X: Steps = Steps { scale: 1.0 / 64.0, zero: 120, signed: false };

/// Of answers.
pub(super) const OUT: Steps = Steps { scale: 0.0625, zero: 128, signed: false };

/// Seeded whole numbers from `-most` to `most`.
pub(super) fn numbers(name: &str, count: usize, most: i16) -> Vec<i16> {
    uniform(name, 9, count).iter().map(|u| (u * f32::from(most)).round() as i16).collect()
}

/// Of answers in these steps.
pub(super) fn by(steps: Steps) -> Judge {
    Judge::Steps { step: steps.scale, ties: FEW }
}

fn padded() -> Vec<AttributeProto> {
    vec![ints("pads", &[1, 1, 1, 1])]
}

/// A convolution of `x` with a weight of bytes and a bias, 4 channels to 6.
pub(super) fn conv(file: &mut Build, x: &str, of_x: Steps, scales: &[f32]) -> String {
    let w = file.weight("w", &[6, 4, 3, 3], &numbers("w", 216, 127), scales, vec![int("axis", 0)]);
    let b = file.bias("b", &[300, -2000, 0, 1500, 90, -700], of_x.scale, scales);
    file.node("Conv", &[x, &w, &b], "conv", padded())
}

pub(super) fn all(list: &mut List) {
    let file = || Build::new(IMAGE);
    layers(list);
    list.add(
        "q-conv-relu-zero",
        "convolution, ReLU, bytes from 0 up: the ReLU is in the quantiser",
        by(Steps::u8(0.03125, 0)),
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            let y = conv(file, &x, X, &[1.0 / 256.0]);
            let y = file.node("Relu", &[&y], "relu", Vec::new());
            file.rounded(&y, "out", Steps::u8(0.03125, 0))
        },
    );
    list.add(
        "q-conv-relu-middle",
        "convolution, ReLU, bytes around 128: the ReLU is not in the quantiser",
        by(OUT),
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            let y = conv(file, &x, X, &[1.0 / 256.0]);
            let y = file.node("Relu", &[&y], "relu", Vec::new());
            file.rounded(&y, "out", OUT)
        },
    );
    for (name, scale, about) in [
        ("q-conv-clip-below", 0.03125, "convolution, Clip(0, 6), bytes that end at 7.97, beyond the clip"),
        ("q-conv-clip-within", 0.015625, "convolution, Clip(0, 6), bytes that end at 3.98, within the clip"),
    ] {
        list.add(name, about, by(Steps::u8(scale, 0)), file(), |file| {
            let x = file.rounded("input", "x", X);
            let y = conv(file, &x, X, &[1.0 / 64.0]);
            file.floats("low", &[], &[0.0]);
            file.floats("high", &[], &[6.0]);
            let y = file.node("Clip", &[&y, "low", "high"], "clip", Vec::new());
            file.rounded(&y, "out", Steps::u8(scale, 0))
        });
    }
    list.add(
        "q-conv-clipped-bytes",
        "bytes cut to 0 and 96 by a Clip of bytes",
        by(Steps::u8(0.03125, 0)),
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            let y = conv(file, &x, X, &[1.0 / 256.0]);
            let bytes = file.quantized(&y, "out", Steps::u8(0.03125, 0));
            file.bytes("low", &[], false, &[0]);
            file.bytes("high", &[], false, &[96]);
            let cut = file.node("Clip", &[&bytes, "low", "high"], "cut", Vec::new());
            file.node("DequantizeLinear", &[&cut, "out_s", "out_z"], "out", Vec::new())
        },
    );
    for (name, op, about) in [
        ("q-hard-swish", "HardSwish", "convolution, bytes, HardSwish, bytes"),
        ("q-sigmoid", "Sigmoid", "convolution, bytes, Sigmoid, bytes"),
        ("q-leaky-relu", "LeakyRelu", "convolution, bytes, LeakyRelu, bytes"),
        ("q-tanh", "Tanh", "convolution, bytes, Tanh, bytes"),
    ] {
        list.add(name, about, by(Steps::u8(0.03125, 64)), file(), |file| {
            let x = file.rounded("input", "x", X);
            let y = conv(file, &x, X, &[1.0 / 256.0]);
            let y = file.rounded(&y, "y", OUT);
            let y = file.node(op, &[&y], "function", Vec::new());
            file.rounded(&y, "out", Steps::u8(0.03125, 64))
        });
    }
    joins(list);
    pools(list);
    heads(list);
}

fn layers(list: &mut List) {
    let file = || Build::new(IMAGE);
    let plain = |list: &mut List, name: &'static str, about: &str, of_x: Steps, scales: &[f32], out: Steps| {
        list.add(name, about, by(out), Build::new(IMAGE), |file| {
            let x = file.rounded("input", "x", of_x);
            let y = conv(file, &x, of_x, scales);
            file.rounded(&y, "out", out)
        });
    };
    let each: Vec<f32> = (0..6).map(|at| 2f32.powi(-7 - at % 4)).collect();
    plain(list, "q-conv", "a convolution of bytes, one scale for its weight", X, &[1.0 / 256.0], OUT);
    plain(list, "q-conv-channels", "a scale for each channel of its weight", X, &each, OUT);
    plain(
        list,
        "q-conv-no-zero",
        "images whose zero point is 0, so that what is below 0 is gone",
        Steps::u8(1.0 / 128.0, 0),
        &each,
        OUT,
    );
    plain(
        list,
        "q-conv-free-scales",
        "scales that are no powers of two",
        Steps::u8(0.0137, 117),
        &[0.0031, 0.0047, 0.0022, 0.0058, 0.0039, 0.0044],
        Steps::u8(0.0713, 131),
    );
    for (name, kernel, settings, about) in [
        (
            "q-depthwise",
            [6, 1, 3, 3],
            vec![int("group", 6), ints("pads", &[1, 1, 1, 1])],
            "a depthwise convolution of bytes",
        ),
        (
            "q-depthwise-strided",
            [6, 1, 5, 5],
            vec![int("group", 6), ints("strides", &[2, 2]), ints("pads", &[2, 2, 2, 2])],
            "a depthwise convolution of 5 x 5 with a stride of 2",
        ),
        ("q-grouped", [6, 3, 3, 3], vec![int("group", 2)], "a convolution of bytes in two groups"),
        (
            "q-asymmetric",
            [6, 6, 3, 3],
            vec![ints("pads", &[0, 1, 2, 0]), ints("strides", &[2, 1])],
            "padding of bytes that differs by side: it is the zero point",
        ),
        (
            "q-dilated",
            [6, 6, 3, 3],
            vec![ints("pads", &[2, 2, 2, 2]), ints("dilations", &[2, 2])],
            "a dilated convolution of bytes",
        ),
    ] {
        list.add(name, about, by(OUT), Build::new([6, 5, 6]), |file| {
            let x = file.rounded("input", "x", X);
            let count = kernel.iter().product();
            let w = file.weight("w", &kernel, &numbers("w", count, 127), &[1.0 / 128.0], Vec::new());
            let y = file.node("Conv", &[&x, &w], "conv", settings);
            file.rounded(&y, "out", OUT)
        });
    }
    list.add("q-conv-float-bias", "a bias of floats", by(OUT), file(), |file| {
        let x = file.rounded("input", "x", X);
        let w = file.weight("w", &[6, 4, 3, 3], &numbers("w", 216, 127), &[1.0 / 256.0], Vec::new());
        file.seeded("b", &[6], 0.5);
        let y = file.node("Conv", &[&x, &w, "b"], "conv", padded());
        file.rounded(&y, "out", OUT)
    });
    list.add(
        "q-weight-of-floats",
        "a weight that is stored as floats and quantised in the file",
        by(OUT),
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            file.seeded("floats", &[6, 4, 3, 3], 0.4);
            let w = file.rounded("floats", "w", Steps::s8(1.0 / 256.0, 0));
            let y = file.node("Conv", &[&x, &w], "conv", padded());
            file.rounded(&y, "out", OUT)
        },
    );
    list.add("q-weight-zero-point", "a weight of unsigned bytes around 131", by(OUT), file(), |file| {
        let x = file.rounded("input", "x", X);
        let unsigned: Vec<i16> = numbers("w", 216, 120).iter().map(|number| number + 131).collect();
        file.bytes("w_q", &[6, 4, 3, 3], false, &unsigned);
        let [scale, zero] = file.steps("w", Steps::u8(1.0 / 256.0, 131));
        let w = file.node("DequantizeLinear", &["w_q", &scale, &zero], "w", Vec::new());
        let y = file.node("Conv", &[&x, &w], "conv", padded());
        file.rounded(&y, "out", OUT)
    });
    list.floats("q-weight-alone", "a weight of bytes, images of floats", file(), |file| {
        let scales = [0.01, 0.02, 0.003, 0.004, 0.01, 0.02];
        let w = file.weight("w", &[6, 4, 3, 3], &numbers("w", 216, 127), &scales, vec![int("axis", 0)]);
        file.node("Conv", &["input", &w], "conv", padded())
    });
}

fn joins(list: &mut List) {
    let file = || Build::new(IMAGE);
    for (name, op, about) in [("q-add", "Add", "a sum of bytes of two scales"), ("q-mul", "Mul", "a product of bytes")]
    {
        list.add(name, about, by(OUT), file(), |file| {
            let a = file.rounded("input", "a", X);
            let largest = [vec![ints("kernel_shape", &[3, 3])], padded()].concat();
            let wide = file.node("MaxPool", &["input"], "wide", largest);
            let b = file.rounded(&wide, "b", Steps::u8(1.0 / 128.0, 60));
            let y = file.node(op, &[&a, &b], "join", Vec::new());
            file.rounded(&y, "out", OUT)
        });
    }
    list.add(
        "q-residual",
        "a residual: one value read by a convolution and by the sum, ReLU behind",
        by(Steps::u8(0.0625, 0)),
        Build::new([6, 5, 6]),
        |file| {
            let x = file.rounded("input", "x", X);
            let w = file.weight("w", &[6, 6, 3, 3], &numbers("w", 324, 127), &[1.0 / 256.0], Vec::new());
            let y = file.node("Conv", &[&x, &w], "conv", padded());
            let y = file.rounded(&y, "y", OUT);
            let sum = file.node("Add", &[&y, &x], "sum", Vec::new());
            let sum = file.node("Relu", &[&sum], "relu", Vec::new());
            file.rounded(&sum, "out", Steps::u8(0.0625, 0))
        },
    );
    list.add("q-gate", "bytes times a gate of one number a channel", by(Steps::u8(0.015625, 64)), file(), |file| {
        let x = file.rounded("input", "x", X);
        let pooled = file.node("GlobalAveragePool", &[&x], "pooled", Vec::new());
        let pooled = file.rounded(&pooled, "p", Steps::u8(1.0 / 64.0, 128));
        let gate = file.node("Sigmoid", &[&pooled], "gate", Vec::new());
        let gate = file.rounded(&gate, "g", Steps::u8(1.0 / 256.0, 0));
        let y = file.node("Mul", &[&x, &gate], "gated", Vec::new());
        file.rounded(&y, "out", Steps::u8(0.015625, 64))
    });
    list.add("q-concat", "Concat of bytes of two scales", by(OUT), file(), |file| {
        let a = file.rounded("input", "a", X);
        let other = file.node("Relu", &["input"], "other", Vec::new());
        let b = file.rounded(&other, "b", Steps::u8(1.0 / 128.0, 0));
        let y = file.node("Concat", &[&a, &b], "joined", vec![int("axis", 1)]);
        file.rounded(&y, "out", OUT)
    });
    list.add(
        "q-requantised",
        "bytes in other steps: four times as coarse, another zero point",
        by(Steps::u8(1.0 / 32.0, 100)),
        file(),
        |file| {
            let a = file.rounded("input", "a", Steps::u8(1.0 / 128.0, 128));
            file.rounded(&a, "out", Steps::u8(1.0 / 32.0, 100))
        },
    );
    list.add("q-relu6-alone", "bytes, Relu, bytes of other steps", by(Steps::u8(1.0 / 128.0, 0)), file(), |file| {
        let a = file.rounded("input", "a", X);
        let y = file.node("Relu", &[&a], "relu", Vec::new());
        file.rounded(&y, "out", Steps::u8(1.0 / 128.0, 0))
    });
}

fn pools(list: &mut List) {
    let file = || Build::new(IMAGE);
    let square = |size: i64| vec![ints("kernel_shape", &[size, size]), ints("strides", &[2, 2])];
    list.add("q-max-pool", "a maximum of bytes in the same steps", by(X), file(), |file| {
        let x = file.rounded("input", "x", X);
        let y = file.node("MaxPool", &[&x], "pool", [square(3), padded()].concat());
        file.rounded(&y, "out", X)
    });
    list.add(
        "q-max-pool-other",
        "a maximum of bytes, then other steps",
        by(Steps::u8(1.0 / 32.0, 128)),
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            let y = file.node("MaxPool", &[&x], "pool", square(2));
            file.rounded(&y, "out", Steps::u8(1.0 / 32.0, 128))
        },
    );
    list.add("q-max-pool-of-bytes", "MaxPool of the bytes themselves", by(X), file(), |file| {
        let bytes = file.quantized("input", "x", X);
        let y = file.node("MaxPool", &[&bytes], "pool", square(2));
        file.node("DequantizeLinear", &[&y, "x_s", "x_z"], "out", Vec::new())
    });
    list.add("q-mean", "means of 2 x 2 bytes", by(Steps::u8(1.0 / 64.0, 128)), file(), |file| {
        let x = file.rounded("input", "x", X);
        let y = file.node("AveragePool", &[&x], "pool", square(2));
        file.rounded(&y, "out", Steps::u8(1.0 / 64.0, 128))
    });
    list.add(
        "q-mean-padded",
        "means of 3 x 3 bytes whose padding does not count",
        by(Steps::u8(1.0 / 64.0, 128)),
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            let y = file.node("AveragePool", &[&x], "pool", [square(3), padded()].concat());
            file.rounded(&y, "out", Steps::u8(1.0 / 64.0, 128))
        },
    );
    list.add("q-global-mean", "means of whole images of bytes", by(Steps::u8(1.0 / 128.0, 128)), file(), |file| {
        let x = file.rounded("input", "x", X);
        let y = file.node("GlobalAveragePool", &[&x], "pool", Vec::new());
        file.rounded(&y, "out", Steps::u8(1.0 / 128.0, 128))
    });
    list.add(
        "q-pad-of-bytes",
        "zeros around an image and channels of them, as bytes: the zero point",
        by(X),
        file(),
        |file| {
            let bytes = file.quantized("input", "x", X);
            file.whole("pads", &[0, 1, 0, 0, 0, 2, 0, 0]);
            let y = file.node("Pad", &[&bytes, "pads", "x_z"], "pad", Vec::new());
            file.node("DequantizeLinear", &[&y, "x_s", "x_z"], "out", Vec::new())
        },
    );
    list.add("q-slice-of-bytes", "every second pixel of the bytes", by(X), file(), |file| {
        let bytes = file.quantized("input", "x", X);
        for (name, values) in [("starts", [0, 0]), ("ends", [5, 6]), ("axes", [2, 3]), ("steps", [2, 2])] {
            file.whole(name, &values);
        }
        let y = file.node("Slice", &[&bytes, "starts", "ends", "axes", "steps"], "slice", Vec::new());
        file.node("DequantizeLinear", &[&y, "x_s", "x_z"], "out", Vec::new())
    });
}

fn heads(list: &mut List) {
    let file = || Build::new([16, 4, 5]);
    let start = |file: &mut Build| {
        let x = file.rounded("input", "x", X);
        let pooled = file.node("GlobalAveragePool", &[&x], "pool", Vec::new());
        let pooled = file.rounded(&pooled, "p", Steps::u8(1.0 / 64.0, 128));
        let row = file.node("Flatten", &[&pooled], "row", vec![int("axis", 1)]);
        file.rounded(&row, "r", Steps::u8(1.0 / 64.0, 128))
    };
    list.floats("q-head", "mean, Flatten, Gemm of bytes whose answer is floats: logits", file(), |file| {
        let row = start(file);
        let scales: Vec<f32> = (0..5).map(|at| 2f32.powi(-7 - at)).collect();
        let w = file.weight("w", &[5, 16], &numbers("w", 80, 127), &scales, vec![int("axis", 0)]);
        let b = file.bias("b", &[40, -2000, 7, 1500, -3], 1.0 / 64.0, &scales);
        file.node("Gemm", &[&row, &w, &b], "gemm", vec![int("transB", 1)])
    });
    list.add("q-head-of-bytes", "the same, with bytes for logits", by(OUT), file(), |file| {
        let row = start(file);
        let w = file.weight("w", &[5, 16], &numbers("w", 80, 127), &[1.0 / 64.0], Vec::new());
        let y = file.node("Gemm", &[&row, &w], "gemm", vec![int("transB", 1)]);
        file.rounded(&y, "out", OUT)
    });
    list.floats("q-head-axis-1", "a weight [16, 5], not transposed, its scales along axis 1", file(), |file| {
        let row = start(file);
        let scales: Vec<f32> = (0..5).map(|at| 2f32.powi(-7 - at)).collect();
        let w = file.weight("w", &[16, 5], &numbers("w", 80, 127), &scales, vec![int("axis", 1)]);
        file.node("MatMul", &[&row, &w], "product", Vec::new())
    });
}
