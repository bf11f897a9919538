//! The composed operations against the kernels, on shapes that are awkward on purpose; and what
//! both must refuse.

use attar_models::op::{Conv2d, Pool2d};
use candle_core::IndexOp;

use super::pool::pool_shape;
use super::*;

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = Stream::of_number(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.unit_f32() * 2.0 - 1.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Largest difference in units of the reference's largest value.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (a, b) = (values(a), values(b));
    let scale = a.iter().fold(1e-6f32, |max, v| max.max(v.abs()));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

fn assert_close(a: &Tensor, b: &Tensor, what: &str) {
    let difference = difference(a, b);
    assert!(difference < 1e-5, "{what}: {difference}");
}

fn conv(channels: [usize; 2], kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], groups: usize) -> Conv2d {
    let [in_channels, out_channels] = channels;
    Conv2d {
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
        dilation: [1, 1],
        groups,
        bias: true,
        quantized: false,
    }
}

fn convolutions() -> Vec<(Conv2d, [usize; 4])> {
    let mut dilated = conv([4, 6], [3, 3], [2, 1], [2, 2], 2);
    dilated.dilation = [2, 2];
    let mut stretched = conv([3, 5], [3, 2], [1, 2], [1, 0], 1);
    stretched.dilation = [1, 3];
    vec![
        (conv([3, 8], [3, 3], [1, 1], [1, 1], 1), [2, 3, 8, 7]),
        (conv([3, 8], [3, 3], [2, 2], [1, 1], 1), [2, 3, 8, 7]),
        (conv([3, 4], [7, 7], [2, 2], [3, 3], 1), [1, 3, 15, 18]),
        (conv([6, 4], [1, 1], [2, 2], [0, 0], 1), [3, 6, 5, 8]),
        (conv([6, 6], [3, 3], [2, 2], [1, 1], 6), [2, 6, 9, 8]),
        (conv([4, 8], [3, 3], [1, 1], [1, 1], 4), [2, 4, 6, 5]),
        (conv([4, 6], [3, 1], [3, 2], [1, 0], 2), [2, 4, 11, 7]),
        (conv([2, 3], [5, 4], [1, 1], [0, 0], 1), [1, 2, 5, 4]),
        (dilated, [2, 4, 9, 10]),
        (stretched, [2, 3, 8, 11]),
    ]
}

#[test]
fn convolutions_and_their_gradients_agree_with_the_kernels() {
    for (conv, x_shape) in convolutions() {
        let what = format!("{conv:?} of {x_shape:?}");
        let shape = conv_shape(&conv, &x_shape).unwrap();
        let x = random(&x_shape, 1);
        let weight = random(&conv.weight_shape(), 2);
        let bias = random(&[conv.out_channels], 3);
        let y = cpu::conv2d::<f32>(&shape, &x, &weight, Some(&bias), Tail::default()).unwrap();
        assert_close(&y, &portable::conv2d(&shape, &x, &weight, Some(&bias), Tail::default()).unwrap(), &what);
        let dy = random(y.dims(), 4);
        let dx = cpu::conv2d_input_grad::<f32>(&shape, &dy, &weight).unwrap();
        assert_close(&dx, &portable::conv2d_input_grad(&shape, &dy, &weight).unwrap(), &what);
        let dweight = cpu::conv2d_weight_grad::<f32>(&shape, &x, &dy).unwrap();
        assert_close(&dweight, &portable::conv2d_weight_grad(&shape, &x, &dy).unwrap(), &what);
        let sums = norm_shape(dy.dims()).unwrap();
        let dbias = cpu::channel_sums::<f32>(&sums, &dy).unwrap();
        assert_close(&dbias, &portable::channel_sums(&sums, &dy).unwrap(), &what);
    }
}

#[test]
fn batch_norms_and_their_gradients_agree_with_the_kernels() {
    let x = (random(&[4, 5, 3, 7], 1) + 0.5).unwrap();
    let residual = random(x.dims(), 2);
    let (weight, bias) = (random(&[5], 3), random(&[5], 4));
    let variance = (random(&[5], 5) + 1.5).unwrap();
    let affine = Affine { weight: &weight, bias: &bias };
    let shape = norm_shape(x.dims()).unwrap();
    let dy = random(x.dims(), 6);
    for residual in [None, Some(&residual)] {
        for activation in [None, Some(Activation::Relu), Some(Activation::Relu6)] {
            let what = format!("{activation:?}, residual {}", residual.is_some());
            let tail = Tail { residual, activation };
            let (y, stats) = cpu::batch_norm_train::<f32>(&shape, &x, affine, 1e-5, tail).unwrap();
            let (other, others) = portable::batch_norm_train(&shape, &x, affine, 1e-5, tail).unwrap();
            assert_close(&y, &other, &what);
            assert_close(&stats.mean, &others.mean, &what);
            assert_close(&stats.inv_std, &others.inv_std, &what);
            assert_close(&stats.unbiased_variance, &others.unbiased_variance, &what);

            let activated = activation.map(|activation| (&y, activation));
            let wants = residual.is_some();
            let a = cpu::batch_norm_backward::<f32>(&shape, &x, &weight, &stats, activated, &dy, wants).unwrap();
            let b = portable::batch_norm_backward(&shape, &x, &weight, &stats, activated, &dy, wants).unwrap();
            assert_close(&a.dx, &b.dx, &what);
            assert_close(&a.dweight, &b.dweight, &what);
            assert_close(&a.dbias, &b.dbias, &what);
            assert_eq!(a.dresidual.is_some(), wants);
            if let (Some(a), Some(b)) = (a.dresidual, b.dresidual) {
                assert_close(&a, &b, &what);
            }
            let running = (&bias, &variance);
            let a = cpu::batch_norm_eval::<f32>(&shape, &x, affine, running, 1e-5, tail).unwrap();
            assert_close(&a, &portable::batch_norm_eval(&shape, &x, affine, running, 1e-5, tail).unwrap(), &what);
        }
    }
}

#[test]
fn poolings_and_their_gradients_agree_with_the_kernels() {
    let pools = [
        (Pool2d::square(3, 2, 1), [2, 3, 9, 8]),
        (Pool2d::square(2, 2, 0), [2, 3, 5, 7]),
        (Pool2d::square(3, 1, 1), [1, 2, 4, 4]),
        (Pool2d::new([3, 2], [1, 2], [1, 0]), [2, 2, 6, 7]),
        (Pool2d { ceil_mode: true, ..Pool2d::square(3, 2, 0) }, [2, 3, 2, 8]),
        (Pool2d { padding_end: Some([0, 2]), count_include_pad: false, ..Pool2d::square(3, 2, 1) }, [2, 2, 8, 7]),
    ];
    for (pool, x_shape) in pools {
        let what = format!("{pool:?} of {x_shape:?}");
        let shape = pool_shape(&pool, &x_shape).unwrap();
        // All below zero, so that padding which counted as zero would win; and with ties.
        let x = ((random(&x_shape, 1) * 3.0).unwrap().round().unwrap() - 4.0).unwrap();
        let (y, argmax) = cpu::max_pool2d::<f32>(&shape, &x).unwrap();
        let (other, others) = portable::max_pool2d(&shape, &x).unwrap();
        assert_close(&y, &other, &what);
        let dy = random(y.dims(), 2);
        let dx = cpu::max_pool2d_backward::<f32>(&shape, &dy, &argmax).unwrap();
        assert_close(&dx, &portable::max_pool2d_backward(&shape, &dy, &others).unwrap(), &what);

        let y = cpu::avg_pool2d::<f32>(&shape, &x).unwrap();
        assert_close(&y, &portable::avg_pool2d(&shape, &x).unwrap(), &what);
        let dx = cpu::avg_pool2d_backward::<f32>(&shape, &dy).unwrap();
        assert_close(&dx, &portable::avg_pool2d_backward(&shape, &dy).unwrap(), &what);

        let planes = norm_shape(&x_shape).unwrap();
        let y = cpu::global_avg_pool::<f32>(&planes, &x).unwrap();
        assert_close(&y, &portable::global_avg_pool(&planes, &x).unwrap(), &what);
        let dx = cpu::global_avg_pool_backward(&planes, &y).unwrap();
        assert_close(&dx, &portable::global_avg_pool_backward(&planes, &y).unwrap(), &what);
    }
}

#[test]
fn linear_layers_and_activations_agree_with_the_kernels() {
    let (x, weight, bias, dy) = (random(&[5, 7], 1), random(&[3, 7], 2), random(&[3], 3), random(&[5, 3], 4));
    let shape = linear_shape(5, &weight).unwrap();
    let y = cpu::linear(&shape, &x, &weight, Some(&bias)).unwrap();
    assert_close(&y, &portable::linear(&shape, &x, &weight, Some(&bias)).unwrap(), "linear");
    let dx = cpu::linear_input_grad(&shape, &dy, &weight).unwrap();
    assert_close(&dx, &portable::linear_input_grad(&shape, &dy, &weight).unwrap(), "dx");
    let dweight = cpu::linear_weight_grad(&shape, &x, &dy).unwrap();
    assert_close(&dweight, &portable::linear_weight_grad(&shape, &x, &dy).unwrap(), "dweight");

    // The edges themselves are in: PyTorch's gradient is 0 at 0 and at 6.
    let x = Tensor::new(&[-1f32, 0.0, 0.5, 5.9, 6.0, 7.0], &Device::Cpu).unwrap();
    let dy = Tensor::ones(6, DType::F32, &Device::Cpu).unwrap();
    let expected = [
        (Activation::Relu, [0f32, 0.0, 0.5, 5.9, 6.0, 7.0], [0f32, 0.0, 1.0, 1.0, 1.0, 1.0]),
        (Activation::Relu6, [0.0, 0.0, 0.5, 5.9, 6.0, 6.0], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    ];
    for (activation, values, slopes) in expected {
        let y = cpu::activate::<f32>(activation, &x).unwrap();
        assert_eq!(y.to_vec1::<f32>().unwrap(), values);
        assert_eq!(portable::activate(activation, &x).unwrap().to_vec1::<f32>().unwrap(), values);
        assert_eq!(cpu::activate_backward::<f32>(activation, &y, &dy).unwrap().to_vec1::<f32>().unwrap(), slopes);
        assert_eq!(portable::activate_backward(activation, &y, &dy).unwrap().to_vec1::<f32>().unwrap(), slopes);
    }
}

#[test]
fn subsampling_takes_from_the_first_and_its_gradient_is_its_adjoint() {
    for (stride, shape) in [(1, [2, 3, 4, 5]), (2, [2, 3, 7, 6]), (3, [1, 2, 7, 9])] {
        let x = random(&shape, 1);
        let y = subsample(Backend::Cpu, &x, stride).unwrap();
        let [n, c, h, w] = shape;
        assert_eq!(y.dims(), [n, c, h.div_ceil(stride), w.div_ceil(stride)]);
        let at = |x: &Tensor, row, column| x.i((0, 1, row, column)).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(at(&y, 1, 1), at(&x, stride, stride));
        let dy = random(y.dims(), 2);
        let dx = subsample_backward(Backend::Cpu, &dy, stride, &shape).unwrap();
        let dot = |a: &Tensor, b: &Tensor| (a * b).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert!((dot(&y, &dy) - dot(&x, &dx)).abs() < 1e-5);
    }
}

#[test]
fn tensors_that_are_not_contiguous_give_the_same_values() {
    let conv = conv([3, 4], [3, 3], [1, 1], [1, 1], 1);
    let (x, weight) = (random(&[2, 3, 6, 5], 1), random(&conv.weight_shape(), 2));
    let turned = x.transpose(2, 3).unwrap().contiguous().unwrap().transpose(2, 3).unwrap();
    assert!(!turned.is_contiguous());
    let later = Tensor::cat(&[&x, &x], 0).unwrap().narrow(0, 2, 2).unwrap(); // an offset into a larger storage
    let y = conv2d(Backend::Cpu, &conv, &x, &weight, None, Tail::default()).unwrap();
    for x in [turned, later] {
        assert_eq!(difference(&y, &conv2d(Backend::Cpu, &conv, &x, &weight, None, Tail::default()).unwrap()), 0.0);
    }
}

#[test]
fn other_types_and_one_value_per_channel_are_refused() {
    let halves = Tensor::zeros((2, 3, 4, 4), DType::F16, &Device::Cpu).unwrap();
    let message = activate(Backend::Cpu, Activation::Relu, &halves).unwrap_err().to_string();
    assert!(message.contains("F32") && message.contains("F16"), "{message}");
    let (x, ones) = (random(&[1, 3, 1, 1], 1), Tensor::ones(3, DType::F32, &Device::Cpu).unwrap());
    let affine = Affine { weight: &ones, bias: &ones };
    let message = batch_norm_train(Backend::Cpu, &x, affine, 1e-5, Tail::default()).unwrap_err().to_string();
    assert!(message.contains("one value per channel"), "{message}");
}

#[test]
fn dropout_keeps_the_mean_and_is_seeded() {
    let mask = |seed| {
        let mask = dropout_mask(&[100, 100], 0.25, &mut Stream::of_number(seed), &Device::Cpu).unwrap();
        mask.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let values = mask(1);
    assert!(values.iter().all(|v| *v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    let mean = values.iter().sum::<f32>() / 1e4;
    assert!((mean - 1.0).abs() < 4.0 * (0.25f32 / 0.75).sqrt() / 100.0, "{mean}");
    assert_eq!(values, mask(1));
    assert_ne!(values, mask(2));
}
