//! The arithmetic of layers in plain, slow Rust over checked slices: the oracle of every test. It shares with the levels
//! the formulas of [`crate::arithmetic`], the geometry of [`Shape`], and functions, roots and powers of one number
//! (`crate::simple`), which tests of their own hold against `f64`.

mod channels;
mod pairs;
mod plan;

pub use pairs::{Pairs, layers_beyond_16_bits};
pub use plan::{run, run_counting_pairs};

use alloc::vec;
use alloc::vec::Vec;

use crate::arithmetic::{Sum, requantize, scaled};
use crate::layer::{ByteConstants, FloatConstants, FloatFunction, Shape};
use crate::simple::function;

/// An image `[height, width, channels]` with a border around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Image<T> {
    /// `[height, width, channels]` without the border.
    pub size: [usize; 3],
    /// Rows and columns of the border, on each side.
    pub border: usize,
    /// Elements with the border.
    pub elements: Vec<T>,
}

impl<T: Copy> Image<T> {
    /// An image and its border, all `value`.
    pub fn new(size: [usize; 3], border: usize, value: T) -> Self {
        let [height, width, channels] = size;
        let elements = vec![value; (height + 2 * border) * (width + 2 * border) * channels];
        Self { size, border, elements }
    }

    /// Elements from a row to the next.
    pub fn row(&self) -> usize {
        (self.size[1] + 2 * self.border) * self.size[2]
    }

    /// Where an element lies; `y` and `x` count from the border's first row and column.
    fn place(&self, y: usize, x: usize, channel: usize) -> usize {
        y * self.row() + x * self.size[2] + channel
    }

    /// An element; `y` and `x` count from the image's first row and column.
    pub fn at(&self, y: usize, x: usize, channel: usize) -> T {
        self.elements[self.place(y + self.border, x + self.border, channel)]
    }

    /// Sets an element.
    pub fn set(&mut self, y: usize, x: usize, channel: usize, value: T) {
        let place = self.place(y + self.border, x + self.border, channel);
        self.elements[place] = value;
    }

    /// An image made element by element, the border filled with `value`.
    pub fn of(size: [usize; 3], border: usize, value: T, mut element: impl FnMut(usize, usize, usize) -> T) -> Self {
        let mut image = Self::new(size, border, value);
        for y in 0..size[0] {
            for x in 0..size[1] {
                for channel in 0..size[2] {
                    image.set(y, x, channel, element(y, x, channel));
                }
            }
        }
        image
    }
}

/// What becomes of the sums of a byte layer; see [`crate::layer::ByteTail`].
#[derive(Debug, Clone, Copy)]
pub struct Tail<'a> {
    /// Zero point.
    pub zero: u8,
    /// Least and largest byte.
    pub range: [u8; 2],
    /// A function of a byte.
    pub table: Option<&'a [u8; 256]>,
    /// Another value, the constants of the sum, whether that value comes first, and the sum's least and largest byte.
    pub residual: Option<(&'a Image<u8>, Sum, bool, [u8; 2])>,
}

impl Tail<'_> {
    /// The byte of one sum.
    fn end(&self, sum: i32, multiplier: f32, y: usize, x: usize, channel: usize) -> u8 {
        let value = requantize(sum, multiplier, self.zero).clamp(self.range[0], self.range[1]);
        let value = self.table.map_or(value, |table| table[usize::from(value)]);
        let Some((other, sum, swapped, range)) = self.residual else { return value };
        let other = other.at(y, x, channel);
        let added = if swapped { sum.of(other, value) } else { sum.of(value, other) };
        added.clamp(range[0], range[1])
    }
}

/// What one output reads, tap after tap of its kernel: where the tap's weights begin, and its channels of the input.
fn taps<'i, T: Copy>(
    shape: &Shape,
    image: &'i Image<T>,
    padding: [usize; 2],
    [y, x, channel]: [usize; 3],
) -> impl Iterator<Item = (usize, &'i [T])> {
    let Shape { inputs, kernel: [rows, columns], dilation, .. } = *shape;
    let first = channel / shape.outputs * inputs;
    let (y, x) = (y * shape.stride[0] + image.border - padding[0], x * shape.stride[1] + image.border - padding[1]);
    let weights = channel * shape.depth();
    (0..rows * columns).map(move |tap| {
        let place = image.place(y + tap / columns * dilation[0], x + tap % columns * dilation[1], first);
        (weights + tap * inputs, &image.elements[place..][..inputs])
    })
}

/// A convolution of bytes; the border of `image` holds its zero point and is at least as wide as `padding`, rows above and
/// columns left of it where the first window begins. The answer has a border of `border`, filled with the zero point
/// `outside`.
pub fn convolution_u8(
    shape: &Shape,
    image: &Image<u8>,
    padding: [usize; 2],
    constants: ByteConstants<'_>,
    tail: &Tail<'_>,
    (border, outside): (usize, u8),
) -> Image<u8> {
    let [height, width] = shape.size;
    Image::of([height, width, shape.channels()], border, outside, |y, x, channel| {
        let sum = sum(shape, image, padding, constants, [y, x, channel]);
        tail.end(sum, constants.multiplier(channel), y, x, channel)
    })
}

/// The same with floats as its answer; the border of `border` is 0.
pub fn convolution_mixed(
    shape: &Shape,
    image: &Image<u8>,
    padding: [usize; 2],
    constants: ByteConstants<'_>,
    end: FloatFunction,
    border: usize,
) -> Image<f32> {
    let [height, width] = shape.size;
    Image::of([height, width, shape.channels()], border, 0.0, |y, x, channel| {
        let sum = sum(shape, image, padding, constants, [y, x, channel]);
        function(end, scaled(sum, constants.multiplier(channel)))
    })
}

/// One sum of bytes, with its bias.
fn sum(
    shape: &Shape,
    image: &Image<u8>,
    padding: [usize; 2],
    constants: ByteConstants<'_>,
    [y, x, channel]: [usize; 3],
) -> i32 {
    let zero = i32::from(constants.zero);
    let product = |(byte, weight): (&u8, &u8)| (i32::from(*byte) - zero) * i32::from(*weight as i8);
    let taps = taps(shape, image, padding, [y, x, channel])
        .map(|(at, bytes)| bytes.iter().zip(&constants.weights[at..]).map(product).sum::<i32>());
    crate::layer::i32_at(constants.bias, channel) + taps.sum::<i32>()
}

/// A convolution of floats, summed in `f64`; images as in [`convolution_u8`].
pub fn convolution_f32(
    shape: &Shape,
    image: &Image<f32>,
    padding: [usize; 2],
    constants: FloatConstants<'_>,
    (residual, end): (Option<&Image<f32>>, FloatFunction),
    border: usize,
) -> Image<f32> {
    let [height, width] = shape.size;
    Image::of([height, width, shape.channels()], border, 0.0, |y, x, channel| {
        let mut sum = f64::from(constants.bias(channel));
        for (at, values) in taps(shape, image, padding, [y, x, channel]) {
            let weights = (at..).map(|at| f64::from(crate::layer::f32_at(constants.weights, at)));
            values.iter().zip(weights).for_each(|(value, weight)| sum += f64::from(*value) * weight);
        }
        let other = residual.map_or(0.0, |other| f64::from(other.at(y, x, channel)));
        function(end, (sum + other) as f32)
    })
}
