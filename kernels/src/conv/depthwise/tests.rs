//! Depthwise convolution in its three directions against its definition in `f64`; the same bits for any threads.

use super::{forward, input_grad, weight_grad};
use crate::activation::Activation;
use crate::shape::ConvShape;

const PLAIN: ConvShape = ConvShape {
    batch: 2,
    in_channels: 24,
    in_h: 9,
    in_w: 14,
    out_channels: 24,
    kernel: [3, 3],
    stride: [1, 1],
    padding: [1, 1],
    dilation: [1, 1],
    groups: 24,
};

fn with_channels(shape: ConvShape, channels: usize) -> ConvShape {
    ConvShape { in_channels: channels, out_channels: channels, groups: channels, ..shape }
}

/// Values in [-1, 1).
fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

struct Operands {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Operands {
    fn new(shape: &ConvShape) -> Self {
        Self {
            x: values(1, shape.input_len()),
            weight: values(2, shape.weight_len()),
            bias: values(3, shape.out_channels),
            dy: values(4, shape.output_len()),
        }
    }

    /// `[y, dx, dweight]`. They start as NaN, so that a value that is never written or only added to is seen.
    fn run(&self, shape: &ConvShape, activation: Option<Activation>) -> [Vec<f32>; 3] {
        let [mut y, mut dx, mut dweight] =
            [shape.output_len(), shape.input_len(), shape.weight_len()].map(|len| vec![f32::NAN; len]);
        forward(shape, &self.x, &self.weight, Some(&self.bias), activation, &mut y);
        input_grad(shape, &self.dy, &self.weight, &mut dx);
        weight_grad(shape, &self.x, &self.dy, &mut dweight);
        [y, dx, dweight]
    }

    fn by_definition(&self, shape: &ConvShape, activation: Option<Activation>) -> [Vec<f32>; 3] {
        let ConvShape { batch, in_channels: channels, in_h, in_w, kernel, stride, padding, dilation, .. } = *shape;
        let (out_h, out_w) = (shape.out_h(), shape.out_w());
        let mut y: Vec<f64> = (0..shape.output_len()).map(|i| f64::from(self.bias[i % channels])).collect();
        let (mut dx, mut dweight) = (vec![0.0f64; shape.input_len()], vec![0.0f64; shape.weight_len()]);
        let pixels = |h: usize, w: usize| (0..h).flat_map(move |row| (0..w).map(move |column| (row, column)));
        for (n, (i, j)) in (0..batch).flat_map(|n| pixels(kernel[0], kernel[1]).map(move |tap| (n, tap))) {
            for (row, column) in pixels(out_h, out_w) {
                let h = (row * stride[0] + i * dilation[0]).checked_sub(padding[0]).filter(|&h| h < in_h);
                let w = (column * stride[1] + j * dilation[1]).checked_sub(padding[1]).filter(|&w| w < in_w);
                let (Some(h), Some(w)) = (h, w) else { continue };
                for channel in 0..channels {
                    let input = ((n * in_h + h) * in_w + w) * channels + channel;
                    let output = ((n * out_h + row) * out_w + column) * channels + channel;
                    let tap = (channel * kernel[0] + i) * kernel[1] + j;
                    let [x, weight, dy] = [self.x[input], self.weight[tap], self.dy[output]].map(f64::from);
                    y[output] += x * weight;
                    dx[input] += dy * weight;
                    dweight[tap] += dy * x;
                }
            }
        }
        let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
        let y = single(y).into_iter().map(|y| activation.map_or(y, |activation| activation.apply(y))).collect();
        [y, single(dx), single(dweight)]
    }
}

#[track_caller]
fn assert_right(shape: ConvShape, activation: Option<Activation>) {
    assert_eq!(shape.checked().err(), None, "{shape:?}");
    let operands = Operands::new(&shape);
    let results = operands.run(&shape, activation).into_iter().zip(operands.by_definition(&shape, activation));
    for (what, (got, want)) in ["y", "dx", "dweight"].into_iter().zip(results) {
        let largest = want.iter().fold(1.0f32, |largest, want| largest.max(want.abs()));
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            // Written so that NaN fails.
            assert!((got - want).abs() <= 2e-6 * largest, "{what}[{i}] of {shape:?}: {got}, expected {want}");
        }
    }
}

#[test]
fn every_setting_agrees_with_the_definition() {
    let (mut ran, settings) = (0, [[1, 1], [3, 3], [2, 3], [5, 1], [5, 5]]);
    for (kernel, [in_h, in_w]) in settings.into_iter().flat_map(|k| [[9, 14], [8, 7], [5, 23]].map(|size| (k, size))) {
        for stride in [[1, 1], [2, 2], [3, 3], [1, 2], [3, 2]] {
            for (padding, dilation) in [([0, 0], [1, 1]), ([1, 1], [1, 1]), ([2, 1], [1, 2]), ([3, 4], [2, 3])] {
                for channels in [1, 3, 7, 16, 24] {
                    let shape = ConvShape { in_h, in_w, kernel, stride, padding, dilation, ..PLAIN };
                    if let Ok(shape) = with_channels(shape, channels).checked() {
                        assert_right(shape, None);
                        ran += 1;
                    }
                }
            }
        }
    }
    assert!(ran > 1000, "{ran} shapes");
}

#[test]
fn edge_cases_agree_with_the_definition() {
    let edges = [
        ConvShape { batch: 1, ..PLAIN },
        ConvShape { in_h: 1, in_w: 1, ..PLAIN },
        ConvShape { in_h: 1, in_w: 1, stride: [2, 2], ..PLAIN },
        ConvShape { in_h: 2, stride: [5, 9], ..PLAIN }, // inputs that no tap sees
        ConvShape { in_w: 1, padding: [1, 4], ..PLAIN }, // outputs that see no input
        ConvShape { kernel: [9, 14], padding: [0, 0], ..PLAIN }, // the kernel is the image
        ConvShape { kernel: [1, 1], padding: [2, 3], ..PLAIN }, // more padding than the kernel reaches
        ConvShape { stride: [4, 4], dilation: [2, 6], padding: [2, 5], ..PLAIN }, // stride and dilation share a factor
        with_channels(PLAIN, 100),
        with_channels(ConvShape { stride: [2, 2], ..PLAIN }, 150), // more than one group of blocks
        with_channels(ConvShape { batch: 40, in_h: 4, in_w: 4, ..PLAIN }, 130),
    ];
    for shape in edges {
        assert_right(shape, None);
    }
}

#[test]
fn the_activation_follows_the_bias() {
    for stride in [[1, 1], [2, 3]] {
        for activation in [Activation::Relu, Activation::Relu6] {
            assert_right(ConvShape { stride, ..PLAIN }, Some(activation));
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_threads() {
    let large = with_channels(ConvShape { batch: 9, in_h: 17, in_w: 18, ..PLAIN }, 150);
    for shape in [large, ConvShape { stride: [2, 2], ..large }, with_channels(large, 3)] {
        let operands = Operands::new(&shape);
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| operands.run(&shape, None))
        };
        let first = with_threads(1);
        for threads in [1, 2, 3, 7] {
            assert!(first == with_threads(threads), "{shape:?} with {threads} threads");
        }
    }
}
