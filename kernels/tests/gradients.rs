//! Gradients against finite differences of the kernels themselves, along random directions.
//!
//! The loss is `sum(y * dy)`, summed in `f64`; what is differentiated is smooth, or smooth where it is looked at.
#![allow(clippy::unwrap_used, clippy::panic)] // in what the tests share, too

mod common;

use attar_kernels::{
    Activation, BatchStats, Clamp, ConvShape, LinearShape, NormGrads, NormShape, Pointwise, PoolShape, SavedStats,
    ShapeError, Tail, avg_pool2d, avg_pool2d_backward, batch_norm_backward, batch_norm_eval, batch_norm_eval_backward,
    batch_norm_train, conv2d, conv2d_input_grad, conv2d_weight_grad, layer_norm, layer_norm_backward, linear,
    linear_input_grad, linear_weight_grad, max_pool2d, max_pool2d_backward, mul_channels, mul_channels_backward,
    pointwise, pointwise_backward, prelu, prelu_backward,
};
use common::values;

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn moved(from: &[f32], direction: &[f32], by: f32) -> Vec<f32> {
    from.iter().zip(direction).map(|(from, direction)| from + by * direction).collect()
}

/// Compares the slope of `loss` at `at` along a random direction with `gradient`.
#[track_caller]
fn assert_slope(what: &str, at: &[f32], gradient: &[f32], step: f32, loss: impl Fn(&[f32]) -> f64) {
    for seed in 100..104 {
        let direction = values(seed, at.len());
        let (ahead, behind) = (moved(at, &direction, step), moved(at, &direction, -step));
        let slope = (loss(&ahead) - loss(&behind)) / (2.0 * f64::from(step));
        let expected = dot(gradient, &direction);
        let size = dot(gradient, gradient).sqrt() * dot(&direction, &direction).sqrt();
        assert!(
            (slope - expected).abs() <= 2e-3 * size,
            "{what}: slope {slope}, gradient says {expected} (size {size})"
        );
    }
}

#[test]
fn convolution() {
    let plain = ConvShape {
        batch: 3,
        in_channels: 6,
        in_h: 9,
        in_w: 8,
        out_channels: 6,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 1,
    };
    for shape in [
        plain,
        ConvShape { stride: [2, 3], dilation: [2, 1], ..plain },
        ConvShape { groups: 2, stride: [2, 2], ..plain },
        ConvShape { groups: 6, ..plain },
        ConvShape { groups: 6, stride: [2, 2], ..plain },
    ] {
        let (x, weight) = (values(1, shape.input_len()), values(2, shape.weight_len()));
        let dy = values(3, shape.output_len());
        let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
        conv2d_input_grad(&shape, &dy, &weight, &mut dx);
        conv2d_weight_grad(&shape, &x, &dy, &mut dweight);
        let loss = |x: &[f32], weight: &[f32]| {
            let mut y = vec![0.0; dy.len()];
            conv2d(&shape, x, weight, Tail::default(), &mut y);
            dot(&y, &dy)
        };
        assert_slope(&format!("dx of {shape:?}"), &x, &dx, 0.1, |x| loss(x, &weight));
        assert_slope(&format!("dweight of {shape:?}"), &weight, &dweight, 0.1, |weight| loss(&x, weight));
    }
}

#[test]
fn fused_batch_norm() {
    let shape = NormShape { batch: 4, channels: 3, positions: 30 };
    let (x, residual, dy) = (values(1, shape.len()), values(2, shape.len()), values(3, shape.len()));
    let (weight, bias) = (values(4, 3), values(5, 3));
    let run = |x: &[f32], weight: &[f32], bias: &[f32], residual: &[f32], activation| {
        let [mut mean, mut inv_std, mut unbiased_variance] = [(); 3].map(|()| vec![0.0; 3]);
        let mut y = vec![0.0; shape.len()];
        let stats = BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut unbiased_variance };
        batch_norm_train(&shape, x, weight, bias, 1e-5, Some(residual), activation, &mut y, stats).unwrap();
        (y, mean, inv_std)
    };
    // ReLU has kinks: with it the steps are small and the tolerance is what decides.
    for (activation, step) in [(None, 1e-2), (Some(Activation::Relu), 5e-4)] {
        let (y, mean, inv_std) = run(&x, &weight, &bias, &residual, activation);
        let [mut dx, mut dresidual] = [(); 2].map(|()| vec![0.0; shape.len()]);
        let [mut dweight, mut dbias] = [(); 2].map(|()| vec![0.0; 3]);
        let grads =
            NormGrads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias, dresidual: Some(&mut dresidual) };
        let clamp = activation.map(|activation| Clamp::Output { activation, y: &y });
        let stats = SavedStats { mean: &mean, inv_std: &inv_std };
        batch_norm_backward(&shape, &x, &weight, stats, clamp, &dy, grads);
        let loss = |x: &[f32], weight: &[f32], bias: &[f32], residual: &[f32]| {
            dot(&run(x, weight, bias, residual, activation).0, &dy)
        };
        assert_slope("dx", &x, &dx, step, |x| loss(x, &weight, &bias, &residual));
        assert_slope("dweight", &weight, &dweight, step, |weight| loss(&x, weight, &bias, &residual));
        assert_slope("dbias", &bias, &dbias, step, |bias| loss(&x, &weight, bias, &residual));
        assert_slope("dresidual", &residual, &dresidual, step, |residual| loss(&x, &weight, &bias, residual));
    }
}

#[test]
fn batch_norm_in_evaluation() {
    let shape = NormShape { batch: 4, channels: 3, positions: 30 };
    let (x, residual, dy) = (values(1, shape.len()), values(2, shape.len()), values(3, shape.len()));
    let (weight, bias, mean, var) = (values(4, 3), values(5, 3), values(6, 3), [0.5, 1.5, 2.0]);
    let run = |x: &[f32], weight: &[f32], bias: &[f32], residual: &[f32], activation| {
        let mut y = vec![0.0; shape.len()];
        batch_norm_eval(&shape, x, weight, bias, &mean, &var, 1e-5, Some(residual), activation, &mut y);
        y
    };
    for (activation, step) in [(None, 1e-2), (Some(Activation::Relu), 5e-4)] {
        let y = run(&x, &weight, &bias, &residual, activation);
        let [mut dx, mut dresidual] = [(); 2].map(|()| vec![0.0; shape.len()]);
        let [mut dweight, mut dbias] = [(); 2].map(|()| vec![0.0; 3]);
        let grads =
            NormGrads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias, dresidual: Some(&mut dresidual) };
        let clamp = activation.map(|activation| Clamp::Output { activation, y: &y });
        batch_norm_eval_backward(&shape, &x, &weight, &mean, &var, 1e-5, clamp, &dy, grads);
        let loss = |x: &[f32], weight: &[f32], bias: &[f32], residual: &[f32]| {
            dot(&run(x, weight, bias, residual, activation), &dy)
        };
        assert_slope("dx", &x, &dx, step, |x| loss(x, &weight, &bias, &residual));
        assert_slope("dweight", &weight, &dweight, step, |weight| loss(&x, weight, &bias, &residual));
        assert_slope("dbias", &bias, &dbias, step, |bias| loss(&x, &weight, bias, &residual));
        assert_slope("dresidual", &residual, &dresidual, step, |residual| loss(&x, &weight, &bias, residual));
    }
}

#[test]
fn pools() {
    let shape = PoolShape {
        batch: 2,
        channels: 3,
        in_h: 9,
        in_w: 8,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
        padding_end: [1, 1],
        ceil_mode: false,
        count_include_pad: true,
    };
    let (x, dy) = (values(1, shape.input_len()), values(2, shape.output_len()));
    let mut argmax = vec![0; dy.len()];
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    max_pool2d(&shape, &x, &mut y, &mut argmax);
    max_pool2d_backward(&shape, &dy, &argmax, &mut dx);
    assert_slope("max", &x, &dx, 1e-4, |x| {
        let mut y = vec![0.0; dy.len()];
        max_pool2d(&shape, x, &mut y, &mut vec![0; dy.len()]);
        dot(&y, &dy)
    });
    avg_pool2d_backward(&shape, &dy, &mut dx);
    assert_slope("average", &x, &dx, 0.1, |x| {
        let mut y = vec![0.0; dy.len()];
        avg_pool2d(&shape, x, &mut y);
        dot(&y, &dy)
    });
}

#[test]
fn linear_layer() {
    let shape = LinearShape { batch: 21, in_features: 17, out_features: 19 };
    let (x, weight, dy) = (values(1, 21 * 17), values(2, 19 * 17), values(3, 21 * 19));
    let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    linear_input_grad(&shape, &dy, &weight, &mut dx);
    linear_weight_grad(&shape, &x, &dy, &mut dweight);
    let loss = |x: &[f32], weight: &[f32]| {
        let mut y = vec![0.0; dy.len()];
        linear(&shape, x, weight, None, &mut y);
        dot(&y, &dy)
    };
    assert_slope("dx", &x, &dx, 0.1, |x| loss(x, &weight));
    assert_slope("dweight", &weight, &dweight, 0.1, |weight| loss(&x, weight));
}

#[test]
fn pool_padding_as_large_as_the_window_is_refused() {
    let shape = PoolShape {
        batch: 1,
        channels: 1,
        in_h: 4,
        in_w: 4,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        padding_end: [1, 3],
        ceil_mode: false,
        count_include_pad: true,
    };
    assert_eq!(shape.checked().unwrap_err(), ShapeError::PoolPadding { padding: 3, kernel: 3 });
}

/// Between the kinks both are smooth; values near a kink are moved away from it.
#[test]
fn activations_that_are_no_clamps() {
    let away = |x: f32| if (x.abs() - 3.0).abs() < 0.1 { x + 0.3 } else { x };
    let x: Vec<f32> = values(7, 400).into_iter().map(|x| away(5.0 * x)).collect();
    assert!(x.iter().any(|x| *x > 3.0) && x.iter().any(|x| *x < -3.0), "all of it is inside: this test proves little");
    let dy = values(8, 400);
    use Pointwise::{Gelu, GeluTanh, HardSigmoid, HardSwish, LeakyRelu, Sigmoid, Silu};
    let functions = [HardSwish, HardSigmoid, Sigmoid, Silu, Gelu, GeluTanh, LeakyRelu(0.2)];
    for function in functions {
        // Of leaky ReLU the kink is at 0.
        let near = matches!(function, LeakyRelu(_));
        let x: Vec<f32> = x.iter().map(|x| if near && x.abs() < 0.1 { x + 0.3 } else { *x }).collect();
        let (mut dx, mut kept) = (vec![0.0; x.len()], x.clone());
        if function == Sigmoid {
            pointwise(function, &x, &mut kept);
        }
        pointwise_backward(function, &kept, &dy, &mut dx);
        assert_slope(&format!("{function:?}"), &x, &dx, 1e-3, |x| {
            let mut y = vec![0.0; x.len()];
            pointwise(function, x, &mut y);
            dot(&y, &dy)
        });
    }
}

#[test]
fn parameters_along_channels() {
    let shape = NormShape { batch: 3, channels: 5, positions: 70 }.checked().unwrap();
    let away = |x: f32| if x.abs() < 0.02 { x + 0.1 } else { x }; // of the kink of PReLU
    let x: Vec<f32> = values(9, shape.len()).into_iter().map(away).collect();
    let (weight, bias, dy) = (values(10, 5), values(12, 5), values(11, shape.len()));
    let (mut dx, mut dweight, mut dbias) = (vec![0.0; x.len()], vec![0.0; 5], vec![0.0; 5]);
    prelu_backward(&shape, &x, &weight, &dy, &mut dx, &mut dweight);
    let loss = |x: &[f32], weight: &[f32]| {
        let mut y = vec![0.0; x.len()];
        prelu(&shape, x, weight, &mut y);
        dot(&y, &dy)
    };
    assert_slope("dx of prelu", &x, &dx, 1e-3, |x| loss(x, &weight));
    assert_slope("dweight of prelu", &weight, &dweight, 1e-2, |weight| loss(&x, weight));
    layer_norm_backward(&shape, &x, &weight, 1e-3, &dy, &mut dx, &mut dweight, &mut dbias);
    let loss = |x: &[f32], weight: &[f32], bias: &[f32]| {
        let mut y = vec![0.0; x.len()];
        layer_norm(&shape, x, weight, bias, 1e-3, &mut y);
        dot(&y, &dy)
    };
    assert_slope("dx of a layer norm", &x, &dx, 1e-3, |x| loss(x, &weight, &bias));
    assert_slope("dweight of a layer norm", &weight, &dweight, 1e-2, |weight| loss(&x, weight, &bias));
    assert_slope("dbias of a layer norm", &bias, &dbias, 1e-2, |bias| loss(&x, &weight, bias));
}

#[test]
fn factors_of_channels() {
    let shape = NormShape { batch: 3, channels: 5, positions: 70 }.checked().unwrap();
    let (x, factor, dy) = (values(9, shape.len()), values(10, 15), values(11, shape.len()));
    let (mut dx, mut dfactor) = (vec![0.0; x.len()], vec![0.0; 15]);
    mul_channels_backward(&shape, &x, &factor, &dy, &mut dx, &mut dfactor);
    let loss = |x: &[f32], factor: &[f32]| {
        let mut y = vec![0.0; x.len()];
        mul_channels(&shape, x, factor, &mut y);
        dot(&y, &dy)
    };
    assert_slope("x", &x, &dx, 1e-2, |x| loss(x, &factor));
    assert_slope("factor", &factor, &dfactor, 1e-2, |factor| loss(&x, factor));
}
