//! Steps over the channels of a pixel, one pixel at a time, in `f64`; and where elements that are counted anew lie.

use alloc::vec::Vec;

use crate::layer::f32_at;
use crate::simple::channels::root;
use crate::simple::functions::exp;

/// A layer norm's pixel; the constants are factors and shifts.
pub(super) fn normalised(pixel: &[f32], [weights, bias]: [&[u8]; 2], eps: f32) -> Vec<f32> {
    let count = pixel.len() as f64;
    let mean = pixel.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let apart = |x: &f32| f64::from(*x) - mean;
    let variance = pixel.iter().map(|x| apart(x) * apart(x)).sum::<f64>() / count;
    let factor = root(variance + f64::from(eps));
    let normed =
        |(c, x): (usize, &f32)| (apart(x) * factor * f64::from(f32_at(weights, c)) + f64::from(f32_at(bias, c))) as f32;
    pixel.iter().enumerate().map(normed).collect()
}

/// A softmax's pixel.
pub(super) fn shares(pixel: &[f32]) -> Vec<f32> {
    let most = pixel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = pixel.iter().map(|x| f64::from(exp(x - most))).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}

/// Where an image of size `from` has the element that one of size `to` has at `[y, x, c]`, both counted channel by channel,
/// row by row.
pub(super) fn counted(from: [usize; 3], to: [usize; 3], [y, x, c]: [usize; 3]) -> [usize; 3] {
    let number = (c * to[0] + y) * to[1] + x;
    [number / from[1] % from[0], number % from[1], number / from[1] / from[0]]
}
