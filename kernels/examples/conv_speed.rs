//! Prints GFLOP/s of convolution shapes in their three directions, on `f32` images and on `bf16` ones:
//! `cargo run --release -p attar-kernels --example conv_speed`.

use std::time::Instant;

use attar_kernels::{ConvShape, ShapeError, Tail, Value, conv2d, conv2d_input_grad, conv2d_weight_grad, convert};
use half::bf16;

/// Name; channels in and out, size of the square input, kernel, stride, groups. Batch 64.
const SHAPES: [(&str, [usize; 6]); 14] = [
    ("resnet20 stem", [3, 16, 32, 3, 1, 1]),
    ("resnet20 layer1", [16, 16, 32, 3, 1, 1]),
    ("resnet20 layer2.0", [16, 32, 32, 3, 2, 1]),
    ("resnet20 layer2", [32, 32, 16, 3, 1, 1]),
    ("resnet20 layer3.0", [32, 64, 16, 3, 2, 1]),
    ("resnet20 layer3", [64, 64, 8, 3, 1, 1]),
    ("resnet8x4 layer3", [256, 256, 8, 3, 1, 1]),
    ("mobilenet expand", [24, 144, 16, 1, 1, 1]),
    ("mobilenet project", [144, 24, 16, 1, 1, 1]),
    ("mobilenet last", [320, 1280, 4, 1, 1, 1]),
    ("depthwise 32x32", [32, 32, 32, 3, 1, 32]),
    ("depthwise 16x16", [144, 144, 16, 3, 1, 144]),
    ("depthwise stride 2", [144, 144, 16, 3, 2, 144]),
    ("depthwise 4x4", [960, 960, 4, 3, 1, 960]),
];

fn main() -> Result<(), ShapeError> {
    table::<f32>("f32")?;
    table::<bf16>("bf16")
}

fn table<T: Value>(stored: &str) -> Result<(), ShapeError> {
    println!("{stored:<20} {:>8} {:>8} {:>8}   GFLOP/s, {} threads", "forward", "dx", "dw", rayon_threads());
    let mut totals = [0.0; 3];
    for (name, [in_channels, out_channels, size, kernel, stride, groups]) in SHAPES {
        let shape = ConvShape {
            batch: 64,
            in_channels,
            in_h: size,
            in_w: size,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups,
        }
        .checked()?;
        let seconds = measure::<T>(&shape);
        let gflops = seconds.map(|seconds| 2.0 * shape.macs() as f64 / seconds / 1e9);
        println!("{name:<20} {:>8.1} {:>8.1} {:>8.1}", gflops[0], gflops[1], gflops[2]);
        // ResNet-20 runs the first convolution of a stage once and the others 6 and 5 times.
        let times = match name {
            "resnet20 layer1" => 6.0,
            "resnet20 layer2" | "resnet20 layer3" => 5.0,
            name if name.starts_with("resnet20") => 1.0,
            _ => 0.0,
        };
        totals.iter_mut().zip(seconds).for_each(|(total, seconds)| *total += times * seconds * 1e3);
    }
    println!("{:<20} {:>8.1} {:>8.1} {:>8.1}   ms a batch of 64", "resnet20", totals[0], totals[1], totals[2]);
    Ok(())
}

/// Seconds for forward, input gradient and weight gradient: the best of several runs.
fn measure<T: Value>(shape: &ConvShape) -> [f64; 3] {
    let ramp = |len: usize| (0..len).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect::<Vec<f32>>();
    let stored = |len: usize| {
        let mut values = vec![T::default(); len];
        convert(&ramp(len), &mut values);
        values
    };
    let (x, weight, dy) = (stored(shape.input_len()), ramp(shape.weight_len()), stored(shape.output_len()));
    let (mut y, mut dx, mut dweight) = (dy.clone(), x.clone(), weight.clone());
    [
        best_of(|| conv2d(shape, &x, &weight, Tail::default(), &mut y)),
        best_of(|| conv2d_input_grad(shape, &dy, &weight, &mut dx)),
        best_of(|| conv2d_weight_grad(shape, &x, &dy, &mut dweight)),
    ]
}

fn best_of(mut run: impl FnMut()) -> f64 {
    (0..12)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn rayon_threads() -> usize {
    rayon::current_num_threads()
}
