//! Every entry of [`Simple`] at every level against plain computation: bytes are equal, floats within rounding.

use std::vec;
use std::vec::Vec;

use super::Level;
use super::tests::Random;
use crate::arithmetic::{self, Sum};
use crate::layer::{FloatFunction, Source, Target};
use crate::simple::{Addition, Mean, Multiplication, Simple, Window};

/// What is around an output and must stay.
const KEPT: u8 = 0xc3;

/// Runs a test for each level of this CPU and many seeds.
pub(super) fn every(rounds: u64, test: impl Fn(&Simple, Level, &mut Random)) {
    for level in Level::ALL.into_iter().filter(|level| level.available()) {
        let kernels = level.kernels().unwrap();
        (0..rounds).for_each(|seed| test(&kernels.simple, level, &mut Random(seed)));
    }
}

fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.byte()).collect()
}

pub(super) fn floats(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.float() * random.pick(&[1.0, 8.0, 100.0])).collect()
}

/// Lengths at which something ends: 0 to 300.
fn length(random: &mut Random) -> usize {
    random.below(301)
}

/// The first `length` bytes that `run` writes into memory of which the rest must stay.
pub(super) fn written(length: usize, run: impl FnOnce(*mut u8)) -> Vec<u8> {
    let mut out = vec![KEPT; length + 130];
    run(out.as_mut_ptr().wrapping_add(65));
    assert!(out[..65].iter().chain(&out[65 + length..]).all(|byte| *byte == KEPT), "written beside the output");
    out[65..][..length].to_vec()
}

pub(super) fn written_floats(length: usize, run: impl FnOnce(*mut f32)) -> Vec<f32> {
    let mut out = vec![-7.25f32; length + 66];
    run(out.as_mut_ptr().wrapping_add(33));
    assert!(out[..33].iter().chain(&out[33 + length..]).all(|x| *x == -7.25), "written beside the output");
    out[33..][..length].to_vec()
}

fn addition(random: &mut Random) -> Addition {
    let first = (random.pick(&[0.031, 0.5, 1e-4]), random.byte());
    let second = (random.pick(&[0.03, 0.007, 20.0]), random.byte());
    let sum = Sum::new(first, second, (random.pick(&[0.04, 0.02]), random.byte()));
    let [low, high] = random.pick(&[[0, 255], [7, 255], [12, 200]]);
    // Ratios of powers of two make halves.
    let sum = if random.below(3) == 0 { Sum { first: 0.5, second: 0.25, offset: -3.0 } } else { sum };
    Addition { sum, low, high }
}

fn multiplication(random: &mut Random) -> Multiplication {
    let [low, high] = random.pick(&[[0, 255], [7, 255], [12, 200]]);
    let multiplier = random.pick(&[0.5, 0.0123, 0.25, 1e-4, 3e7, 1e9]);
    let [first, second] = [random.pick(&[0, 3, 128, 255]), random.pick(&[0, 3, 128, 255])];
    Multiplication { first, second, multiplier, zero: random.pick(&[0, 5, 255]), low, high }
}

fn product(how: &Multiplication, a: u8, b: u8) -> u8 {
    arithmetic::product((a, how.first), (b, how.second), how.multiplier, how.zero).max(how.low).min(how.high)
}

/// All pairs of bytes.
fn pairs() -> (Vec<u8>, Vec<u8>) {
    (0..=u16::MAX).map(|pair| pair.to_le_bytes()).map(|[a, b]| (a, b)).unzip()
}

#[test]
fn sums_of_bytes() {
    every(300, |simple, level, random| {
        let how = addition(random);
        let all = random.below(20) == 0;
        let count = length(random);
        let (a, b) = if all { pairs() } else { (bytes(random, count), bytes(random, count)) };
        let expected: Vec<u8> = a.iter().zip(&b).map(|(a, b)| how.sum.of(*a, *b).clamp(how.low, how.high)).collect();
        // SAFETY: all three have this length.
        let found = written(a.len(), |out| unsafe { (simple.add_u8)(a.as_ptr(), b.as_ptr(), out, a.len(), &how) });
        assert_eq!(found, expected, "{level}: {how:?}");
        let mut place = a.clone();
        let at = place.as_mut_ptr();
        // SAFETY: the same, in place of the first and the second.
        unsafe { (simple.add_u8)(at, b.as_ptr(), at, b.len(), &how) };
        assert_eq!(place, expected, "{level}: {how:?}");
        let mut place = b.clone();
        let at = place.as_mut_ptr();
        // SAFETY: as above.
        unsafe { (simple.add_u8)(a.as_ptr(), at, at, a.len(), &how) };
        assert_eq!(place, expected, "{level}: {how:?}");
    });
}

#[test]
fn products_of_bytes() {
    every(300, |simple, level, random| {
        let how = multiplication(random);
        let all = random.below(20) == 0;
        let count = length(random);
        let (a, b) = if all { pairs() } else { (bytes(random, count), bytes(random, count)) };
        let expected: Vec<u8> = a.iter().zip(&b).map(|(a, b)| product(&how, *a, *b)).collect();
        // SAFETY: all three have this length.
        let found = written(a.len(), |out| unsafe { (simple.multiply_u8)(a.as_ptr(), b.as_ptr(), out, a.len(), &how) });
        assert_eq!(found, expected, "{level}: {how:?}");
    });
}

#[test]
fn products_of_bytes_with_a_channel_each() {
    every(300, |simple, level, random| {
        let how = multiplication(random);
        let (pixels, channels) = match random.below(3) {
            0 => (random.below(200), 1 + random.below(40)),
            _ => (random.below(6), 1 + length(random)),
        };
        let (a, b) = (bytes(random, pixels * channels), bytes(random, channels));
        let expected: Vec<u8> = a.iter().zip(b.iter().cycle()).map(|(a, b)| product(&how, *a, *b)).collect();
        let run = simple.multiply_channels_u8;
        // SAFETY: the lengths are these.
        let found = written(a.len(), |out| unsafe { run(a.as_ptr(), b.as_ptr(), out, pixels, channels, &how) });
        assert_eq!(found, expected, "{level}: {how:?}");
    });
}

#[test]
fn functions_of_a_byte() {
    every(300, |simple, level, random| {
        let count = length(random);
        let a: Vec<u8> = if random.below(4) == 0 { (0..=255).collect() } else { bytes(random, count) };
        let mut table: [u8; 256] = bytes(random, 256).try_into().unwrap();
        // Ends of one value, up to the whole table.
        if random.below(2) == 0 {
            let (low, high) = (random.below(257), random.below(257));
            table[..low].fill(random.pick(&[0, 17, 255]));
            table[high..].fill(random.byte());
        }
        let expected: Vec<u8> = a.iter().map(|a| table[usize::from(*a)]).collect();
        // SAFETY: both have this length.
        let found = written(a.len(), |out| unsafe { (simple.table)(a.as_ptr(), out, a.len(), &table) });
        assert_eq!(found, expected, "{level}");
        let mut place = a.clone();
        let at = place.as_mut_ptr();
        // SAFETY: the same, in place.
        unsafe { (simple.table)(at, at, a.len(), &table) };
        assert_eq!(place, expected, "{level}");
    });
}

#[test]
fn floats_to_bytes_and_back() {
    every(300, |simple, level, random| {
        let count = length(random);
        let (scale, zero) = (random.pick(&[0.25, 0.0371, 1.0, 3e-39]), random.byte());
        let mut x = floats(random, count);
        // Halves, and what is no number of steps.
        for x in &mut x {
            match random.below(20) {
                0 => *x = random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38, -3e38, -0.0]),
                1..=8 => *x = (random.below(300) as f32 - 150.5) * scale,
                _ => {}
            }
        }
        let expected: Vec<u8> = x.iter().map(|x| arithmetic::quantize(*x, scale, zero)).collect();
        // SAFETY: both have this length.
        let found = written(count, |out| unsafe { (simple.quantize)(x.as_ptr(), out, count, scale, zero) });
        assert_eq!(found, expected, "{level}: {scale}, {zero}, {x:?}");
        let back: Vec<f32> = found.iter().map(|q| arithmetic::dequantize(*q, scale, zero)).collect();
        // SAFETY: both have this length.
        let run = |out| unsafe { (simple.dequantize)(found.as_ptr(), out, count, scale, zero) };
        assert_eq!(written_floats(count, run), back, "{level}: {scale}, {zero}");
    });
}

/// A float function in `f64`.
fn function(function: FloatFunction, x: f32) -> f64 {
    let x = f64::from(x);
    match function {
        FloatFunction::Clamp { low, high } => x.max(low.into()).min(high.into()),
        FloatFunction::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        FloatFunction::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        FloatFunction::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        FloatFunction::Silu => x / (1.0 + (-x).exp()),
        FloatFunction::Gelu => x * normal(x),
        FloatFunction::GeluTanh => {
            x / (1.0 + (-2.0 * (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).exp())
        }
        FloatFunction::LeakyRelu { slope } => x.max(0.0) + f64::from(slope) * x.min(0.0),
    }
}

/// The normal distribution's mass below `x`: its series, or far out its continued fraction (Abramowitz and Stegun 1964,
/// 26.2.11, 26.2.14).
fn normal(x: f64) -> f64 {
    let density = (-x * x / 2.0).exp() / (2.0 * core::f64::consts::PI).sqrt();
    if x.abs() > 5.0 {
        let tail = density / (1..60).rev().fold(x.abs(), |below, n| x.abs() + f64::from(n) / below);
        return if x > 0.0 { 1.0 - tail } else { tail };
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..120 {
        term *= x * x / f64::from(2 * n + 1);
        sum += term;
    }
    0.5 + density * sum
}

const FUNCTIONS: [FloatFunction; 10] = [
    FloatFunction::IDENTITY,
    FloatFunction::Clamp { low: 0.0, high: f32::INFINITY },
    FloatFunction::Clamp { low: 0.0, high: 6.0 },
    FloatFunction::HardSwish,
    FloatFunction::HardSigmoid,
    FloatFunction::Sigmoid,
    FloatFunction::Silu,
    FloatFunction::Gelu,
    FloatFunction::GeluTanh,
    FloatFunction::LeakyRelu { slope: 0.1 },
];

fn close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        // A few roundings; that of `x + 3` is of a number near 3. Below the least power that is computed is nothing.
        let most = 6e-7 * expected.abs() + 4e-7 * f64::from(u8::from(expected.abs() < 3.0)) + 1e-37;
        assert!((f64::from(*found) - expected).abs() <= most, "{what}: {found} for {expected}");
    }
}

#[test]
fn functions_sums_and_products_of_floats() {
    every(300, |simple, level, random| {
        let f = random.pick(&FUNCTIONS);
        let count = length(random);
        let (a, b) = (floats(random, count), floats(random, count));
        let pairs = || a.iter().zip(&b);
        let what = std::format!("{level}: {f:?}");
        // SAFETY: all have this length.
        unsafe {
            let found = written_floats(count, |out| (simple.function_f32)(a.as_ptr(), out, count, f));
            close(&found, &a.iter().map(|a| function(f, *a)).collect::<Vec<_>>(), &what);
            let found = written_floats(count, |out| (simple.add_f32)(a.as_ptr(), b.as_ptr(), out, count, f));
            close(&found, &pairs().map(|(a, b)| function(f, a + b)).collect::<Vec<_>>(), &what);
            let found = written_floats(count, |out| (simple.multiply_f32)(a.as_ptr(), b.as_ptr(), out, count, f));
            close(&found, &pairs().map(|(a, b)| function(f, a * b)).collect::<Vec<_>>(), &what);
        }
        let (pixels, channels) = (random.below(5), 1 + count);
        let (a, b) = (floats(random, pixels * channels), floats(random, channels));
        let expected: Vec<f32> = a.iter().zip(b.iter().cycle()).map(|(a, b)| a * b).collect();
        let run = simple.multiply_channels_f32;
        // SAFETY: the lengths are these.
        let found = written_floats(a.len(), |out| unsafe { run(a.as_ptr(), b.as_ptr(), out, pixels, channels) });
        assert_eq!(found, expected, "{level}");
    });
}

#[test]
fn functions_of_floats_far_out() {
    every(1, |simple, level, _| {
        for f in FUNCTIONS {
            let x = [-1e30f32, -200.0, -88.5, -87.3, -0.0, 0.0, 1e-30, 87.3, 88.5, 200.0, 1e30];
            // SAFETY: both have this length.
            let found = written_floats(x.len(), |out| unsafe { (simple.function_f32)(x.as_ptr(), out, x.len(), f) });
            for (found, x) in found.iter().zip(x) {
                let expected = function(f, x);
                // `exp` ends at 88: what is below 1e-36 is not told from 0, times x.
                let most = 1e-6 * expected.abs() + 1e-36 * f64::from(x.abs().max(1.0));
                assert!((f64::from(*found) - expected).abs() <= most, "{level}: {f:?} of {x} is {found}");
            }
            let x = [f32::NAN; 33];
            // SAFETY: both have this length.
            let found = written_floats(x.len(), |out| unsafe { (simple.function_f32)(x.as_ptr(), out, x.len(), f) });
            assert!(found.iter().all(|y| y.is_nan() == found[0].is_nan()), "{level}: {f:?} of NaN is {found:?}");
        }
    });
}

/// A window over an image of so many channels, and the output's size: every window covers something, the last perhaps
/// reaching beyond the padding.
fn window(random: &mut Random) -> (Window, [usize; 2], usize) {
    let whole = random.below(4) == 0;
    let input = [1 + random.below(9), 1 + random.below(9)];
    let kernel = if whole { input } else { [1 + random.below(4), 1 + random.below(4)] };
    let stride = [1 + random.below(3), 1 + random.below(3)];
    let pad = |random: &mut Random, axis: usize| if whole { 0 } else { random.below(kernel[axis].div_ceil(2)) };
    let padding = [pad(random, 0), pad(random, 1)];
    let padding_end = [pad(random, 0), pad(random, 1)];
    let up = random.below(2) == 0;
    let size = [0, 1].map(|axis| {
        let padded = (input[axis] + padding[axis] + padding_end[axis]).saturating_sub(kernel[axis]);
        let steps = if up { padded.div_ceil(stride[axis]) } else { padded / stride[axis] };
        // A window that begins behind the image is none.
        1 + steps.min((input[axis] + padding[axis] - 1) / stride[axis])
    });
    let any = 1 + random.below(300);
    let channels = random.pick(&[1, 3, 8, 16, 31, 32, 64, 100, any]);
    (Window { kernel, stride, padding, padding_end, input, count_padding: random.below(2) == 0 }, size, channels)
}

/// What each output covers: `(pixels of the image, how many a mean counts)`.
fn covered(window: &Window, at: [usize; 2]) -> (Vec<[usize; 2]>, usize) {
    let (mut pixels, mut counted) = (Vec::new(), 0);
    for y in 0..window.kernel[0] {
        for x in 0..window.kernel[1] {
            let place = [at[0] * window.stride[0] + y, at[1] * window.stride[1] + x];
            let within = |axis: usize| {
                place[axis] >= window.padding[axis] && place[axis] < window.padding[axis] + window.input[axis]
            };
            let padded =
                |axis: usize| place[axis] < window.padding[axis] + window.input[axis] + window.padding_end[axis];
            if within(0) && within(1) {
                pixels.push([place[0] - window.padding[0], place[1] - window.padding[1]]);
            }
            let counts = if window.count_padding { padded(0) && padded(1) } else { within(0) && within(1) };
            counted += usize::from(counts);
        }
    }
    (pixels, counted)
}

/// Runs windows of both kinds over an image whose pixels and rows have gaps, and hands each output with what it covers on.
fn windows<T: Copy + PartialEq + core::fmt::Debug>(
    (window, size, channels): (&Window, [usize; 2], usize),
    image: &[T],
    [pixel, row]: [usize; 2],
    kept: T,
    run: impl Fn(Source<T>, Target<T>, usize),
    mut check: impl FnMut(T, &mut dyn Iterator<Item = T>, usize),
) {
    let gap = 3;
    let (out_pixel, out_row) = (channels + gap, size[1] * (channels + gap) + 5);
    let mut out = vec![kept; size[0] * out_row];
    for y in 0..size[0] {
        let target = Target { at: out[y * out_row..].as_mut_ptr(), row: out_row, pixel: out_pixel };
        run(Source { at: image.as_ptr(), row, pixel }, target, y);
    }
    for (y, row_of_out) in out.chunks(out_row).enumerate() {
        for (x, out) in row_of_out.chunks(out_pixel).enumerate() {
            if x >= size[1] {
                assert!(out.iter().all(|element| *element == kept), "written behind the row");
                continue;
            }
            let (pixels, counted) = covered(window, [y, x]);
            for (channel, found) in out[..channels].iter().enumerate() {
                check(*found, &mut pixels.iter().map(|[y, x]| image[y * row + x * pixel + channel]), counted);
            }
            assert!(out[channels..].iter().all(|element| *element == kept), "written behind the channels");
        }
    }
}

#[test]
fn windows_of_bytes() {
    every(200, |simple, level, random| {
        let (window, size, channels) = window(random);
        let [height, width] = window.input;
        let (pixel, row) = (channels + random.below(2) * 3, width * (channels + 3) + 2);
        let image = bytes(random, height * row + 64);
        let drawn = (&window, size, channels);
        let run = |source, target, y| {
            // SAFETY: the image and the output are as large as the window says.
            unsafe { (simple.max_u8)(&window, source, target, y, size[1], channels) };
        };
        windows(drawn, &image, [pixel, row], KEPT, run, |found, covered, _| {
            assert_eq!(found, covered.max().unwrap(), "{level}: {drawn:?}");
        });
        let [low, high] = random.pick(&[[0, 255], [9, 255], [12, 200]]);
        let (scale, output_scale) = (random.pick(&[0.03, 0.5]), random.pick(&[0.03, 0.02, 1.0]));
        let how = Mean { scale, zero: random.byte(), output_scale, output_zero: random.byte(), low, high };
        let run = |source, target, y| {
            // SAFETY: as above.
            unsafe { (simple.mean_u8)(&window, &how, source, target, y, size[1], channels) };
        };
        windows(drawn, &image, [pixel, row], KEPT, run, |found, covered, counted| {
            let sum: i32 = covered.map(|byte| i32::from(byte) - i32::from(how.zero)).sum();
            let multiplier = arithmetic::mean_multiplier(scale, output_scale, counted);
            let expected = arithmetic::requantize(sum, multiplier, how.output_zero).clamp(low, high);
            assert_eq!(found, expected, "{level}: {drawn:?}, {how:?}");
        });
    });
}

#[test]
fn windows_of_floats() {
    every(200, |simple, level, random| {
        let (window, size, channels) = window(random);
        let [height, width] = window.input;
        let (pixel, row) = (channels + random.below(2) * 3, width * (channels + 3) + 2);
        let image: Vec<f32> = (0..height * row + 16).map(|_| random.float()).collect();
        let drawn = (&window, size, channels);
        let run = |source, target, y| {
            // SAFETY: the image and the output are as large as the window says.
            unsafe { (simple.max_f32)(&window, source, target, y, size[1], channels) };
        };
        windows(drawn, &image, [pixel, row], -7.25, run, |found, covered, _| {
            assert_eq!(found, covered.fold(f32::NEG_INFINITY, f32::max), "{level}: {drawn:?}");
        });
        let run = |source, target, y| {
            // SAFETY: as above.
            unsafe { (simple.mean_f32)(&window, source, target, y, size[1], channels) };
        };
        windows(drawn, &image, [pixel, row], -7.25, run, |found, covered, counted| {
            let expected = covered.map(f64::from).sum::<f64>() / counted as f64;
            assert!((f64::from(found) - expected).abs() <= 1e-6, "{level}: {drawn:?}: {found} for {expected}");
        });
    });
}
