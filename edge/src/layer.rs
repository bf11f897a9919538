//! What a level is asked to compute: layers as shapes, constants and pointers.
//!
//! Images lie channels last: pixel after pixel, row after row, each with a border around it that holds what padding means
//! (the zero point of bytes, 0 of floats). So a layer reads its kernel rows as runs of bytes, and no edge is special.
//! Pointers are good for all that a layer's shape says because the plan was checked when it was loaded (`check.rs`).

use core::ops::Range;

use crate::arithmetic::Sum;

/// Geometry of a convolution or a linear layer (a convolution of one pixel).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Groups; channels of one group follow each other.
    pub groups: usize,
    /// Channels that a group reads.
    pub inputs: usize,
    /// Channels that a group makes.
    pub outputs: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Output pixel `y, x` begins at input pixel `y * stride[0], x * stride[1]` of the padded image.
    pub stride: [usize; 2],
    /// Distance of the kernel's taps.
    pub dilation: [usize; 2],
    /// Height and width of the output.
    pub size: [usize; 2],
}

/// How a group's kernel reads: `rows * columns` runs of `length` elements that lie behind each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// Rows of the kernel.
    pub rows: usize,
    /// Runs a row: 1 where a whole kernel row is one run, else a run a tap.
    pub columns: usize,
    /// Elements of a run.
    pub length: usize,
}

impl Shape {
    /// One group a channel, each with one channel in and out.
    pub fn is_depthwise(&self) -> bool {
        self.inputs == 1 && self.outputs == 1 && self.groups > 1
    }

    /// Output channels of all groups.
    pub fn channels(&self) -> usize {
        self.groups * self.outputs
    }

    /// Products of one output.
    pub fn depth(&self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// How a group's kernel reads its input.
    pub fn runs(&self) -> Runs {
        let [rows, columns] = self.kernel;
        if self.groups == 1 && (self.dilation[1] == 1 || columns == 1) {
            Runs { rows, columns: 1, length: columns * self.inputs }
        } else {
            Runs { rows, columns, length: self.inputs }
        }
    }
}

/// Numbers of a byte layer as they lie in a plan, little endian at any alignment.
#[derive(Debug, Clone, Copy)]
pub struct ByteConstants<'a> {
    /// `i8 [channels][kernel rows][kernel columns][inputs]`.
    pub weights: &'a [u8],
    /// `i32 [channels]`.
    pub bias: &'a [u8],
    /// `f32 [channels]`, of `arithmetic::requantize` or, where the answer is floats, `arithmetic::scaled`.
    pub multipliers: &'a [u8],
    /// Zero point of the input.
    pub zero: u8,
}

impl ByteConstants<'_> {
    /// Weight `at` of output channel `channel`, of `depth` weights.
    pub fn weight(&self, channel: usize, depth: usize, at: usize) -> i8 {
        self.weights[channel * depth + at] as i8
    }

    /// `bias - zero * sum of weights`: with it a layer multiplies raw bytes.
    pub fn folded_bias(&self, channel: usize, depth: usize) -> i32 {
        let weights = &self.weights[channel * depth..][..depth];
        let sum: i32 = weights.iter().map(|&weight| i32::from(weight as i8)).sum();
        i32_at(self.bias, channel).wrapping_sub(i32::from(self.zero).wrapping_mul(sum))
    }

    /// Multiplier of an output channel.
    pub fn multiplier(&self, channel: usize) -> f32 {
        f32_at(self.multipliers, channel)
    }
}

/// Numbers of a float layer as they lie in a plan, little endian at any alignment.
#[derive(Debug, Clone, Copy)]
pub struct FloatConstants<'a> {
    /// `f32 [channels][kernel rows][kernel columns][inputs]`.
    pub weights: &'a [u8],
    /// `f32 [channels]`.
    pub bias: &'a [u8],
}

impl FloatConstants<'_> {
    /// Weight `at` of output channel `channel`, of `depth` weights.
    pub fn weight(&self, channel: usize, depth: usize, at: usize) -> f32 {
        f32_at(self.weights, channel * depth + at)
    }

    /// Bias of an output channel.
    pub fn bias(&self, channel: usize) -> f32 {
        f32_at(self.bias, channel)
    }
}

/// The `at`-th `f32` of little-endian bytes.
pub fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_bits(i32_at(bytes, at) as u32)
}

/// The `at`-th `i32` of little-endian bytes.
pub fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let b = &bytes[4 * at..][..4];
    i32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

/// An image for reading: the first element that is read, and the distances of rows and pixels in elements.
#[derive(Debug, Clone, Copy)]
pub struct Source<T> {
    /// First element.
    pub at: *const T,
    /// Elements from a row to the next.
    pub row: usize,
    /// Elements from a pixel to the next.
    pub pixel: usize,
}

/// An image for writing.
#[derive(Debug, Clone, Copy)]
pub struct Target<T> {
    /// First element.
    pub at: *mut T,
    /// Elements from a row to the next.
    pub row: usize,
    /// Elements from a pixel to the next.
    pub pixel: usize,
}

impl<T> Source<T> {
    /// Pointer to a pixel.
    ///
    /// # Safety
    /// The pixel is within the image or its border.
    #[inline(always)]
    pub unsafe fn pixel(&self, y: usize, x: usize) -> *const T {
        // SAFETY: the caller's word.
        unsafe { self.at.add(y * self.row + x * self.pixel) }
    }
}

impl<T> Target<T> {
    /// Pointer to a pixel.
    ///
    /// # Safety
    /// The pixel is within the image or its border.
    #[inline(always)]
    pub unsafe fn pixel(&self, y: usize, x: usize) -> *mut T {
        // SAFETY: the caller's word.
        unsafe { self.at.add(y * self.row + x * self.pixel) }
    }
}

/// What becomes of the sums of a byte layer.
///
/// In this order: `arithmetic::requantize` with the channel's multiplier and `zero`; kept within `low` and `high`; looked up
/// in `table`; added to another value.
#[derive(Debug, Clone, Copy)]
pub struct ByteTail<'a> {
    /// Zero point of the requantised value.
    pub zero: u8,
    /// Least byte; a ReLU in whole steps.
    pub low: u8,
    /// Largest byte; ReLU6 in whole steps.
    pub high: u8,
    /// A function of a byte.
    pub table: Option<&'a [u8; 256]>,
    /// A residual addition.
    pub residual: Option<ByteResidual>,
}

/// `Sum::of`, kept within `low` and `high`.
#[derive(Debug, Clone, Copy)]
pub struct ByteResidual {
    /// The other value, as large as the output.
    pub other: Source<u8>,
    /// The constants, with the layer's own value first or, where `swapped`, second.
    pub sum: Sum,
    /// Whether the other value is the first operand.
    pub swapped: bool,
    /// Least byte.
    pub low: u8,
    /// Largest byte.
    pub high: u8,
}

/// A convolution of bytes, dense, grouped or depthwise.
///
/// Kernels count on this, of which `plan/check.rs` and `run/` see to it: all taps of all output pixels may be read,
/// and 64 bytes behind the channels of each; the output and the residual have all pixels of the shape, of which
/// exactly the channels are written; the output shares no memory with what is read, nor does the scratch.
#[derive(Debug, Clone, Copy)]
pub struct ByteLayer<'a> {
    /// Geometry.
    pub shape: &'a Shape,
    /// Input, from the first tap of output pixel `0, 0`; a pixel holds the channels of all groups.
    pub source: Source<u8>,
    /// Output.
    pub target: Target<u8>,
    /// What the level's `pack` wrote, 64-byte aligned.
    pub packed: *const u8,
    /// The canonical weights, for levels that use them in place.
    pub weights: &'a [u8],
    /// What becomes of sums.
    pub tail: ByteTail<'a>,
    /// Scratch of the level's `scratch` bytes for this thread, 64-byte aligned.
    pub scratch: *mut u8,
}

/// A function of one float at the end of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FloatFunction {
    /// `min(max(x, low), high)`; with infinities, a ReLU or nothing.
    Clamp {
        /// Least value.
        low: f32,
        /// Largest value.
        high: f32,
    },
    /// `x * min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x / 2 * (1 + erf(x / sqrt(2)))`.
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `x` above 0, else `slope * x`.
    LeakyRelu {
        /// Slope below 0.
        slope: f32,
    },
}

impl FloatFunction {
    /// The function that changes nothing.
    pub const IDENTITY: Self = Self::Clamp { low: f32::NEG_INFINITY, high: f32::INFINITY };
}

/// What becomes of the sums of a float layer: the residual is added, then the function applied.
#[derive(Debug, Clone, Copy)]
pub struct FloatTail {
    /// Another value, as large as the output, that is added.
    pub residual: Option<Source<f32>>,
    /// The function.
    pub function: FloatFunction,
}

/// A convolution of floats, dense, grouped or depthwise.
///
/// Kernels count on the same as of a [`ByteLayer`].
#[derive(Debug, Clone, Copy)]
pub struct FloatLayer<'a> {
    /// Geometry.
    pub shape: &'a Shape,
    /// Input, from the first tap of output pixel `0, 0`.
    pub source: Source<f32>,
    /// Output.
    pub target: Target<f32>,
    /// What the level's `pack` wrote, 64-byte aligned.
    pub packed: *const u8,
    /// The canonical weights, for levels that use them in place.
    pub weights: &'a [u8],
    /// What becomes of sums.
    pub tail: FloatTail,
    /// Scratch of the level's `scratch` bytes for this thread, 64-byte aligned.
    pub scratch: *mut u8,
}

/// A convolution of bytes whose answer is floats, dense, grouped or depthwise: `arithmetic::scaled` of its sums.
///
/// Kernels count on the same as of a [`ByteLayer`].
#[derive(Debug, Clone, Copy)]
pub struct MixedLayer<'a> {
    /// Geometry.
    pub shape: &'a Shape,
    /// Input, from the first tap of output pixel `0, 0`; a pixel holds the channels of all groups.
    pub source: Source<u8>,
    /// Output.
    pub target: Target<f32>,
    /// What the level's `pack` wrote, 64-byte aligned.
    pub packed: *const u8,
    /// The canonical weights, for levels that use them in place.
    pub weights: &'a [u8],
}

/// How a level computes byte layers of one kind.
#[derive(Debug, Clone, Copy)]
pub struct ByteKernel {
    /// Bytes that `pack` writes, a multiple of 64.
    pub packed: fn(&Shape) -> usize,
    /// Lays constants out as `run` wants them; the slice is 64-byte aligned and as long as `packed` says.
    pub pack: fn(&Shape, ByteConstants<'_>, &mut [u8]),
    /// Bytes of scratch that `run` wants, a multiple of 64.
    pub scratch: fn(&Shape) -> usize,
    /// Computes some rows of the output. Any split into rows gives the same bits.
    ///
    /// # Safety
    /// The CPU has the level; the layer is as [`ByteLayer`] says, `packed` by this kernel; its rows are within the
    /// output, and no other thread touches them or the scratch meanwhile.
    pub run: unsafe fn(&ByteLayer<'_>, Range<usize>),
}

/// How a level computes layers of bytes whose answer is floats.
#[derive(Debug, Clone, Copy)]
pub struct MixedKernel {
    /// Bytes that `pack` writes, a multiple of 64.
    pub packed: fn(&Shape) -> usize,
    /// Lays constants out as `run` wants them; the slice is 64-byte aligned and as long as `packed` says.
    pub pack: fn(&Shape, ByteConstants<'_>, &mut [u8]),
    /// Computes some rows of the output. Any split into rows gives the same bits.
    ///
    /// # Safety
    /// The CPU has the level; the layer is as [`MixedLayer`] says, `packed` by this kernel; its rows are within the
    /// output, and no other thread touches them meanwhile.
    pub run: unsafe fn(&MixedLayer<'_>, Range<usize>),
}

/// How a level computes float layers of one kind.
#[derive(Debug, Clone, Copy)]
pub struct FloatKernel {
    /// Bytes that `pack` writes, a multiple of 64.
    pub packed: fn(&Shape) -> usize,
    /// Lays constants out as `run` wants them; the slice is 64-byte aligned and as long as `packed` says.
    pub pack: fn(&Shape, FloatConstants<'_>, &mut [u8]),
    /// Bytes of scratch that `run` wants, a multiple of 64.
    pub scratch: fn(&Shape) -> usize,
    /// Computes some rows of the output, in multiples of `rows_together` but for the last. Any such split gives the same bits.
    ///
    /// # Safety
    /// The CPU has the level; the layer is as [`FloatLayer`] says, `packed` by this kernel; its rows are within the
    /// output, and no other thread touches them or the scratch meanwhile.
    pub run: unsafe fn(&FloatLayer<'_>, Range<usize>),
    /// Output rows that are computed together (4 for Winograd), which splits must respect.
    pub rows_together: fn(&Shape) -> usize,
}
