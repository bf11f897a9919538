//! Values as whole numbers and back, shares of a whole: against their definitions, for images of both types.
#![allow(clippy::unwrap_used)] // in what the tests share, too

mod common;

use attar_kernels::{
    Levels, NormShape, Value, convert, dequantize, dequantize_backward, quantize, quantize_backward, softmax_channels,
    softmax_channels_backward,
};
use common::{assert_close, values};
use half::bf16;

fn floats<T: Value>(values: &[T]) -> Vec<f32> {
    values.iter().map(|value| value.float()).collect()
}

fn stored<T: Value>(values: &[f32]) -> Vec<T> {
    let mut stored = vec![T::default(); values.len()];
    convert(values, &mut stored);
    stored
}

fn numbers<T: Value>() {
    // Eighths: with a scale of a quarter every second lies between two numbers.
    let x: Vec<f32> = (-600..600i16).map(|i| f32::from(i) / 8.0).collect();
    let x = stored::<T>(&x);
    let levels = Levels { scale: 0.25, zero_point: 3.0 };
    for [low, high] in [[-128.0f32, 127.0], [0.0, 255.0]] {
        let (mut y, mut back) = (vec![T::rounded(f32::NAN); x.len()], vec![T::rounded(f32::NAN); x.len()]);
        quantize(levels, [low, high], &x, &mut y);
        let number = |x: &f32| {
            let (below, exact) = ((x / 0.25).floor(), x / 0.25);
            let odd = below.rem_euclid(2.0) == 1.0;
            let up = exact - below > 0.5 || (exact - below == 0.5 && odd);
            (below + f32::from(u8::from(up)) + 3.0).clamp(low, high)
        };
        assert_eq!(floats(&y), floats(&x).iter().map(number).collect::<Vec<_>>());
        dequantize(levels, &y, &mut back);
        let value = |y: &f32| T::rounded((y - 3.0) * 0.25).float();
        assert_eq!(floats(&back), floats(&y).iter().map(value).collect::<Vec<_>>());
    }
}

fn shares<T: Value>(tolerance: f64) {
    for [batch, channels, positions] in [[1, 1, 1], [3, 7, 30], [2, 1000, 1]] {
        let shape = NormShape { batch, channels, positions }.checked().unwrap();
        let x: Vec<f32> = values(1, shape.len()).iter().map(|x| 20.0 * x + 90.0).collect();
        let (x, dy) = (stored::<T>(&x), stored::<T>(&values(2, shape.len())));
        let (mut y, mut dx) = (vec![T::rounded(f32::NAN); x.len()], vec![T::rounded(f32::NAN); x.len()]);
        softmax_channels(&shape, &x, &mut y);
        softmax_channels_backward(&shape, &y, &dy, &mut dx);
        let (mut want, mut slope) = (Vec::new(), Vec::new());
        for (row, (y, dy)) in x.chunks(channels).zip(y.chunks(channels).zip(dy.chunks(channels))) {
            let most = row.iter().fold(f64::NEG_INFINITY, |most, x| most.max(f64::from(x.float())));
            let all: Vec<f64> = row.iter().map(|x| (f64::from(x.float()) - most).exp()).collect();
            want.extend(all.iter().map(|share| (share / all.iter().sum::<f64>()) as f32));
            let mean: f64 = y.iter().zip(dy).map(|(y, dy)| f64::from(y.float()) * f64::from(dy.float())).sum();
            slope
                .extend(y.iter().zip(dy).map(|(y, dy)| (f64::from(y.float()) * (f64::from(dy.float()) - mean)) as f32));
        }
        assert_close("y", &floats(&y), &want, tolerance);
        assert_close("dx", &floats(&dx), &slope, tolerance);
    }
}

#[test]
fn numbers_are_the_nearest_and_of_two_the_even() {
    numbers::<f32>();
    numbers::<bf16>();
    let mut y = [0.0];
    quantize(Levels { scale: 1.0, zero_point: 0.0 }, [0.0, 255.0], &[f32::NAN], &mut y);
    assert!(y[0].is_nan());
}

#[test]
fn shares_add_up_to_one_and_so_does_nothing_of_their_gradient() {
    shares::<f32>(1e-6);
    shares::<bf16>(4e-3);
}

/// Rounded and back, with what its sum comes to: Esser et al. 2020 (arXiv 1902.08153), equations 3 and 5, written out.
#[test]
fn gradients_of_rounding_and_back_are_those_of_lsq() {
    let x: Vec<f32> = values(1, 50_001).iter().map(|x| 40.0 * x).collect();
    let dy = values(2, x.len());
    for (scale, zero_point, [low, high]) in
        [(0.25f32, 96.0f32, [0.0f32, 255.0]), (0.171, 0.0, [0.0, 192.0]), (0.3, 7.0, [-128.0, 127.0])]
    {
        let levels = Levels { scale, zero_point };
        let [mut numbers, mut dn, mut dx] = [(); 3].map(|()| vec![f32::NAN; x.len()]);
        quantize(levels, [low, high], &x, &mut numbers);
        let back = dequantize_backward(levels, &numbers, &dy, &mut dn);
        let dscale = back + quantize_backward(levels, [low, high], &x, &dn, &mut dx);
        let (below, above) = (low - zero_point, high - zero_point);
        let (mut expected, mut inside) = (0.0f64, 0);
        for ((x, dy), dx) in x.iter().zip(&dy).zip(&dx) {
            let steps = x / scale;
            let (slope, through) = match steps {
                steps if steps <= below => (below, 0.0),
                steps if steps >= above => (above, 0.0),
                steps => (steps.round_ties_even() - steps, *dy),
            };
            expected += f64::from(*dy) * f64::from(slope);
            inside += usize::from(through != 0.0);
            assert!((dx - through).abs() <= 1e-6, "{x}: {dx}, expected {through}");
        }
        assert!(inside > 1000 && inside < x.len() - 1000, "{inside} of {} are inside", x.len());
        assert!((dscale - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{dscale}, expected {expected}");
    }
}
