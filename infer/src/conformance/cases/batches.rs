//! Batches: free, fixed at one or several, and shapes that a file computes of them, as exporters write what was traced.

use super::List;
use crate::conformance::build::{Build, Steps, int, ints};
use crate::conformance::case::{FEW, Judge};

const IMAGE: [usize; 3] = [4, 3, 5];

fn network(file: &mut Build) -> String {
    file.seeded("w", &[6, 4, 3, 3], 0.4);
    let x = file.node("Conv", &["input", "w"], "conv", vec![ints("pads", &[1, 1, 1, 1])]);
    file.node("Relu", &[&x], "relu", Vec::new())
}

fn head(file: &mut Build, row: &str) -> String {
    file.seeded("head", &[5, 90], 0.2);
    file.node("Gemm", &[row, "head"], "gemm", vec![int("transB", 1)])
}

pub(super) fn all(list: &mut List) {
    let file = || Build::new(IMAGE);
    let five = attar_models::generated::input([5, IMAGE[0], IMAGE[1], IMAGE[2]], 6);
    list.asked("batch-free", "a free batch, asked about five images", Judge::Floats, file(), Some(five), |file| {
        let x = network(file);
        let row = file.node("Flatten", &[&x], "row", Vec::new());
        head(file, &row)
    });
    list.floats("batch-of-1", "a file that takes one image", file().with_batch(1), |file| {
        let x = network(file);
        file.whole("shape", &[1, 90]);
        let row = file.node("Reshape", &[&x, "shape"], "row", Vec::new());
        head(file, &row)
    });
    list.floats("batch-of-3", "a file that takes three images", file().with_batch(3), |file| {
        let x = network(file);
        let row = file.node("Flatten", &[&x], "row", Vec::new());
        head(file, &row)
    });
    list.floats(
        "batch-by-shape",
        "x.view(x.size(0), -1) as it is traced: Shape, Gather, Unsqueeze, Concat, Reshape",
        file(),
        |file| {
            let x = network(file);
            file.whole("at", &[0]);
            file.whole("rest", &[-1]);
            let shape = file.node("Shape", &[&x], "shape", Vec::new());
            let size = file.node("Gather", &[&shape, "at"], "size", vec![int("axis", 0)]);
            let whole = file.node("Concat", &[&size, "rest"], "whole", vec![int("axis", 0)]);
            let row = file.node("Reshape", &[&x, &whole], "row", Vec::new());
            head(file, &row)
        },
    );
    list.floats("batch-by-minus-1", "Reshape to [-1, 90]", file(), |file| {
        let x = network(file);
        file.whole("shape", &[-1, 90]);
        let row = file.node("Reshape", &[&x, "shape"], "row", Vec::new());
        head(file, &row)
    });
    list.floats("batch-by-0", "Reshape to [0, -1]: the first size is kept", file(), |file| {
        let x = network(file);
        file.whole("shape", &[0, -1]);
        let row = file.node("Reshape", &[&x, "shape"], "row", Vec::new());
        head(file, &row)
    });
    list.add(
        "batch-of-2-bytes",
        "a layer of bytes for two images at a time",
        Judge::Steps { step: 0.0625, ties: FEW },
        file().with_batch(2),
        |file| {
            let x = file.rounded("input", "x", Steps::u8(1.0 / 64.0, 120));
            let w =
                file.weight("w", &[6, 4, 3, 3], &super::quantised::numbers("w", 216, 127), &[1.0 / 256.0], Vec::new());
            let y = file.node("Conv", &[&x, &w], "conv", vec![ints("pads", &[1, 1, 1, 1])]);
            file.rounded(&y, "out", Steps::u8(0.0625, 128))
        },
    );
}
