//! Windows and padding as files of others have them: sides that differ, sizes that round up, padding by rule.

use super::List;
use crate::conformance::build::{Build, int, ints, text};

/// An image of odd sizes.
const IMAGE: [usize; 3] = [4, 9, 8];

fn conv(file: &mut Build, weight: &[usize], settings: Vec<attar_onnx::proto::AttributeProto>) -> String {
    file.seeded("w", weight, 0.4);
    file.seeded("b", &weight[..1], 0.4);
    file.node("Conv", &["input", "w", "b"], "conv", settings)
}

pub(super) fn all(list: &mut List) {
    let file = || Build::new(IMAGE);
    list.floats("conv-asymmetric-pads", "a convolution padded by 0 and 1 before, 2 and 1 behind", file(), |file| {
        conv(file, &[5, 4, 3, 3], vec![ints("pads", &[0, 1, 2, 1]), ints("kernel_shape", &[3, 3])])
    });
    list.floats(
        "conv-asymmetric-strided",
        "the same with a stride of 2, as TensorFlow's SAME has it",
        file(),
        |file| conv(file, &[5, 4, 3, 3], vec![ints("pads", &[0, 0, 1, 1]), ints("strides", &[2, 2])]),
    );
    for (name, rule, about) in [
        (
            "conv-same-upper",
            "SAME_UPPER",
            "`auto_pad` SAME_UPPER, an even kernel, stride 2: the odd row of zeros lies behind",
        ),
        (
            "conv-same-lower",
            "SAME_LOWER",
            "`auto_pad` SAME_LOWER, an even kernel, stride 2: the odd row of zeros lies before",
        ),
        ("conv-valid", "VALID", "`auto_pad` VALID"),
    ] {
        list.floats(name, about, file(), |file| {
            conv(file, &[5, 4, 4, 3], vec![text("auto_pad", rule), ints("strides", &[2, 2])])
        });
    }
    list.floats(
        "conv-same-depthwise",
        "a depthwise convolution with `auto_pad` SAME_UPPER and a stride of 2",
        file(),
        |file| {
            conv(file, &[4, 1, 3, 3], vec![text("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2]), int("group", 4)])
        },
    );
    list.floats("conv-dilated", "dilations of 2 and 3, padding that differs by side", file(), |file| {
        conv(file, &[5, 4, 3, 2], vec![ints("dilations", &[2, 3]), ints("pads", &[2, 1, 1, 2])])
    });
    list.floats("conv-multiplier", "4 groups that make two channels each of one", file(), |file| {
        conv(file, &[8, 1, 3, 3], vec![int("group", 4), ints("pads", &[1, 1, 1, 1])])
    });
    list.floats("conv-groups", "2 groups, kernel and stride of other sizes by axis", file(), |file| {
        conv(file, &[6, 2, 1, 3], vec![int("group", 2), ints("strides", &[1, 2]), ints("pads", &[0, 1, 0, 1])])
    });
    list.floats(
        "conv-larger-than-image",
        "a kernel of 5 on 3 x 3 pixels with padding of 2",
        Build::new([4, 3, 3]),
        |file| conv(file, &[5, 4, 5, 5], vec![ints("pads", &[2, 2, 2, 2])]),
    );
    list.floats("conv-one-channel", "one channel in", Build::new([1, 9, 8]), |file| {
        conv(file, &[5, 1, 3, 3], vec![ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1])])
    });
    list.floats("conv-bare", "a convolution of which nothing is said but its weight", file(), |file| {
        file.seeded("w", &[5, 4, 3, 3], 0.4);
        file.node("Conv", &["input", "w"], "conv", Vec::new())
    });
    pools(list);
    pads(list);
}

fn pools(list: &mut List) {
    let file = || Build::new(IMAGE);
    let by_19 = || Build::by_opset(19, IMAGE);
    let three = || vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])];
    let with = |more: Vec<attar_onnx::proto::AttributeProto>| [three(), more].concat();
    list.floats("max-negative-padded", "a maximum of negative numbers: padding is no zero", file(), |file| {
        file.floats("far", &[1], &[-5.0]);
        let x = file.node("Add", &["input", "far"], "x", Vec::new());
        file.node("MaxPool", &[&x], "pool", with(vec![ints("pads", &[1, 1, 1, 1])]))
    });
    list.floats("max-asymmetric", "a maximum padded by 0 and 1 before, 2 and 0 behind", file(), |file| {
        file.node("MaxPool", &["input"], "pool", with(vec![ints("pads", &[0, 1, 2, 0])]))
    });
    list.floats("max-ceil", "sizes that round up: the last window reaches beyond the image", file(), |file| {
        file.node(
            "MaxPool",
            &["input"],
            "pool",
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)],
        )
    });
    list.floats(
        "max-ceil-beyond",
        "sizes that round up to a window that begins in the padding: it is left out",
        Build::by_opset(22, IMAGE),
        |file| {
            let settings = vec![ints("kernel_shape", &[1, 2]), ints("strides", &[3, 3]), ints("pads", &[0, 1, 0, 1])];
            file.node("MaxPool", &["input"], "pool", [settings, vec![int("ceil_mode", 1)]].concat())
        },
    );
    // Behind a mean over all of it a wrong size gives wrong numbers, and not another length.
    list.floats("max-ceil-mean", "the mean of a maximum whose size rounds up", file(), |file| {
        let settings = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)];
        let pool = file.node("MaxPool", &["input"], "pool", settings);
        file.node("GlobalAveragePool", &[&pool], "mean", Vec::new())
    });
    list.floats(
        "max-ceil-beyond-mean",
        "the mean of a maximum whose last window would begin in the padding",
        Build::by_opset(22, IMAGE),
        |file| {
            let settings = vec![ints("kernel_shape", &[1, 2]), ints("strides", &[3, 3]), ints("pads", &[0, 1, 0, 1])];
            let pool = file.node("MaxPool", &["input"], "pool", [settings, vec![int("ceil_mode", 1)]].concat());
            file.node("GlobalAveragePool", &[&pool], "mean", Vec::new())
        },
    );
    list.floats("max-dilated-mean", "the mean of a maximum over every second pixel", file(), |file| {
        let settings = vec![ints("kernel_shape", &[3, 3]), ints("dilations", &[2, 2])];
        let pool = file.node("MaxPool", &["input"], "pool", settings);
        file.node("GlobalAveragePool", &[&pool], "mean", Vec::new())
    });
    list.floats("max-same-lower", "a maximum with `auto_pad` SAME_LOWER", file(), |file| {
        file.node(
            "MaxPool",
            &["input"],
            "pool",
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), text("auto_pad", "SAME_LOWER")],
        )
    });
    list.floats("max-dilated", "a maximum over every second pixel", file(), |file| {
        file.node("MaxPool", &["input"], "pool", vec![ints("kernel_shape", &[3, 3]), ints("dilations", &[2, 2])])
    });
    list.floats("max-every-pixel", "a maximum with a stride that is not said: 1", file(), |file| {
        file.node("MaxPool", &["input"], "pool", vec![ints("kernel_shape", &[2, 3])])
    });
    list.floats("max-global", "GlobalMaxPool", file(), |file| {
        file.node("GlobalMaxPool", &["input"], "pool", Vec::new())
    });
    for (name, counts, about) in [
        ("mean-alone", 0, "a mean that divides by what of its window lies within the image"),
        ("mean-counted", 1, "a mean that divides by the size of its window"),
    ] {
        list.floats(name, &format!("{about}; pads of 0 and 1 before, 2 and 1 behind"), file(), |file| {
            file.node(
                "AveragePool",
                &["input"],
                "pool",
                with(vec![ints("pads", &[0, 1, 2, 1]), int("count_include_pad", counts)]),
            )
        });
    }
    list.floats(
        "mean-default",
        "a mean that does not say whether it counts its padding: it does not",
        file(),
        |file| file.node("AveragePool", &["input"], "pool", with(vec![ints("pads", &[1, 1, 1, 1])])),
    );
    list.floats("mean-ceil", "a mean whose size rounds up, without padding", by_19(), |file| {
        file.node(
            "AveragePool",
            &["input"],
            "pool",
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)],
        )
    });
    list.floats("mean-ceil-padded", "the same with padding, which does not count", by_19(), |file| {
        file.node("AveragePool", &["input"], "pool", with(vec![ints("pads", &[1, 1, 1, 1]), int("ceil_mode", 1)]))
    });
    list.floats("mean-same-upper", "a mean with `auto_pad` SAME_UPPER", file(), |file| {
        file.node(
            "AveragePool",
            &["input"],
            "pool",
            vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), text("auto_pad", "SAME_UPPER")],
        )
    });
    list.floats("mean-dilated", "a mean over every second pixel (operator set 19)", by_19(), |file| {
        file.node("AveragePool", &["input"], "pool", vec![ints("kernel_shape", &[3, 3]), ints("dilations", &[2, 2])])
    });
    list.floats("mean-global", "GlobalAveragePool", file(), |file| {
        file.node("GlobalAveragePool", &["input"], "pool", Vec::new())
    });
}

fn pads(list: &mut List) {
    let file = || Build::new(IMAGE);
    for (name, mode, about) in [
        ("pad-zeros", "constant", "zeros, other numbers of them on each side"),
        ("pad-reflected", "reflect", "pixels mirrored at the border"),
        ("pad-edge", "edge", "the border's pixels again"),
    ] {
        list.floats(name, about, file(), |file| {
            file.whole("pads", &[0, 0, 2, 1, 0, 0, 0, 3]);
            file.node("Pad", &["input", "pads"], "pad", vec![text("mode", mode)])
        });
    }
    list.floats("pad-value", "padding by -2.5", file(), |file| {
        file.whole("pads", &[0, 0, 1, 1, 0, 0, 1, 1]);
        file.floats("value", &[], &[-2.5]);
        file.node("Pad", &["input", "pads", "value"], "pad", Vec::new())
    });
    list.floats("pads-of-channels", "channels of zeros before and behind", file(), |file| {
        file.whole("pads", &[0, 1, 0, 0, 0, 2, 0, 0]);
        file.node("Pad", &["input", "pads"], "pad", Vec::new())
    });
    list.floats("pad-crop", "pads below 0, which cut off", file(), |file| {
        file.whole("pads", &[0, 0, -1, 0, 0, 0, -2, 1]);
        file.node("Pad", &["input", "pads"], "pad", Vec::new())
    });
    list.floats(
        "pad-axes",
        "pads of named axes (operator set 18), one counted from behind",
        Build::by_opset(18, IMAGE),
        |file| {
            file.whole("pads", &[1, 0, 0, 2]);
            file.whole("axes", &[2, -1]);
            file.node("Pad", &["input", "pads", "", "axes"], "pad", Vec::new())
        },
    );
    list.floats("pad-attributes", "pads as a setting (operator set 10)", Build::by_opset(10, IMAGE), |file| {
        file.node("Pad", &["input"], "pad", vec![ints("pads", &[0, 0, 1, 2, 0, 0, 0, 1])])
    });
    list.floats("pad-before-conv", "zeros on two sides, then a convolution without padding", file(), |file| {
        file.whole("pads", &[0, 0, 0, 0, 0, 0, 1, 1]);
        let x = file.node("Pad", &["input", "pads"], "pad", Vec::new());
        file.seeded("w", &[5, 4, 3, 3], 0.4);
        file.node("Conv", &[&x, "w"], "conv", vec![ints("strides", &[2, 2])])
    });
}
