//! Depthwise layers of bytes with numbers that are rare, at every level against the plain one: multipliers and biases whose
//! products are beyond an `i32`, every number of channels, every number of rows, borders of one pixel in all.

use std::vec;
use std::vec::Vec;

use super::Level;
use super::tests::{Aligned, Random};
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, ByteTail, Shape, Source, Target};

/// A layer's constants and input.
struct Numbers {
    shape: Shape,
    image: Vec<u8>,
    row: usize,
    weights: Vec<u8>,
    bias: Vec<u8>,
    multipliers: Vec<u8>,
    tail: ByteTail<'static>,
}

/// `rare` says which numbers are: 0 none, 1 multipliers, 2 biases.
fn numbers(random: &mut Random, shape: Shape, rare: usize) -> Numbers {
    let reach =
        |axis: usize| (shape.size[axis] - 1) * shape.stride[axis] + shape.dilation[axis] * (shape.kernel[axis] - 1);
    let row = (reach(1) + 1) * shape.groups;
    let image = (0..(reach(0) + 1) * row + 64).map(|_| random.byte()).collect();
    let weights = (0..shape.groups * shape.depth()).map(|_| random.byte()).collect();
    let bias = |random: &mut Random| match rare {
        2 => random.pick(&[1 << 30, -(1 << 30), 8_400_000, -8_400_000, 16_777_217]),
        _ => random.below(2000) as i32 - 1000,
    };
    let multiplier = |random: &mut Random| match rare {
        1 => random.pick(&[255.9f32, 256.0, 257.0, 1e4, 1e30, f32::INFINITY, f32::NAN, 0.0, 1e-40]),
        _ => random.pick(&[0.5f32, 0.003, 1.0, 0.02]),
    };
    let bias = (0..shape.groups).flat_map(|_| bias(random).to_le_bytes()).collect();
    let multipliers = (0..shape.groups).flat_map(|_| multiplier(random).to_le_bytes()).collect();
    let [low, high] = random.pick(&[[0, 255], [0, 255], [12, 190]]);
    let tail = ByteTail { zero: random.pick(&[0, 0, 7, 255]), low, high, table: None, residual: None };
    Numbers { shape, image, row, weights, bias, multipliers, tail }
}

fn run(kernel: &ByteKernel, numbers: &Numbers) -> Vec<u8> {
    let shape = &numbers.shape;
    let constants =
        ByteConstants { weights: &numbers.weights, bias: &numbers.bias, multipliers: &numbers.multipliers, zero: 0 };
    let mut packed = Aligned::new((kernel.packed)(shape));
    // What was there before does not matter.
    packed.slice((kernel.packed)(shape)).fill(0x77);
    (kernel.pack)(shape, constants, packed.slice((kernel.packed)(shape)));
    let mut scratch = Aligned::new((kernel.scratch)(shape));
    let gap = 5;
    let pixel = shape.groups + gap;
    let mut out = vec![0xee; shape.size[0] * shape.size[1] * pixel];
    let layer = ByteLayer {
        shape,
        source: Source { at: numbers.image.as_ptr(), row: numbers.row, pixel: shape.groups },
        target: Target { at: out.as_mut_ptr(), row: shape.size[1] * pixel, pixel },
        packed: packed.slice(0).as_ptr(),
        weights: &numbers.weights,
        tail: numbers.tail,
        scratch: scratch.slice(0).as_mut_ptr(),
    };
    // SAFETY: the images have the sizes of the shape and 64 bytes behind the source.
    unsafe { (kernel.run)(&layer, 0..shape.size[0]) };
    out
}

fn same(shape: Shape, rare: usize, seed: u64) {
    let mut random = Random(seed);
    let numbers = numbers(&mut random, shape, rare);
    let expected = run(&Level::Scalar.kernels().unwrap().depthwise_u8, &numbers);
    for level in Level::ALL.into_iter().filter(|level| level.available()) {
        let found = run(&level.kernels().unwrap().depthwise_u8, &numbers);
        assert_eq!(found, expected, "{level}: {shape:?}, {:?}", numbers.tail);
    }
}

fn shape(channels: usize, kernel: usize, stride: usize, size: [usize; 2]) -> Shape {
    let (kernel, stride) = ([kernel; 2], [stride; 2]);
    Shape { groups: channels, inputs: 1, outputs: 1, kernel, stride, dilation: [1; 2], size }
}

#[test]
fn products_beyond_32_bits_saturate() {
    for seed in 0..60 {
        for rare in [1, 2] {
            for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (7, 1)] {
                same(shape(2 + seed as usize * 2, kernel, stride, [3, 4]), rare, seed);
            }
        }
    }
}

#[test]
fn every_number_of_channels() {
    for channels in 2..=140 {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            same(shape(channels, kernel, stride, [5, 3]), 0, channels as u64);
        }
    }
}

#[test]
fn every_number_of_rows() {
    for rows in 1..=19 {
        for channels in [16, 32, 64, 88, 112] {
            for (kernel, stride) in [(3, 1), (3, 2), (5, 1)] {
                same(shape(channels, kernel, stride, [rows, 4]), 0, rows as u64);
            }
        }
    }
}

#[test]
fn unusual_kernels() {
    let mut random = Random(5);
    for seed in 0..150 {
        let any = |random: &mut Random, end: usize| [1 + random.below(end), 1 + random.below(end)];
        let kernel = if seed % 3 == 0 { any(&mut random, 19) } else { any(&mut random, 8) };
        let (stride, dilation, size) = (any(&mut random, 3), any(&mut random, 3), any(&mut random, 6));
        let groups = 2 + random.below(90);
        same(Shape { groups, inputs: 1, outputs: 1, kernel, stride, dilation, size }, 0, seed);
    }
}
