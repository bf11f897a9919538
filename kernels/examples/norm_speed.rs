//! Prints GB/s of batch norm and GFLOP/s of depthwise convolution: `cargo run --release --example norm_speed`.

use std::time::Instant;

use attar_kernels::{
    Activation, BatchStats, Clamp, ConvShape, NormGrads, NormShape, SavedStats, ShapeError, Tail, batch_norm_apply,
    batch_norm_backward, batch_stats, conv2d, conv2d_input_grad, conv2d_weight_grad,
};

/// Side of the square image, channels. Batch 64.
const NORMS: [[usize; 2]; 7] = [[32, 16], [16, 32], [8, 64], [32, 24], [32, 144], [16, 192], [4, 960]];
/// Side of the square image, channels, kernel, stride. Batch 64.
const DEPTHWISE: [[usize; 4]; 9] = [
    [32, 32, 3, 1],
    [32, 96, 3, 1],
    [32, 96, 3, 2],
    [32, 144, 3, 1],
    [32, 144, 3, 2],
    [16, 192, 3, 1],
    [8, 384, 3, 1],
    [4, 960, 3, 1],
    [16, 120, 5, 2],
];

fn main() -> Result<(), ShapeError> {
    println!("{} threads", rayon::current_num_threads());
    println!(
        "{:<20} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "batch norm, GB/s", "copy", "stats", "apply", "back(x)", "back(y)"
    );
    for [side, channels] in NORMS {
        let shape = NormShape { batch: 64, channels, positions: side * side }.checked()?;
        // Bytes that have to be read and written; both passes of backward are counted.
        let gb = (shape.len() * size_of::<f32>()) as f64 / 1e9;
        let [copy, stats, apply, from_x, from_y] = norm(&shape)?;
        println!(
            "{:<20} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1}",
            format!("64x{side}x{side}x{channels}"),
            2.0 * gb / copy,
            gb / stats,
            2.0 * gb / apply,
            5.0 * gb / from_x,
            7.0 * gb / from_y,
        );
    }
    println!("{:<20} {:>8} {:>8} {:>8}", "depthwise, GFLOP/s", "forward", "dx", "dw");
    for [side, channels, kernel, stride] in DEPTHWISE {
        let shape = ConvShape {
            batch: 64,
            in_channels: channels,
            in_h: side,
            in_w: side,
            out_channels: channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: channels,
        }
        .checked()?;
        let gflops = depthwise(&shape).map(|seconds| 2.0 * shape.macs() as f64 / seconds / 1e9);
        let name = format!("{side}x{side}x{channels} {kernel}x{kernel}/{stride}");
        println!("{name:<20} {:>8.1} {:>8.1} {:>8.1}", gflops[0], gflops[1], gflops[2]);
    }
    Ok(())
}

/// Seconds of a plain copy, the statistics, their application, and backward with the activation told from `x` or `y`.
fn norm(shape: &NormShape) -> Result<[f64; 5], ShapeError> {
    let (x, dy) = (ramp(shape.len(), 251), ramp(shape.len(), 241));
    let (weight, bias) = (vec![1.0; shape.channels], vec![0.1; shape.channels]);
    let (mut y, mut dx) = (x.clone(), x.clone());
    let [mut mean, mut inv_std, mut unbiased, mut dweight, mut dbias] = [(); 5].map(|()| vec![0.0; shape.channels]);
    let copy = best_of(|| {
        use rayon::prelude::*;
        y.par_chunks_mut(1 << 14).zip(x.par_chunks(1 << 14)).for_each(|(y, x)| y.copy_from_slice(x));
    });
    let mut result = Ok(());
    let stats = best_of(|| {
        let stats = BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut unbiased };
        result = batch_stats(shape, &x, 1e-5, stats);
    });
    result?;
    let saved = SavedStats { mean: &mean, inv_std: &inv_std };
    let activation = Activation::Relu;
    let apply = best_of(|| batch_norm_apply(shape, &x, &weight, &bias, saved, None, Some(activation), &mut y));
    let mut backward = |clamp| {
        best_of(|| {
            let grads = NormGrads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias, dresidual: None };
            batch_norm_backward(shape, &x, &weight, saved, Some(clamp), &dy, grads);
        })
    };
    let from_x = backward(Clamp::Recomputed { activation, bias: &bias });
    let from_y = backward(Clamp::Output { activation, y: &y });
    Ok([copy, stats, apply, from_x, from_y])
}

/// Seconds for forward, input gradient and weight gradient.
fn depthwise(shape: &ConvShape) -> [f64; 3] {
    let (x, weight, dy) = (ramp(shape.input_len(), 251), ramp(shape.weight_len(), 7), ramp(shape.output_len(), 241));
    let (mut y, mut dx, mut dweight) = (dy.clone(), x.clone(), weight.clone());
    [
        best_of(|| conv2d(shape, &x, &weight, Tail::default(), &mut y)),
        best_of(|| conv2d_input_grad(shape, &dy, &weight, &mut dx)),
        best_of(|| conv2d_weight_grad(shape, &x, &dy, &mut dweight)),
    ]
}

fn ramp(len: usize, period: usize) -> Vec<f32> {
    (0..len).map(|i| (i % period) as f32 / period as f32 - 0.5).collect()
}

/// Seconds of the fastest of several runs.
fn best_of(mut run: impl FnMut()) -> f64 {
    (0..20)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}
