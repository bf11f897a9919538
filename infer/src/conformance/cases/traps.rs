//! Where runtimes are known to part: saturation, ties, numbers far outside, scales by axis, signed activations, biases near the
//! end of 32 bits, and files that say something unusual and mean it.

use super::List;
use super::quantised::{IMAGE, OUT, X, by, conv, numbers};
use crate::conformance::build::{Build, Steps, int, ints};
use crate::conformance::case::Judge;

/// Of signed activations.
const SIGNED: Steps = Steps { scale: 1.0 / 64.0, zero: -8, signed: true };

fn padded() -> Vec<attar_onnx::proto::AttributeProto> {
    vec![ints("pads", &[1, 1, 1, 1])]
}

pub(super) fn all(list: &mut List) {
    saturation(list);
    ties(list);
    odd_zero_points(list);
    axes(list);
    biases(list);
    signed(list);
    unusual(list);
}

/// Bright images and weights of one sign: what two products of bytes come to in 16 bits.
fn saturation(list: &mut List) {
    let bright = || -> Vec<f32> {
        let noise = attar_models::generated::uniform("bright", 0, 2 * 8 * 36);
        noise.iter().map(|u| 3.5 + 0.49 * u).collect()
    };
    let out = Steps::u8(1.0, 128);
    for (name, most, about) in [
        (
            "saturating-pairs",
            127i16,
            "bright images and weights of eight bits in one sign: two products are beyond 16 bits, where x86 without VNNI cuts them off",
        ),
        ("seven-bit-pairs", 64, "the same with weights up to 64, which are safe everywhere"),
    ] {
        list.asked(name, about, by(out), Build::new([8, 6, 6]), Some(bright()), |file| {
            let x = file.rounded("input", "x", Steps::u8(1.0 / 64.0, 0));
            let sign = |at: usize| if (at / 72).is_multiple_of(2) { most } else { -most };
            let weights: Vec<i16> =
                (0..4 * 72).map(|at| sign(at) + if at % 7 == 0 { -sign(at).signum() } else { 0 }).collect();
            let w = file.weight("w", &[4, 8, 3, 3], &weights, &[0.0025], Vec::new());
            let y = file.node("Conv", &[&x, &w], "conv", padded());
            file.rounded(&y, "out", out)
        });
    }
    list.floats(
        "minus-128",
        "signed bytes of -128 times weights of -128: two such products are beyond 16 bits",
        Build::new([8, 6, 6]),
        |file| {
            file.floats("far", &[], &[-10.0]);
            let dark = file.node("Add", &["input", "far"], "dark", Vec::new());
            let x = file.rounded(&dark, "x", Steps::s8(1.0 / 64.0, 0));
            let w = file.weight("w", &[4, 8, 3, 3], &[-128; 288], &[1.0 / 256.0], Vec::new());
            file.node("Conv", &[&x, &w], "conv", padded())
        },
    );
    list.asked(
        "far-outside",
        "numbers up to 1e9 beyond the range of their bytes, zero point 128",
        Judge::Steps { step: 1.0 / 64.0, ties: 0.0 },
        Build::new([1, 2, 8]),
        Some([-1e30, -3.4e7, -3e6, -100.0, 100.0, 3e6, 3.4e7, 1e30].repeat(2).into_iter().chain([0.5; 16]).collect()),
        |file| file.rounded("input", "x", Steps::u8(1.0 / 64.0, 128)),
    );
    list.add(
        "beyond-both-ends",
        "signed bytes down to -128, and up to 127",
        Judge::Steps { step: 1.0 / 256.0, ties: 0.0 },
        Build::new(IMAGE),
        |file| file.rounded("input", "x", Steps::s8(1.0 / 256.0, 5)),
    );
}

/// Numbers at ties, and within three units in the last place of them.
fn ties(list: &mut List) {
    let near = |scale: f32, zero: i16| -> Vec<f32> {
        let tie = |at: usize| ((at / 7) as f32 - f32::from(zero) + 0.5) * scale;
        let moved = |at: usize| f32::from_bits(tie(at).to_bits().wrapping_add((at % 7) as u32).wrapping_sub(3));
        (0..2 * 896).map(moved).collect()
    };
    for (name, scale, about) in [
        (
            "near-ties",
            0.0235f32,
            "numbers within 3 units in the last place of a tie, by a scale of 0.0235: `x / scale` is not `x * (1 / scale)`",
        ),
        ("ties-of-two", 0.03125, "the same by a scale of 1/32, where both are the same"),
    ] {
        let judge = Judge::Steps { step: scale, ties: 0.0 };
        list.asked(name, about, judge, Build::new([4, 4, 8]), Some(near(scale, 128)), |file| {
            file.rounded("input", "x", Steps::u8(scale, 128))
        });
    }
    list.asked(
        "ties-odd-zero",
        "ties by a scale of 1/32 and a zero point of 127: `round(x) + 127`",
        Judge::Steps { step: 0.03125, ties: 0.0 },
        Build::new([4, 4, 8]),
        Some(near(0.03125, 127)),
        |file| file.rounded("input", "x", Steps::u8(0.03125, 127)),
    );
    let all_bytes: Vec<f32> = (0..2 * 256).map(|at| (at % 256) as f32 * 0.02 - 2.56).collect();
    list.asked(
        "ties-of-ratio",
        "bytes of 0.02 through a ReLU to bytes of 0.04: every second is at a tie",
        by(Steps::u8(0.04, 0)),
        Build::new([4, 4, 8]),
        Some(all_bytes),
        |file| {
            let x = file.rounded("input", "x", Steps::u8(0.02, 128));
            let y = file.node("Relu", &[&x], "relu", Vec::new());
            file.rounded(&y, "out", Steps::u8(0.04, 0))
        },
    );
}

/// `round(v) + z` is not `round(v + z)` where `z` is odd and `v` at a tie; fused operations on bytes round once.
fn odd_zero_points(list: &mut List) {
    let file = || Build::new(IMAGE);
    let odd = |scale: f32, zero: i16| (Steps::u8(scale, zero), Judge::Steps { step: scale, ties: 0.5 });
    for (names, zero) in [
        (["add-odd-zero", "mean-odd-zero", "mul-odd-zero"], 127),
        (["add-even-zero", "mean-even-zero", "mul-even-zero"], 128),
    ] {
        let why = if zero == 127 {
            "whose zero point is odd: a fused one may round ties the other way"
        } else {
            "whose zero point is even"
        };
        let [(out, judge), (of_means, judge_means), (of_products, judge_products)] =
            [odd(0.0625, zero), odd(1.0 / 64.0, zero), odd(0.03125, zero)];
        let even = |judge: Judge, steps: Steps| if zero == 128 { by(steps) } else { judge };
        list.add(names[0], &format!("a sum of bytes {why}"), even(judge, out), file(), |file| {
            let a = file.rounded("input", "a", Steps::u8(0.03125, 128));
            let b = file.rounded("input", "b", Steps::u8(0.015625, 128));
            let sum = file.node("Add", &[&a, &b], "sum", Vec::new());
            file.rounded(&sum, "out", out)
        });
        list.add(names[1], &format!("means of 2 x 2 bytes {why}"), even(judge_means, of_means), file(), |file| {
            let x = file.rounded("input", "x", Steps::u8(1.0 / 64.0, 128));
            let pool = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
            let y = file.node("AveragePool", &[&x], "pool", pool);
            file.rounded(&y, "out", of_means)
        });
        list.add(names[2], &format!("a product of bytes {why}"), even(judge_products, of_products), file(), |file| {
            let a = file.rounded("input", "a", Steps::u8(0.0625, 128));
            let b = file.rounded("input", "b", Steps::u8(0.125, 128));
            let y = file.node("Mul", &[&a, &b], "product", Vec::new());
            file.rounded(&y, "out", of_products)
        });
    }
    list.add(
        "conv-odd-zero",
        "a convolution whose bytes all have odd zero points",
        by(Steps::u8(0.0625, 129)),
        file(),
        |file| {
            let x = file.rounded("input", "x", Steps::u8(1.0 / 64.0, 117));
            let y = conv(file, &x, X, &[1.0 / 256.0]);
            file.rounded(&y, "out", Steps::u8(0.0625, 129))
        },
    );
}

/// Along which axis scales lie.
fn axes(list: &mut List) {
    let file = || Build::new(IMAGE);
    let apart: Vec<f32> = [-14, -4, -10, -6, -12, -8].iter().map(|power| 2f32.powi(*power)).collect();
    list.floats(
        "scales-apart",
        "scales of a weight's channels a thousand apart, floats for an answer",
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            let w = file.weight("w", &[6, 4, 3, 3], &numbers("w", 216, 127), &apart, vec![int("axis", 0)]);
            file.node("Conv", &[&x, &w], "conv", padded())
        },
    );
    list.add("axis-from-behind", "axis -4 of four: the first", by(OUT), file(), |file| {
        let x = file.rounded("input", "x", X);
        let w = file.weight("w", &[6, 4, 3, 3], &numbers("w", 216, 127), &apart[..6], vec![int("axis", -4)]);
        let y = file.node("Conv", &[&x, &w], "conv", padded());
        file.rounded(&y, "out", OUT)
    });
    list.floats(
        "axis-by-default",
        "scales along the axis that is meant where none is said: the second, channels in",
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            let w = file.weight("w", &[4, 4, 1, 1], &numbers("w", 16, 127), &apart[..4], Vec::new());
            file.node("Conv", &[&x, &w], "conv", Vec::new())
        },
    );
    list.floats("axis-last", "a weight [160, 5] with scales along axis -1", Build::new([16, 2, 5]), |file| {
        let x = file.rounded("input", "x", X);
        let row = file.node("Flatten", &[&x], "row", vec![int("axis", 1)]);
        let w = file.weight("w", &[160, 5], &numbers("w", 800, 127), &apart[..5], vec![int("axis", -1)]);
        file.node("MatMul", &[&row, &w], "product", Vec::new())
    });
    list.floats("activation-by-channel", "an image with a scale for each of its channels", file(), |file| {
        file.floats("s", &[4], &apart[1..5]);
        file.bytes("z", &[4], false, &[128, 120, 130, 100]);
        let bytes = file.node("QuantizeLinear", &["input", "s", "z"], "bytes", vec![int("axis", 1)]);
        file.node("DequantizeLinear", &[&bytes, "s", "z"], "out", vec![int("axis", 1)])
    });
    list.floats(
        "blocks",
        "a weight with a scale for every two channels in (operator set 21)",
        Build::by_opset(21, IMAGE),
        |file| {
            file.bytes("w_q", &[4, 4, 1, 1], true, &numbers("w", 16, 127));
            file.floats("w_s", &[4, 2, 1, 1], &[0.01, 0.5, 0.02, 0.3, 0.4, 0.001, 0.2, 0.1]);
            let w = file.node("DequantizeLinear", &["w_q", "w_s"], "w", vec![int("axis", 1), int("block_size", 2)]);
            file.node("Conv", &["input", &w], "conv", Vec::new())
        },
    );
    list.floats(
        "blocks-as-many-as-channels",
        "blocks of four channels in, whose scales happen to be as many as the channels",
        Build::by_opset(21, IMAGE),
        |file| {
            file.bytes("w_q", &[4, 4, 1, 1], true, &numbers("w", 16, 127));
            file.floats("w_s", &[4, 1, 1, 1], &[0.01, 0.5, 0.02, 0.3]);
            let w = file.node("DequantizeLinear", &["w_q", "w_s"], "w", vec![int("axis", 1), int("block_size", 4)]);
            file.node("Conv", &["input", &w], "conv", Vec::new())
        },
    );
    list.floats(
        "four-bits",
        "a weight of 4 bits, two numbers a byte (operator set 21)",
        Build::by_opset(21, IMAGE),
        |file| {
            file.nibbles("w_q", &[4, 4, 1, 1], &numbers("w", 16, 7));
            file.floats("w_s", &[4], &[0.1, 0.02, 0.3, 0.05]);
            let w = file.node("DequantizeLinear", &["w_q", "w_s"], "w", vec![int("axis", 0)]);
            file.node("Conv", &["input", &w], "conv", Vec::new())
        },
    );
}

/// Biases near the end of 32 bits, and in other steps than a layer's.
fn biases(list: &mut List) {
    let file = || Build::new(IMAGE);
    let with = |list: &mut List, name: &'static str, about: &str, dead: bool, bias: i32| {
        list.add(name, about, by(Steps::u8(0.0625, 64)), Build::new(IMAGE), |file| {
            let x = file.rounded("input", "x", X);
            let scales = [1.0 / 256.0, 2f32.powi(-25), 1.0 / 256.0, 1.0 / 128.0, 1.0 / 256.0, 1.0 / 256.0];
            let mut weights = numbers("w", 216, 127);
            weights[36..72].iter_mut().for_each(|weight| *weight = if dead { 0 } else { weight.abs() });
            let w = file.weight("w", &[6, 4, 3, 3], &weights, &scales, vec![int("axis", 0)]);
            let b = file.bias("b", &[300, bias, 0, 1500, 90, -700], X.scale, &scales);
            let y = file.node("Conv", &[&x, &w, &b], "conv", padded());
            file.rounded(&y, "out", Steps::u8(0.0625, 64))
        });
    };
    with(list, "bias-of-a-dead-channel", "a channel whose weights are 0, its bias 2e9 steps", true, 2_000_000_000);
    with(
        list,
        "bias-at-the-end",
        "a bias of 2^31 - 1 steps and weights that lead the sum beyond 32 bits by a part in a thousand",
        false,
        i32::MAX,
    );
    list.add("bias-of-other-steps", "a bias whose steps are not the product of its layer's", by(OUT), file(), |file| {
        let x = file.rounded("input", "x", X);
        let w = file.weight("w", &[6, 4, 3, 3], &numbers("w", 216, 127), &[1.0 / 256.0], Vec::new());
        file.of_32_bits("b_q", &[30, -100, 0, 75, 9, -70]);
        file.floats("b_s", &[], &[0.011]);
        let b = file.node("DequantizeLinear", &["b_q", "b_s"], "b", Vec::new());
        let y = file.node("Conv", &[&x, &w, &b], "conv", padded());
        file.rounded(&y, "out", OUT)
    });
}

/// Signed activations.
fn signed(list: &mut List) {
    let file = || Build::new([6, 5, 6]);
    let out = Steps::s8(0.0625, 0);
    let layer = |file: &mut Build, x: &str| {
        let w = file.weight("w", &[6, 6, 3, 3], &numbers("w", 324, 127), &[1.0 / 256.0], Vec::new());
        file.node("Conv", &[x, &w], "conv", padded())
    };
    list.add("s8-conv", "a convolution of signed bytes", by(out), file(), |file| {
        let x = file.rounded("input", "x", SIGNED);
        let y = layer(file, &x);
        file.rounded(&y, "out", out)
    });
    list.add(
        "s8-relu",
        "a convolution, ReLU, signed bytes from -128 up",
        by(Steps::s8(0.03125, -128)),
        file(),
        |file| {
            let x = file.rounded("input", "x", SIGNED);
            let y = layer(file, &x);
            let y = file.node("Relu", &[&y], "relu", Vec::new());
            file.rounded(&y, "out", Steps::s8(0.03125, -128))
        },
    );
    list.add("s8-residual", "a residual of signed bytes: a value with two readers", by(out), file(), |file| {
        let x = file.rounded("input", "x", SIGNED);
        let y = layer(file, &x);
        let y = file.rounded(&y, "y", out);
        let sum = file.node("Add", &[&y, &x], "sum", Vec::new());
        file.rounded(&sum, "out", out)
    });
    list.add("s8-depthwise", "a depthwise convolution of signed bytes", by(out), file(), |file| {
        let x = file.rounded("input", "x", SIGNED);
        let w = file.weight("w", &[6, 1, 3, 3], &numbers("w", 54, 127), &[1.0 / 128.0], Vec::new());
        let y = file.node("Conv", &[&x, &w], "conv", [padded(), vec![int("group", 6)]].concat());
        file.rounded(&y, "out", out)
    });
    let pool = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    for (name, op, settings, about) in [
        ("s8-max-pool", "MaxPool", pool(), "a maximum of signed bytes"),
        ("s8-mean", "AveragePool", pool(), "means of signed bytes"),
        ("s8-global-mean", "GlobalAveragePool", Vec::new(), "means of images of signed bytes"),
        ("s8-sigmoid", "Sigmoid", Vec::new(), "Sigmoid of signed bytes"),
    ] {
        list.add(name, about, by(SIGNED), file(), |file| {
            let x = file.rounded("input", "x", SIGNED);
            let y = file.node(op, &[&x], "function", settings);
            file.rounded(&y, "out", SIGNED)
        });
    }
    list.floats("s8-head", "a linear layer of signed bytes, floats for an answer", Build::new([16, 2, 5]), |file| {
        let x = file.rounded("input", "x", SIGNED);
        let row = file.node("Flatten", &[&x], "row", vec![int("axis", 1)]);
        let w = file.weight(
            "w",
            &[5, 160],
            &numbers("w", 800, 127),
            &[0.01, 0.02, 0.003, 0.004, 0.005],
            vec![int("axis", 0)],
        );
        file.node("Gemm", &[&row, &w], "gemm", vec![int("transB", 1)])
    });
    for (name, op) in [("types-hard-swish", "HardSwish"), ("types-leaky-relu", "LeakyRelu"), ("types-relu", "Relu")] {
        list.add(name, &format!("unsigned bytes, {op}, signed bytes"), by(SIGNED), file(), |file| {
            let x = file.rounded("input", "x", X);
            let y = file.node(op, &[&x], "function", Vec::new());
            file.rounded(&y, "out", SIGNED)
        });
    }
}

/// Files that say something unusual, and mean it.
fn unusual(list: &mut List) {
    let file = || Build::new(IMAGE);
    list.add(
        "other-steps-behind",
        "bytes dequantised by another scale and zero point than they were made by",
        by(Steps::u8(0.0625, 100)),
        file(),
        |file| {
            let bytes = file.quantized("input", "x", X);
            let [scale, zero] = file.steps("y", Steps::u8(0.0625, 100));
            file.node("DequantizeLinear", &[&bytes, &scale, &zero], "out", Vec::new())
        },
    );
    list.add(
        "no-zero-points",
        "zero points that are not said: 0, of unsigned bytes",
        by(Steps::u8(0.015625, 0)),
        file(),
        |file| {
            file.floats("s", &[], &[0.015625]);
            let bytes = file.node("QuantizeLinear", &["input", "s"], "bytes", Vec::new());
            file.node("DequantizeLinear", &[&bytes, "s"], "out", Vec::new())
        },
    );
    list.add(
        "type-by-setting",
        "signed bytes by `output_dtype`, without a zero point (operator set 21)",
        by(Steps::s8(0.015625, 0)),
        Build::by_opset(21, IMAGE),
        |file| {
            file.floats("s", &[], &[0.015625]);
            let bytes = file.node("QuantizeLinear", &["input", "s"], "bytes", vec![int("output_dtype", 3)]);
            file.node("DequantizeLinear", &[&bytes, "s"], "out", Vec::new())
        },
    );
    list.add(
        "twice-quantised",
        "a layer whose bytes are quantised twice, the second time coarser",
        by(Steps::u8(0.125, 128)),
        file(),
        |file| {
            let x = file.rounded("input", "x", X);
            let y = conv(file, &x, X, &[1.0 / 256.0]);
            let y = file.rounded(&y, "y", OUT);
            file.rounded(&y, "out", Steps::u8(0.125, 128))
        },
    );
    list.floats("floats-and-bytes", "a value that one layer reads as bytes and another as floats", file(), |file| {
        let x = file.rounded("input", "x", X);
        file.seeded("v", &[6, 4, 3, 3], 0.3);
        let a = conv(file, &x, X, &[1.0 / 256.0]);
        let b = file.node("Conv", &["input", "v"], "floats", padded());
        file.node("Add", &[&a, &b], "sum", Vec::new())
    });
}
