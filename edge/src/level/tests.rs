//! Every level against the reference: bytes are equal, floats within rounding, whatever the shape, however rows are split.

use std::vec;
use std::vec::Vec;

use super::Level;
use crate::arithmetic::Sum;
use crate::layer::{
    ByteConstants, ByteKernel, ByteLayer, ByteResidual, ByteTail, FloatConstants, FloatFunction, FloatKernel,
    FloatLayer, FloatTail, MixedKernel, MixedLayer, Shape, Source, Target,
};
use crate::reference::{self, Image, Tail};

/// Numbers without order (Steele et al. 2014, SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// From -1 to 1.
    pub(super) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Memory that starts at a multiple of 64 and ends where it says, so that a read or write beyond is seen by tools.
pub(super) struct Aligned(Vec<u8>, usize);

impl Aligned {
    pub(super) fn new(bytes: usize) -> Self {
        let memory = vec![0; bytes + 64];
        let start = memory.as_ptr().align_offset(64);
        Self(memory, start)
    }

    pub(super) fn slice(&mut self, bytes: usize) -> &mut [u8] {
        &mut self.0[self.1..][..bytes]
    }
}

/// Levels of this CPU.
fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.available())
}

/// A layer that is drawn: its shape, its input's size and border, and where its first window begins.
#[derive(Debug)]
struct Drawn {
    shape: Shape,
    input: [usize; 3],
    border: usize,
    padding: [usize; 2],
}

fn drawn(random: &mut Random, depthwise: bool, large: bool) -> Drawn {
    let channels = |random: &mut Random| match (large, random.below(3)) {
        (true, _) => 1 + random.below(130),
        (_, 0) => random.pick(&[1, 2, 3, 4, 8, 16, 24, 32, 64, 65, 80]),
        _ => 1 + random.below(40),
    };
    let groups = if depthwise { 1 + channels(random) } else { random.pick(&[1, 1, 1, 1, 2, 3]) };
    let (inputs, outputs) = if depthwise { (1, 1) } else { (channels(random), channels(random)) };
    let kernel = random.pick(&[[1, 1], [1, 1], [3, 3], [3, 3], [5, 5], [7, 7], [1, 3], [2, 2]]);
    let stride = random.pick(&[[1, 1], [1, 1], [2, 2], [2, 1], [3, 3]]);
    let dilation = random.pick(&[[1, 1], [1, 1], [1, 1], [2, 2]]);
    let padding = [random.below(kernel[0]), random.below(kernel[1])];
    let border = 3.max(padding[0]).max(padding[1]) + random.below(2);
    let reach = |axis: usize| dilation[axis] * (kernel[axis] - 1) + 1;
    // An output that the input with its padding on both sides is large enough for.
    let size = [1 + random.below(9), 1 + random.below(if large { 40 } else { 18 })];
    let needed = |axis: usize| (size[axis] - 1) * stride[axis] + reach(axis);
    let edge = |axis: usize| needed(axis).saturating_sub(padding[axis] + padding[axis].min(border)).max(1);
    let shape = Shape { groups, inputs, outputs, kernel, stride, dilation, size };
    let extent = |axis: usize| (needed(axis) - padding[axis]).saturating_sub(border).max(edge(axis));
    Drawn { input: [extent(0), extent(1), groups * inputs], shape, border, padding }
}

/// Where the first window begins.
fn source<T: Copy>(image: &Image<T>, padding: [usize; 2]) -> Source<T> {
    let (row, pixel) = (image.row(), image.size[2]);
    let first = (image.border - padding[0]) * row + (image.border - padding[1]) * pixel;
    Source { at: image.elements[first..].as_ptr(), row, pixel }
}

fn inner<T: Copy>(image: &Image<T>) -> Source<T> {
    source(image, [0, 0])
}

fn target<T: Copy>(image: &mut Image<T>) -> Target<T> {
    let (row, pixel) = (image.row(), image.size[2]);
    let first = image.border * row + image.border * pixel;
    Target { at: image.elements[first..].as_mut_ptr(), row, pixel }
}

/// An image with room behind its last row, which kernels may read.
fn with_slack<T: Copy>(mut image: Image<T>, value: T) -> Image<T> {
    image.elements.extend(vec![value; 64]);
    image
}

fn le<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

/// With all inputs and all weights as given, or drawn.
fn same_bytes(kernel: &ByteKernel, level: Level, random: &mut Random, drawn: &Drawn, all: Option<(u8, i8)>) {
    let Drawn { shape, input, border, padding } = drawn;
    let (channels, depth) = (shape.channels(), shape.depth());
    let zero = random.pick(&[0, 0, 3, 128, 255]);
    // Of 8 bits or of 7, which some levels multiply in another way.
    let [least, most] = random.pick(&[[-128i8, 127], [-64, 64]]);
    let extreme = random.below(4) == 0;
    let image = Image::of(*input, *border, zero, |_, _, _| match all {
        Some((byte, _)) => byte,
        None if extreme => random.pick(&[0, 255]),
        None => random.byte(),
    });
    let image = with_slack(image, 0xa5);
    let weight = |random: &mut Random| match all {
        Some((_, weight)) => weight,
        None if extreme => random.pick(&[least, least + 1, most]),
        None => (random.byte() as i8).clamp(least, most),
    };
    let weights: Vec<u8> = (0..channels * depth).map(|_| weight(random) as u8).collect();
    let bias: Vec<i32> = (0..channels).map(|_| random.below(20_000) as i32 - 10_000).collect();
    // Some of them make halves often, some make more than 32 bits hold.
    let spread = 1.0 / (40.0 * (depth as f32).sqrt());
    let large = if random.below(3) == 0 { [1.0, -2.5, 3e4, 1e30] } else { [spread; 4] };
    let multipliers: Vec<f32> = (0..channels)
        .map(|_| {
            let large = random.pick(&large);
            random.pick(&[0.5, 0.25, 2f32.powi(-9), spread, spread * 0.3, -spread, large])
        })
        .collect();
    let (bias, multipliers) = (le(&bias, i32::to_le_bytes), le(&multipliers, f32::to_le_bytes));
    let constants = ByteConstants { weights: &weights, bias: &bias, multipliers: &multipliers, zero };

    let mut table = [0; 256];
    table.iter_mut().for_each(|entry| *entry = random.byte());
    let table = (random.below(4) == 0).then_some(&table);
    let outside = random.byte();
    let other = Image::of([shape.size[0], shape.size[1], channels], random.below(2), 7, |_, _, _| random.byte());
    let other = with_slack(other, 0x5a);
    let sum = Sum::new((0.031, random.byte()), (random.pick(&[0.03, 0.007]), random.byte()), (0.04, random.byte()));
    let swapped = random.below(2) == 0;
    let residual = (random.below(2) == 0).then_some(());
    let range = random.pick(&[[0, 255], [7, 255], [0, 200]]);
    let tail = Tail {
        zero: random.pick(&[0, 12, 128, 255]),
        range: random.pick(&[[0, 255], [12, 255], [12, 190]]),
        table,
        residual: residual.map(|()| (&other, sum, swapped, range)),
    };
    let expected = reference::convolution_u8(shape, &image, *padding, constants, &tail, (1, outside));

    let mut packed = Aligned::new((kernel.packed)(shape));
    (kernel.pack)(shape, constants, packed.slice((kernel.packed)(shape)));
    let mut scratch = Aligned::new((kernel.scratch)(shape));
    let mut found = Image::new([shape.size[0], shape.size[1], channels], 1, outside);
    let layer = ByteLayer {
        shape,
        source: source(&image, *padding),
        target: target(&mut found),
        packed: packed.slice(0).as_ptr(),
        weights: &weights,
        tail: ByteTail {
            zero: tail.zero,
            low: tail.range[0],
            high: tail.range[1],
            table,
            residual: tail.residual.map(|(other, sum, swapped, range)| ByteResidual {
                other: inner(other),
                sum,
                swapped,
                low: range[0],
                high: range[1],
            }),
        },
        scratch: scratch.slice(0).as_mut_ptr(),
    };
    let cut = random.below(shape.size[0] + 1);
    // SAFETY: the images have the sizes of the shape and 64 bytes behind them.
    unsafe {
        (kernel.run)(&layer, 0..cut);
        (kernel.run)(&layer, cut..shape.size[0]);
    }
    assert_eq!(found.elements, expected.elements, "{level}: {drawn:?}, {tail:?}");
}

/// Floats that bytes make are equal, too.
fn same_mixed(kernel: &MixedKernel, level: Level, random: &mut Random, drawn: &Drawn) {
    let Drawn { shape, input, border, padding } = drawn;
    let (channels, depth) = (shape.channels(), shape.depth());
    let zero = random.pick(&[0, 3, 128, 255]);
    let extreme = random.below(4) == 0;
    let image =
        Image::of(*input, *border, zero, |_, _, _| if extreme { random.pick(&[0, 255]) } else { random.byte() });
    let image = with_slack(image, 0xa5);
    let weight = |random: &mut Random| if extreme { random.pick(&[-128, -127, 127]) } else { random.byte() as i8 };
    let weights: Vec<u8> = (0..channels * depth).map(|_| weight(random) as u8).collect();
    // Sums beyond 2^24 are rounded before they are multiplied.
    let most = random.pick(&[1 << 8, 1 << 16, 1 << 30]);
    let bias: Vec<i32> = (0..channels).map(|_| random.below(2 * most) as i32 - most as i32).collect();
    let multipliers: Vec<f32> =
        (0..channels).map(|_| random.pick(&[1e-4, -3.0, 1e-40, 1e30]) * random.float()).collect();
    let (bias, multipliers) = (le(&bias, i32::to_le_bytes), le(&multipliers, f32::to_le_bytes));
    let constants = ByteConstants { weights: &weights, bias: &bias, multipliers: &multipliers, zero };
    let expected = reference::convolution_mixed(shape, &image, *padding, constants, FloatFunction::IDENTITY, 1);

    let mut packed = Aligned::new((kernel.packed)(shape));
    (kernel.pack)(shape, constants, packed.slice((kernel.packed)(shape)));
    let mut found = Image::new([shape.size[0], shape.size[1], channels], 1, 0.0);
    let (source, target, packed) = (source(&image, *padding), target(&mut found), packed.slice(0).as_ptr());
    let layer = MixedLayer { shape, source, target, packed, weights: &weights };
    let cut = random.below(shape.size[0] + 1);
    // SAFETY: the images have the sizes of the shape and 64 bytes behind them.
    unsafe {
        (kernel.run)(&layer, 0..cut);
        (kernel.run)(&layer, cut..shape.size[0]);
    }
    let bits = |image: &Image<f32>| image.elements.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    assert!(bits(&found) == bits(&expected), "{level}: {drawn:?}");
}

fn close_floats(kernel: &FloatKernel, level: Level, random: &mut Random, drawn: &Drawn) {
    let Drawn { shape, input, border, padding } = drawn;
    let (channels, depth) = (shape.channels(), shape.depth());
    let image = with_slack(Image::of(*input, *border, 0.0, |_, _, _| random.float()), f32::NAN);
    let weights: Vec<f32> = (0..channels * depth).map(|_| random.float()).collect();
    let bias: Vec<f32> = (0..channels).map(|_| random.float()).collect();
    let (weights, bias) = (le(&weights, f32::to_le_bytes), le(&bias, f32::to_le_bytes));
    let constants = FloatConstants { weights: &weights, bias: &bias };
    let other = Image::of([shape.size[0], shape.size[1], channels], random.below(2), 7.0, |_, _, _| random.float());
    let other = with_slack(other, f32::NAN);
    let residual = (random.below(2) == 0).then_some(&other);
    let function = random.pick(&[
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
    ]);
    let expected = reference::convolution_f32(shape, &image, *padding, constants, (residual, function), 1);

    let mut packed = Aligned::new((kernel.packed)(shape));
    (kernel.pack)(shape, constants, packed.slice((kernel.packed)(shape)));
    let mut scratch = Aligned::new((kernel.scratch)(shape));
    // Not numbers.
    scratch.slice((kernel.scratch)(shape)).fill(0xff);
    let mut found = Image::new([shape.size[0], shape.size[1], channels], 1, 0.0);
    let layer = FloatLayer {
        shape,
        source: source(&image, *padding),
        target: target(&mut found),
        packed: packed.slice(0).as_ptr(),
        weights: &weights,
        tail: FloatTail { residual: residual.map(inner), function },
        scratch: scratch.slice(0).as_mut_ptr(),
    };
    let together = (kernel.rows_together)(shape);
    let cut = (random.below(shape.size[0] + 1) / together * together).min(shape.size[0]);
    // SAFETY: the images have the sizes of the shape and 64 elements behind them.
    unsafe {
        (kernel.run)(&layer, 0..cut);
        (kernel.run)(&layer, cut..shape.size[0]);
    }
    let mut whole = Image::new(found.size, 1, 0.0);
    // SAFETY: as above.
    unsafe { (kernel.run)(&FloatLayer { target: target(&mut whole), ..layer }, 0..shape.size[0]) };
    assert!(found == whole, "{level}: rows in two parts are others than in one, {drawn:?} {function:?}");
    for (at, (found, expected)) in found.elements.iter().zip(&expected.elements).enumerate() {
        // Rounding of a sum of `depth` products of at most 1, and of Winograd's transforms (some 10 bits more than direct).
        let most = 1e-5 * (depth as f32 + 4.0).sqrt() * 4.0;
        assert!((found - expected).abs() <= most, "{level}: {found} for {expected} at {at} of {drawn:?} {function:?}");
    }
}

#[test]
fn every_level_computes_the_bytes_of_the_reference() {
    for level in levels() {
        let kernels = level.kernels().unwrap();
        for seed in 0..400 {
            let mut random = Random(seed);
            let layer = drawn(&mut random, false, seed % 20 == 0);
            same_bytes(&kernels.dense_u8, level, &mut random, &layer, None);
            let layer = drawn(&mut random, true, seed % 20 == 0);
            same_bytes(&kernels.depthwise_u8, level, &mut random, &layer, None);
        }
    }
}

/// Convolutions, and linear layers of every length about those that vectors take.
#[test]
fn every_level_makes_the_floats_of_bytes_that_the_reference_makes() {
    for level in levels() {
        let kernels = level.kernels().unwrap();
        for seed in 0..400 {
            let mut random = Random(seed);
            for depthwise in [false, true] {
                let layer = drawn(&mut random, depthwise, seed % 20 == 0);
                same_mixed(&kernels.mixed, level, &mut random, &layer);
            }
            let (inputs, outputs) = (1 + seed as usize, 1 + random.below(20));
            let one = [1; 2];
            let shape = Shape { groups: 1, inputs, outputs, kernel: one, stride: one, dilation: one, size: one };
            let layer = Drawn { shape, input: [1, 1, inputs], border: 0, padding: [0; 2] };
            same_mixed(&kernels.mixed, level, &mut random, &layer);
        }
    }
}

#[test]
fn every_level_computes_the_floats_of_the_reference() {
    for level in levels() {
        let kernels = level.kernels().unwrap();
        for seed in 0..400 {
            let mut random = Random(seed);
            let layer = drawn(&mut random, false, seed % 20 == 0);
            close_floats(&kernels.dense_f32, level, &mut random, &layer);
            let layer = drawn(&mut random, true, seed % 20 == 0);
            close_floats(&kernels.depthwise_f32, level, &mut random, &layer);
        }
    }
}

/// A convolution of 3 x 3 with images of 8 x 8 or larger.
fn square(random: &mut Random, [inputs, outputs]: [usize; 2], wider: usize) -> Drawn {
    let (kernel, border) = ([3, 3], random.below(2));
    let size = [8 + random.below(9), 8 + random.below(wider)];
    let shape = Shape { groups: 1, inputs, outputs, kernel, stride: [1; 2], dilation: [1; 2], size };
    let input = [size[0] + 2 - 2 * border, size[1] + 2 - 2 * border, inputs];
    Drawn { shape, input, border, padding: [border; 2] }
}

/// Sums of 114 inputs are within 25 bits whatever the weights, those of 116 are not: one level computes only the former by
/// Winograd's method.
#[test]
fn every_level_computes_the_bytes_of_large_layers() {
    for level in levels() {
        let kernels = level.kernels().unwrap();
        let mut random = Random(2000);
        for seed in 0..120 {
            let inputs = random.pick(&[12, 13, 16, 17, 24, 33, 64, 115]);
            let outputs = random.pick(&[16, 16, 32, 48, 64, 24]);
            let layer = square(&mut random, [inputs, outputs], if seed % 10 == 0 { 60 } else { 9 });
            same_bytes(&kernels.dense_u8, level, &mut random, &layer, None);
        }
        for (inputs, weight) in [114, 115, 116].into_iter().flat_map(|inputs| [(inputs, 127), (inputs, -128)]) {
            let layer = square(&mut random, [inputs, 16], 9);
            same_bytes(&kernels.dense_u8, level, &mut random, &layer, Some((255, weight)));
        }
    }
}

/// Layers that have kernels of their own: 3 x 3 with many channels on large images, and a single pixel with many channels.
/// Behind the last row of these images there is nothing but what must not be used.
#[test]
fn every_level_computes_the_floats_of_large_and_of_linear_layers() {
    for level in levels() {
        let kernels = level.kernels().unwrap();
        for seed in 0..60 {
            let mut random = Random(1000 + seed);
            let [inputs, outputs] = [0; 2].map(|_| random.pick(&[16, 17, 24, 33, 64]) + random.below(4));
            let layer = square(&mut random, [inputs, outputs], if seed % 10 == 0 { 60 } else { 9 });
            close_floats(&kernels.dense_f32, level, &mut random, &layer);

            let (inputs, outputs, edge) = (1 + random.below(400), 1 + random.below(400), random.pick(&[1, 1, 2]));
            let shape = Shape { inputs, outputs, kernel: [edge; 2], size: [1; 2], ..layer.shape };
            let drawn = Drawn { shape, input: [edge, edge, inputs], border: 0, padding: [0; 2] };
            close_floats(&kernels.dense_f32, level, &mut random, &drawn);
        }
    }
}
