//! What looks at all channels of a pixel, at every level against plain computation in `f64`.

use std::vec::Vec;

use super::simple_tests::{every, floats, written, written_floats};
use super::tests::Random;
use crate::simple::{Normalisation, tables};

/// Pixels and channels, of which vectors take 16 at most.
fn drawn(random: &mut Random) -> [usize; 2] {
    let any = 1 + random.below(200);
    [1 + random.below(4), random.pick(&[1, 2, 15, 16, 17, 32, 64, 100, any])]
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn layer_norms() {
    every(200, |simple, level, random| {
        let [pixels, channels] = drawn(random);
        let (a, weights, bias) =
            (floats(random, pixels * channels), floats(random, channels), floats(random, channels));
        let eps = random.pick(&[1e-6f32, 1e-5, 0.5]);
        let (factors, shifts) = (bytes(&weights), bytes(&bias));
        // At no alignment.
        let (factors, shifts) = ([&[0u8][..], &factors].concat(), [&[0u8; 3][..], &shifts].concat());
        let how = Normalisation { weights: &factors[1..], bias: &shifts[3..], eps };
        // SAFETY: the lengths are these.
        let found =
            written_floats(a.len(), |out| unsafe { (simple.normalise)(a.as_ptr(), out, pixels, channels, &how) });
        for (x, found) in a.chunks(channels).zip(found.chunks(channels)) {
            let wide = |x: &f32| f64::from(*x);
            let mean = x.iter().map(wide).sum::<f64>() / channels as f64;
            let variance = x.iter().map(|x| (wide(x) - mean).powi(2)).sum::<f64>() / channels as f64;
            let deviation = (variance + f64::from(eps)).sqrt();
            let largest = x.iter().fold(0.0, |most: f64, x| most.max(wide(x).abs()));
            for (c, (x, found)) in x.iter().zip(found).enumerate() {
                let expected = (wide(x) - mean) / deviation * wide(&weights[c]) + wide(&bias[c]);
                // Roundings of the mean, of what it is taken from, and of the product and the sum.
                let most = 1e-6 * (largest / deviation * wide(&weights[c]).abs() + wide(&bias[c]).abs() + 1.0);
                assert!((f64::from(*found) - expected).abs() <= most, "{level}: {found} for {expected} of {channels}");
            }
        }
    });
}

#[test]
fn shares_of_a_whole() {
    every(200, |simple, level, random| {
        let [pixels, channels] = drawn(random);
        let a = floats(random, pixels * channels);
        // SAFETY: the lengths are these.
        let found = written_floats(a.len(), |out| unsafe { (simple.softmax)(a.as_ptr(), out, pixels, channels) });
        for (x, found) in a.chunks(channels).zip(found.chunks(channels)) {
            let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let power = |x: &f32| (f64::from(*x) - f64::from(most)).exp();
            let sum: f64 = x.iter().map(power).sum();
            for (x, found) in x.iter().zip(found) {
                let expected = power(x) / sum;
                // The difference of floats up to 100 is rounded.
                assert!(
                    (f64::from(*found) - expected).abs() <= 2e-5 * expected + 1e-37,
                    "{level}: {found}, {expected}"
                );
            }
        }
    });
}

#[test]
fn a_slope_or_a_table_for_each_channel() {
    every(200, |simple, level, random| {
        let [pixels, channels] = drawn(random);
        let (a, slopes) = (floats(random, pixels * channels), floats(random, channels));
        let constants = bytes(&slopes);
        // SAFETY: the lengths are these.
        let found =
            written_floats(a.len(), |out| unsafe { (simple.slopes)(a.as_ptr(), out, pixels, channels, &constants) });
        let sloped = |(x, slope): (&f32, &f32)| if *x > 0.0 { *x } else { slope * x };
        assert_eq!(found, a.iter().zip(slopes.iter().cycle()).map(sloped).collect::<Vec<_>>(), "{level}");

        let each: Vec<u8> = (0..256 * channels).map(|_| random.byte()).collect();
        let a: Vec<u8> = (0..pixels * channels).map(|_| random.byte()).collect();
        // SAFETY: as above.
        let found = written(a.len(), |out| unsafe { tables(a.as_ptr(), out, pixels, channels, &each) });
        let looked_up = a.iter().enumerate().map(|(at, byte)| each[256 * (at % channels) + usize::from(*byte)]);
        assert_eq!(found, looked_up.collect::<Vec<_>>(), "{level}");
    });
}
