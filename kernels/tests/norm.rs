//! Edge cases of batch norm: too few values, means far from zero, every way to tell what was clamped; repeatability.
#![allow(clippy::unwrap_used, clippy::panic)] // in what the tests share, too

mod common;

use attar_kernels::{
    Activation, BatchStats, Clamp, NormGrads, NormShape, SavedStats, ShapeError, batch_norm_apply, batch_norm_backward,
    batch_norm_eval_backward, batch_norm_train, batch_stats, channel_sums,
};
use common::{assert_close, values};

/// Numbers of channels that are and are not multiples of a vector, with images small and large.
const SHAPES: [NormShape; 8] = [
    NormShape { batch: 2, channels: 1, positions: 1 },
    NormShape { batch: 2, channels: 1, positions: 3000 },
    NormShape { batch: 5, channels: 3, positions: 77 },
    NormShape { batch: 7, channels: 16, positions: 1024 },
    NormShape { batch: 3, channels: 24, positions: 490 },
    NormShape { batch: 3, channels: 255, positions: 81 },
    NormShape { batch: 64, channels: 100, positions: 16 },
    NormShape { batch: 6, channels: 1001, positions: 49 },
];

#[test]
fn a_batch_of_one_value_per_channel_has_no_variance() {
    let shape = NormShape { batch: 1, channels: 2, positions: 1 };
    let [mut mean, mut inv_std, mut unbiased_variance, mut y] = [(); 4].map(|()| vec![0.0; 2]);
    let stats = BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut unbiased_variance };
    let one = [1.0, 1.0];
    let error = batch_norm_train(&shape, &one, &one, &one, 1e-5, None, None, &mut y, stats).unwrap_err();
    assert_eq!(error, ShapeError::OneValuePerChannel);
    assert!(error.to_string().contains("hint:"));
}

#[test]
fn a_constant_channel_is_normalised_to_its_bias() {
    let shape = NormShape { batch: 2, channels: 1, positions: 5 };
    let [mut mean, mut inv_std, mut unbiased_variance] = [(); 3].map(|()| vec![0.0; 1]);
    let stats = BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut unbiased_variance };
    let mut y = vec![0.0; 10];
    batch_norm_train(&shape, &[0.1; 10], &[2.0], &[0.75], 1e-5, None, None, &mut y, stats).unwrap();
    assert_eq!(y, [0.75; 10]);
    assert_eq!(unbiased_variance, [0.0]);
}

#[test]
fn statistics_and_sums_agree_with_their_definition() {
    for shape in SHAPES {
        let NormShape { channels, .. } = shape;
        // The mean is a thousand times the standard deviation, give or take.
        let x: Vec<f32> =
            values(1, shape.len()).into_iter().enumerate().map(|(i, x)| x + 1e3 * (i % channels % 3) as f32).collect();
        let [mut mean, mut inv_std, mut unbiased_variance, mut sums] = [(); 4].map(|()| vec![f32::NAN; channels]);
        let stats = BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut unbiased_variance };
        batch_stats(&shape, &x, 0.0, stats).unwrap();
        channel_sums(&shape, &x, &mut sums);
        let count = shape.values_per_channel() as f64;
        for channel in 0..channels {
            let of_channel = || x[channel..].iter().step_by(channels).map(|&x| f64::from(x));
            let want_mean = of_channel().sum::<f64>() / count;
            let want = of_channel().map(|x| (x - want_mean) * (x - want_mean)).sum::<f64>() / (count - 1.0);
            assert_close("mean", &[mean[channel]], &[want_mean as f32], 2e-7);
            let (sum, size) = (of_channel().sum::<f64>(), of_channel().map(f64::abs).sum::<f64>());
            assert!(
                (f64::from(sums[channel]) - sum).abs() <= 1e-6 * size,
                "sum {} of {shape:?}, expected {sum}",
                sums[channel]
            );
            let got = f64::from(unbiased_variance[channel]);
            assert!(
                (got / want - 1.0).abs() < 1e-4,
                "variance {got} of channel {channel} in {shape:?}, expected {want}"
            );
            let inv_std = f64::from(inv_std[channel]);
            let want = (count / (count - 1.0) / want).sqrt();
            assert!((inv_std / want - 1.0).abs() < 1e-4, "inv_std {inv_std} of {shape:?}, expected {want}");
        }
    }
}

#[test]
fn a_first_image_unlike_the_others_does_not_spoil_the_variance() {
    let shape = NormShape { batch: 64, channels: 16, positions: 256 };
    let mut x = values(1, shape.len());
    x[16 * 256..].iter_mut().for_each(|x| *x += 1e4);
    let [mut mean, mut inv_std, mut variance] = [(); 3].map(|()| vec![f32::NAN; 16]);
    let stats = BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut variance };
    batch_stats(&shape, &x, 0.0, stats).unwrap();
    let count = shape.values_per_channel() as f64;
    let channel: Vec<f64> = x.iter().step_by(16).map(|&x| f64::from(x)).collect();
    let mean = channel.iter().sum::<f64>() / count;
    let want = channel.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0);
    assert!((f64::from(variance[0]) / want - 1.0).abs() < 1e-5, "{} instead of {want}", variance[0]);
}

#[test]
fn a_recomputed_clamp_is_that_of_the_output_bit_for_bit() {
    for (shape, activation) in
        SHAPES.into_iter().flat_map(|shape| [(shape, Activation::Relu), (shape, Activation::Relu6)])
    {
        let channels = shape.channels;
        let x: Vec<f32> = values(1, shape.len()).into_iter().map(|x| 4.0 * x).collect();
        let (dy, weight, bias) = (values(2, shape.len()), values(3, channels), values(4, channels));
        let [mut mean, mut inv_std, mut variance] = [(); 3].map(|()| vec![f32::NAN; channels]);
        let stats = BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut variance };
        batch_stats(&shape, &x, 1e-5, stats).unwrap();
        let saved = SavedStats { mean: &mean, inv_std: &inv_std };
        let mut y = vec![f32::NAN; shape.len()];
        batch_norm_apply(&shape, &x, &weight, &bias, saved, None, Some(activation), &mut y);
        let backward = |clamp, in_training: bool| {
            let [mut dx, mut dweight, mut dbias] = [shape.len(), channels, channels].map(|len| vec![f32::NAN; len]);
            let grads = NormGrads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias, dresidual: None };
            if in_training {
                batch_norm_backward(&shape, &x, &weight, saved, Some(clamp), &dy, grads);
            } else {
                batch_norm_eval_backward(&shape, &x, &weight, &mean, &variance, 0.0, Some(clamp), &dy, grads);
            }
            [dx, dweight, dbias].map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let (output, recomputed) = (Clamp::Output { activation, y: &y }, Clamp::Recomputed { activation, bias: &bias });
        assert!(backward(output, true) == backward(recomputed, true), "{shape:?}");
        // In evaluation the output is that of other statistics.
        let eval = SavedStats {
            mean: &mean,
            inv_std: &variance.iter().map(|&v| (1.0 / f64::from(v).sqrt()) as f32).collect::<Vec<_>>(),
        };
        let mut y = vec![f32::NAN; shape.len()];
        batch_norm_apply(&shape, &x, &weight, &bias, eval, None, Some(activation), &mut y);
        assert!(backward(Clamp::Output { activation, y: &y }, false) == backward(recomputed, false), "{shape:?}");
    }
}

#[test]
fn bits_do_not_depend_on_the_run_or_the_threads() {
    let shape = NormShape { batch: 9, channels: 5, positions: 13_000 };
    let (x, dy, weight) = (values(1, shape.len()), values(2, shape.len()), values(3, 5));
    let with_threads = |threads| {
        let run = || {
            let [mut mean, mut inv_std, mut unbiased_variance, mut dweight, mut dbias] = [(); 5].map(|()| vec![0.0; 5]);
            let [mut y, mut dx] = [(); 2].map(|()| vec![0.0; shape.len()]);
            let stats =
                BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut unbiased_variance };
            let relu = Activation::Relu;
            batch_norm_train(&shape, &x, &weight, &weight, 1e-5, None, Some(relu), &mut y, stats).unwrap();
            let grads = NormGrads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias, dresidual: None };
            let (stats, clamp) =
                (SavedStats { mean: &mean, inv_std: &inv_std }, Clamp::Output { activation: relu, y: &y });
            batch_norm_backward(&shape, &x, &weight, stats, Some(clamp), &dy, grads);
            [y, dx, mean, inv_std, unbiased_variance, dweight, dbias]
        };
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    };
    let first = with_threads(1);
    for threads in [1, 2, 3, 7] {
        assert!(first == with_threads(threads), "with {threads} threads");
    }
}
