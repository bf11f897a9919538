//! Settings that may be left out, said otherwise, or mean another thing in another operator set.

use super::List;
use crate::conformance::build::{Build, float, int, ints, text};

const IMAGE: [usize; 3] = [6, 4, 5];

fn norm(file: &mut Build) -> [&'static str; 5] {
    file.seeded("scale", &[6], 1.0);
    file.seeded("shift", &[6], 1.0);
    file.seeded("mean", &[6], 0.5);
    file.floats("variance", &[6], &[0.001, 0.5, 1.0, 2.0, 0.01, 0.1]);
    ["input", "scale", "shift", "mean", "variance"]
}

/// One number a channel and image.
fn row(file: &mut Build) -> String {
    let pooled = file.node("GlobalAveragePool", &["input"], "pooled", Vec::new());
    file.node("Flatten", &[&pooled], "row", vec![int("axis", 1)])
}

pub(super) fn all(list: &mut List) {
    let file = || Build::new(IMAGE);
    list.floats(
        "batch-norm-default",
        "an epsilon that is not said: 1e-5, beside a variance of 0.001",
        file(),
        |file| {
            let inputs = norm(file);
            file.node("BatchNormalization", &inputs, "norm", Vec::new())
        },
    );
    list.floats("batch-norm-epsilon", "an epsilon of 0.01", file(), |file| {
        let inputs = norm(file);
        file.node("BatchNormalization", &inputs, "norm", vec![float("epsilon", 0.01)])
    });
    list.floats("layer-norm-row", "LayerNormalization of a row, epsilon 0.1", file(), |file| {
        let row = row(file);
        file.seeded("scale", &[6], 1.0);
        file.seeded("shift", &[6], 1.0);
        file.node("LayerNormalization", &[&row, "scale", "shift"], "norm", vec![float("epsilon", 0.1)])
    });
    for (name, settings, about) in [
        ("hard-sigmoid-default", vec![], "HardSigmoid of which nothing is said: a slope of 0.2, not of 1/6"),
        ("hard-sigmoid-sixth", vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)], "HardSigmoid with a slope of 1/6"),
        (
            "hard-sigmoid-other",
            vec![float("alpha", 0.7), float("beta", 0.25)],
            "HardSigmoid with a slope of 0.7 around 0.25",
        ),
    ] {
        list.floats(name, about, file(), |file| file.node("HardSigmoid", &["input"], "gate", settings));
    }
    list.floats("leaky-relu-default", "LeakyRelu without a slope: 0.01", file(), |file| {
        file.node("LeakyRelu", &["input"], "leaky", Vec::new())
    });
    list.floats("leaky-relu-slope", "LeakyRelu with a slope of 0.3", file(), |file| {
        file.node("LeakyRelu", &["input"], "leaky", vec![float("alpha", 0.3)])
    });
    for (name, shape, about) in [
        ("prelu-channel-slopes", vec![6, 1, 1], "PRelu with a slope a channel"),
        ("prelu-one-slope", vec![1], "PRelu with one slope"),
        ("prelu-pixel-slopes", vec![1, 4, 5], "PRelu with a slope a pixel"),
    ] {
        list.floats(name, about, file(), |file| {
            file.seeded("slope", &shape, 0.7);
            file.node("PRelu", &["input", "slope"], "prelu", Vec::new())
        });
    }
    clips(list);
    products(list);
    arithmetic(list);
    axes(list);
}

fn clips(list: &mut List) {
    let file = || Build::new(IMAGE);
    list.floats("clip-bounds", "a clip to -0.4 and 0.9", file(), |file| {
        file.floats("low", &[], &[-0.4]);
        file.floats("high", &[], &[0.9]);
        file.node("Clip", &["input", "low", "high"], "clip", Vec::new())
    });
    list.floats("clip-low", "a clip with a lower bound alone", file(), |file| {
        file.floats("low", &[], &[-0.25]);
        file.node("Clip", &["input", "low"], "clip", Vec::new())
    });
    list.floats("clip-high", "a clip with an upper bound alone", file(), |file| {
        file.floats("high", &[], &[0.25]);
        file.node("Clip", &["input", "", "high"], "clip", Vec::new())
    });
    list.floats("clip-6-of-10", "a clip to 0 and 6 of numbers up to 15", file(), |file| {
        file.floats("ten", &[], &[10.0]);
        file.floats("low", &[], &[0.0]);
        file.floats("high", &[], &[6.0]);
        let wide = file.node("Mul", &["input", "ten"], "wide", Vec::new());
        file.node("Clip", &[&wide, "low", "high"], "clip", Vec::new())
    });
    list.floats(
        "clip-attributes",
        "a clip whose bounds are settings (operator set 10)",
        Build::by_opset(10, IMAGE),
        |file| file.node("Clip", &["input"], "clip", vec![float("min", -0.3), float("max", 0.7)]),
    );
    list.floats("gelu-20", "Gelu as an operation (operator set 20)", Build::by_opset(20, IMAGE), |file| {
        file.node("Gelu", &["input"], "gelu", Vec::new())
    });
    list.floats("gelu-20-tanh", "its approximation", Build::by_opset(20, IMAGE), |file| {
        file.node("Gelu", &["input"], "gelu", vec![text("approximate", "tanh")])
    });
}

fn products(list: &mut List) {
    let file = || Build::new(IMAGE);
    list.floats("gemm-factors", "Gemm with alpha 0.5 and beta 2", file(), |file| {
        let row = row(file);
        file.seeded("w", &[6, 7], 0.6);
        file.seeded("b", &[7], 0.6);
        file.node("Gemm", &[&row, "w", "b"], "gemm", vec![float("alpha", 0.5), float("beta", 2.0)])
    });
    list.floats("gemm-turned", "Gemm with its weight transposed, and a bias of one number", file(), |file| {
        let row = row(file);
        file.seeded("w", &[7, 6], 0.6);
        file.floats("b", &[1], &[0.3]);
        file.node("Gemm", &[&row, "w", "b"], "gemm", vec![int("transB", 1)])
    });
    list.floats("gemm-beta-0", "Gemm with beta 0: its bias does not count", file(), |file| {
        let row = row(file);
        file.seeded("w", &[6, 7], 0.6);
        file.seeded("b", &[7], 0.6);
        file.node("Gemm", &[&row, "w", "b"], "gemm", vec![float("beta", 0.0)])
    });
    list.floats("matmul-add", "MatMul, then a sum with the constant first", file(), |file| {
        let row = row(file);
        file.seeded("w", &[6, 7], 0.6);
        file.seeded("b", &[7], 0.6);
        let product = file.node("MatMul", &[&row, "w"], "product", Vec::new());
        file.node("Add", &["b", &product], "sum", Vec::new())
    });
    list.floats("softmax-new", "Softmax that does not say its axis: the last one", file(), |file| {
        file.node("Softmax", &["input"], "shares", Vec::new())
    });
    list.floats(
        "softmax-old",
        "the same in operator set 11: all axes from the channels on",
        Build::by_opset(11, IMAGE),
        |file| file.node("Softmax", &["input"], "shares", vec![int("axis", 1)]),
    );
    list.floats("softmax-channels", "Softmax over channels, counted from behind", file(), |file| {
        file.node("Softmax", &["input"], "shares", vec![int("axis", -3)])
    });
}

fn arithmetic(list: &mut List) {
    let file = || Build::new(IMAGE);
    for (name, op, first, about) in [
        ("constant-less-x", "Sub", true, "a constant less an image"),
        ("x-less-constant", "Sub", false, "an image less a number a channel"),
        ("x-by-constant", "Div", false, "an image by a number a channel"),
        ("constant-by-x", "Div", true, "a number a channel by an image whose numbers are far from 0"),
        ("constant-times-x", "Mul", true, "a number a channel times an image"),
    ] {
        list.floats(name, about, file(), |file| {
            file.floats("c", &[1, 6, 1, 1], &[0.5, -2.0, 1.5, 3.0, -0.25, 0.75]);
            let mut x = "input".to_owned();
            if name == "constant-by-x" {
                file.floats("far", &[], &[4.0]);
                x = file.node("Add", &["input", "far"], "far_x", Vec::new());
            }
            let inputs = if first { ["c", &x] } else { [&x, "c"] };
            file.node(op, &inputs, "made", Vec::new())
        });
    }
    list.floats("sum-of-three", "Sum of an image and two that come of it", file(), |file| {
        let a = file.node("Sigmoid", &["input"], "a", Vec::new());
        let b = file.node("Relu", &["input"], "b", Vec::new());
        file.node("Sum", &["input", &a, &b], "sum", Vec::new())
    });
    list.floats("square-by-pow", "Pow with an exponent of 2", file(), |file| {
        file.floats("two", &[], &[2.0]);
        file.node("Pow", &["input", "two"], "square", Vec::new())
    });
    list.floats("gate-first", "squeeze-and-excitation with the gate as the first factor", file(), |file| {
        let pooled = file.node("GlobalAveragePool", &["input"], "pooled", Vec::new());
        let gate = file.node("Sigmoid", &[&pooled], "gate", Vec::new());
        file.node("Mul", &[&gate, "input"], "gated", Vec::new())
    });
    list.floats("swish-by-parts", "x times Sigmoid(x), as exporters write SiLU", file(), |file| {
        let gate = file.node("Sigmoid", &["input"], "gate", Vec::new());
        file.node("Mul", &["input", &gate], "silu", Vec::new())
    });
    list.floats("hard-swish-by-parts", "x Clip(x + 3, 0, 6) / 6, as old exporters write HardSwish", file(), |file| {
        [("three", 3.0), ("low", 0.0), ("six", 6.0)]
            .into_iter()
            .for_each(|(name, value)| file.floats(name, &[], &[value]));
        let raised = file.node("Add", &["input", "three"], "raised", Vec::new());
        let gate = file.node("Clip", &[&raised, "low", "six"], "gate", Vec::new());
        let product = file.node("Mul", &["input", &gate], "product", Vec::new());
        file.node("Div", &[&product, "six"], "swish", Vec::new())
    });
}

fn axes(list: &mut List) {
    let file = || Build::new(IMAGE);
    list.floats("flatten-axis", "Flatten with its axis counted from behind", file(), |file| {
        file.node("Flatten", &["input"], "flat", vec![int("axis", -3)])
    });
    list.floats("concat-axis", "Concat along axis -3, the channels", file(), |file| {
        let other = file.node("Relu", &["input"], "other", Vec::new());
        file.node("Concat", &["input", &other], "joined", vec![int("axis", -3)])
    });
    for (name, starts, ends, steps, about) in [
        ("slice-step", [1, 0], [4, i64::MAX], [2, 3], "rows 1 and 3, columns 0 and 3: an end beyond the image"),
        ("slice-behind", [-3, -2], [-1, i64::MAX], [1, 1], "places counted from behind"),
    ] {
        list.floats(name, about, file(), |file| {
            file.whole("starts", &starts);
            file.whole("ends", &ends);
            file.whole("axes", &[2, -1]);
            file.whole("steps", &steps);
            file.node("Slice", &["input", "starts", "ends", "axes", "steps"], "slice", Vec::new())
        });
    }
    list.floats("slice-step-mean", "the mean of every second row and column", file(), |file| {
        for (name, values) in [("starts", [0, 0]), ("ends", [i64::MAX; 2]), ("axes", [2, 3]), ("steps", [2, 2])] {
            file.whole(name, &values);
        }
        let slice = file.node("Slice", &["input", "starts", "ends", "axes", "steps"], "slice", Vec::new());
        file.node("GlobalAveragePool", &[&slice], "mean", Vec::new())
    });
    list.floats("slice-of-channels", "channels 1 to 4", file(), |file| {
        file.whole("starts", &[1]);
        file.whole("ends", &[4]);
        file.whole("axes", &[1]);
        file.node("Slice", &["input", "starts", "ends", "axes"], "slice", Vec::new())
    });
    list.floats("slice-attributes", "ends as settings (operator set 9)", Build::by_opset(9, IMAGE), |file| {
        file.node("Slice", &["input"], "slice", vec![ints("axes", &[1]), ints("starts", &[2]), ints("ends", &[-1])])
    });
    list.floats("split-uneven", "channels split in 4 and 2, and turned around", file(), |file| {
        file.whole("sizes", &[4, 2]);
        file.nodes("Split", &["input", "sizes"], &["first", "second"], vec![int("axis", 1)]);
        file.node("Concat", &["second", "first"], "turned", vec![int("axis", 1)])
    });
    list.floats(
        "split-halves",
        "channels split in halves as a setting says (operator set 11)",
        Build::by_opset(11, IMAGE),
        |file| {
            file.nodes("Split", &["input"], &["first", "second"], vec![int("axis", 1), ints("split", &[3, 3])]);
            file.node("Mul", &["first", "second"], "made", Vec::new())
        },
    );
    list.floats("mean-axes-behind", "ReduceMean over axes -1 and -2", file(), |file| {
        file.node("ReduceMean", &["input"], "mean", vec![ints("axes", &[-1, -2]), int("keepdims", 0)])
    });
    list.floats("mean-axes-input", "the axes as an input (operator set 18)", Build::by_opset(18, IMAGE), |file| {
        file.whole("axes", &[2, 3]);
        file.node("ReduceMean", &["input", "axes"], "mean", Vec::new())
    });
    list.floats(
        "shuffle",
        "Reshape, Transpose, Reshape: a shuffle of channels, with a 0 that keeps a size",
        file(),
        |file| {
            file.whole("apart", &[0, 2, 3, 4, 5]);
            file.whole("whole", &[0, -1, 4, 5]);
            let apart = file.node("Reshape", &["input", "apart"], "piles", Vec::new());
            let turned = file.node("Transpose", &[&apart], "turned", vec![ints("perm", &[0, 2, 1, 3, 4])]);
            file.node("Reshape", &[&turned, "whole"], "shuffled", Vec::new())
        },
    );
    list.floats("squeeze", "Squeeze of the last two axes", file(), |file| {
        file.whole("axes", &[-1, -2]);
        let pooled = file.node("GlobalAveragePool", &["input"], "pooled", Vec::new());
        file.node("Squeeze", &[&pooled, "axes"], "row", Vec::new())
    });
    list.floats("unsqueeze", "a row made an image again, times an image", file(), |file| {
        let row = row(file);
        file.whole("axes", &[2, 3]);
        let gate = file.node("Unsqueeze", &[&row, "axes"], "gate", Vec::new());
        file.node("Mul", &["input", &gate], "gated", Vec::new())
    });
}
