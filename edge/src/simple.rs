//! What is computed element by element or window by window. The bodies are plain Rust, written so that they become vectors;
//! `simple_level!` compiles them once for each level, and a level may have one of its own instead.

use crate::arithmetic::{self, Sum};
use crate::layer::{FloatFunction, Source, Target};

/// `Sum::of`, kept within `low` and `high`.
#[derive(Debug, Clone, Copy)]
pub struct Addition {
    /// The constants.
    pub sum: Sum,
    /// Least byte.
    pub low: u8,
    /// Largest byte.
    pub high: u8,
}

/// `arithmetic::product`, kept within `low` and `high`.
#[derive(Debug, Clone, Copy)]
pub struct Multiplication {
    /// Zero point of the first value.
    pub first: u8,
    /// Zero point of the second.
    pub second: u8,
    /// `arithmetic::multiplier` of the scales.
    pub multiplier: f32,
    /// Zero point of the product.
    pub zero: u8,
    /// Least byte.
    pub low: u8,
    /// Largest byte.
    pub high: u8,
}

/// A window that is moved over an image; what it covers outside of the image does not count, or counts as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Its steps.
    pub stride: [usize; 2],
    /// Rows above and columns left of the image where the first window begins.
    pub padding: [usize; 2],
    /// Of a mean that counts padding: rows below and columns right of the image that count.
    pub padding_end: [usize; 2],
    /// Height and width of the image.
    pub input: [usize; 2],
    /// Whether a mean divides by what its window covers of the padding, too.
    pub count_padding: bool,
}

/// Rows or columns that a window covers.
pub(crate) struct Cover {
    /// First of the image.
    pub(crate) start: usize,
    /// One behind the last of the image.
    pub(crate) end: usize,
    /// How many a mean counts.
    pub(crate) counted: usize,
}

impl Window {
    /// What output row (`axis` 0) or column (1) `at` covers.
    #[inline(always)]
    pub(crate) fn cover(&self, axis: usize, at: usize) -> Cover {
        let (padding, size) = (self.padding[axis], self.input[axis]);
        let begin = at * self.stride[axis];
        let close = begin + self.kernel[axis];
        let start = begin.max(padding) - padding;
        let end = (close.max(padding) - padding).min(size);
        let padded = close.min(padding + size + self.padding_end[axis]) - begin;
        let counted = if self.count_padding { padded } else { end - start };
        Cover { start, end, counted }
    }
}

/// A mean of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Mean {
    /// Scale of the input.
    pub scale: f32,
    /// Zero point of the input.
    pub zero: u8,
    /// Scale of the output.
    pub output_scale: f32,
    /// Zero point of the output.
    pub output_zero: u8,
    /// Least byte.
    pub low: u8,
    /// Largest byte.
    pub high: u8,
}

/// Entry points. Lengths are in elements, images as in `layer.rs`; one call works on one row of the output.
#[derive(Debug, Clone, Copy)]
pub struct Simple {
    /// `out[i] = a[i] + b[i]` of quantised values: `(a, b, out, length, constants)`.
    pub add_u8: unsafe fn(*const u8, *const u8, *mut u8, usize, &Addition),
    /// `out[i] = a[i] * b[i]` of quantised values: `(a, b, out, length, constants)`.
    pub multiply_u8: unsafe fn(*const u8, *const u8, *mut u8, usize, &Multiplication),
    /// `out[p][c] = a[p][c] * b[c]` of quantised values: `(a, b, out, pixels, channels, constants)`.
    pub multiply_channels_u8: unsafe fn(*const u8, *const u8, *mut u8, usize, usize, &Multiplication),
    /// `out[i] = table[a[i]]`: `(a, out, length, table)`.
    pub table: unsafe fn(*const u8, *mut u8, usize, &[u8; 256]),
    /// Row of windows' maxima: `(window, image, row of the output, its number, its width, channels)`.
    pub max_u8: unsafe fn(&Window, Source<u8>, Target<u8>, usize, usize, usize),
    /// Row of windows' means: `(window, constants, image, row of the output, its number, its width, channels)`.
    pub mean_u8: unsafe fn(&Window, &Mean, Source<u8>, Target<u8>, usize, usize, usize),
    /// `quantize` of floats: `(a, out, length, scale, zero)`.
    pub quantize: unsafe fn(*const f32, *mut u8, usize, f32, u8),
    /// `dequantize` of bytes: `(a, out, length, scale, zero)`.
    pub dequantize: unsafe fn(*const u8, *mut f32, usize, f32, u8),
    /// `out[i] = function(a[i] + b[i])`: `(a, b, out, length, function)`.
    pub add_f32: unsafe fn(*const f32, *const f32, *mut f32, usize, FloatFunction),
    /// `out[i] = function(a[i] * b[i])`: `(a, b, out, length, function)`.
    pub multiply_f32: unsafe fn(*const f32, *const f32, *mut f32, usize, FloatFunction),
    /// `out[p][c] = a[p][c] * b[c]`: `(a, b, out, pixels, channels)`.
    pub multiply_channels_f32: unsafe fn(*const f32, *const f32, *mut f32, usize, usize),
    /// `out[i] = function(a[i])`: `(a, out, length, function)`.
    pub function_f32: unsafe fn(*const f32, *mut f32, usize, FloatFunction),
    /// Row of windows' maxima, as `max_u8`.
    pub max_f32: unsafe fn(&Window, Source<f32>, Target<f32>, usize, usize, usize),
    /// Row of windows' means, as `mean_u8`.
    pub mean_f32: unsafe fn(&Window, Source<f32>, Target<f32>, usize, usize, usize),
}

/// A function of one float.
#[inline(always)]
pub fn function(function: FloatFunction, x: f32) -> f32 {
    match function {
        FloatFunction::Clamp { low, high } => clamp(x, low, high),
        FloatFunction::HardSwish => x * (clamp(x + 3.0, 0.0, 6.0) / 6.0),
        FloatFunction::HardSigmoid => clamp(x + 3.0, 0.0, 6.0) / 6.0,
        FloatFunction::Sigmoid => 1.0 / (1.0 + exp(-x)),
        FloatFunction::Silu => x / (1.0 + exp(-x)),
        FloatFunction::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                slope * x
            }
        }
    }
}

/// Comparisons that a NaN passes through, as `maxps` and `minps` do with the value second.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if low > x { low } else { x };
    if high < x { high } else { x }
}

/// `e^x` within 2 units in the last place, for `x` from -87 to 88 and kept to that (so it is never infinite): `x` is a whole
/// number of `ln 2` and a rest, whose power is a polynomial (Cephes' `expf`; coefficients of Moshier 1989).
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = clamp(x, -87.0, 88.0);
    let whole = arithmetic::round_ties_even(x * core::f32::consts::LOG2_E);
    let r = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_65;
    let p = p * r + 0.5;
    let e = p * r * r + r + 1.0;
    e * f32::from_bits(((whole as i32 + 127) << 23) as u32)
}

#[inline(always)]
pub(crate) unsafe fn add_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Addition) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe { *out.add(i) = how.sum.of(*a.add(i), *b.add(i)).max(how.low).min(how.high) };
    }
}

#[inline(always)]
pub(crate) unsafe fn multiply_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Multiplication) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe {
            let product =
                arithmetic::product((*a.add(i), how.first), (*b.add(i), how.second), how.multiplier, how.zero);
            *out.add(i) = product.max(how.low).min(how.high);
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn multiply_channels_u8(
    a: *const u8,
    b: *const u8,
    out: *mut u8,
    pixels: usize,
    channels: usize,
    how: &Multiplication,
) {
    for pixel in 0..pixels {
        // SAFETY: the caller gives `pixels * channels` elements of `a` and `out`, `channels` of `b`.
        unsafe { multiply_u8(a.add(pixel * channels), b, out.add(pixel * channels), channels, how) };
    }
}

#[inline(always)]
pub(crate) unsafe fn table(a: *const u8, out: *mut u8, length: usize, table: &[u8; 256]) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe { *out.add(i) = table[usize::from(*a.add(i))] };
    }
}

/// Channels that a window keeps at hand while it walks over its pixels.
const LANE: usize = 32;

/// Goes over the windows of an output row, `LANE` channels at a time: `begin`, `take` each pixel's, `end` with the count.
#[inline(always)]
unsafe fn windows<T: Copy, A: Copy>(
    window: &Window,
    (source, target): (Source<T>, Target<T>),
    (row, width, channels): (usize, usize, usize),
    begin: A,
    take: impl Fn(A, T) -> A,
    end: impl Fn(A, usize, usize) -> T,
) {
    let rows = window.cover(0, row);
    for x in 0..width {
        let columns = window.cover(1, x);
        let mut channel = 0;
        while channel < channels {
            let lane = LANE.min(channels - channel);
            let mut kept = [begin; LANE];
            for y in rows.start..rows.end {
                for x in columns.start..columns.end {
                    // SAFETY: the window's pixels are within the image, `channel + lane` within its channels.
                    unsafe {
                        let pixel = source.pixel(y, x).add(channel);
                        if lane == LANE {
                            for (i, kept) in kept.iter_mut().enumerate() {
                                *kept = take(*kept, *pixel.add(i));
                            }
                        } else {
                            for (i, kept) in kept[..lane].iter_mut().enumerate() {
                                *kept = take(*kept, *pixel.add(i));
                            }
                        }
                    }
                }
            }
            let pixels = (rows.end - rows.start) * (columns.end - columns.start);
            for (i, kept) in kept[..lane].iter().enumerate() {
                // SAFETY: as above, for the output's row.
                unsafe { *target.pixel(0, x).add(channel + i) = end(*kept, pixels, rows.counted * columns.counted) };
            }
            channel += lane;
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn max_u8(
    w: &Window,
    source: Source<u8>,
    target: Target<u8>,
    row: usize,
    width: usize,
    channels: usize,
) {
    // SAFETY: the caller's word.
    unsafe { windows(w, (source, target), (row, width, channels), 0, u8::max, |kept, _, _| kept) };
}

#[inline(always)]
pub(crate) unsafe fn mean_u8(
    w: &Window,
    how: &Mean,
    source: Source<u8>,
    target: Target<u8>,
    row: usize,
    width: usize,
    channels: usize,
) {
    let end = |sum: i32, pixels: usize, counted: usize| {
        let multiplier = arithmetic::mean_multiplier(how.scale, how.output_scale, counted);
        let sum = sum.wrapping_sub((pixels as i32).wrapping_mul(i32::from(how.zero)));
        arithmetic::requantize(sum, multiplier, how.output_zero).max(how.low).min(how.high)
    };
    let take = |sum: i32, byte: u8| sum.wrapping_add(i32::from(byte));
    // SAFETY: the caller's word.
    unsafe { windows(w, (source, target), (row, width, channels), 0i32, take, end) };
}

#[inline(always)]
pub(crate) unsafe fn max_f32(
    w: &Window,
    source: Source<f32>,
    target: Target<f32>,
    row: usize,
    width: usize,
    channels: usize,
) {
    let take = |kept: f32, x: f32| if x > kept { x } else { kept };
    // SAFETY: the caller's word.
    unsafe { windows(w, (source, target), (row, width, channels), f32::NEG_INFINITY, take, |kept, _, _| kept) };
}

#[inline(always)]
pub(crate) unsafe fn mean_f32(
    w: &Window,
    source: Source<f32>,
    target: Target<f32>,
    row: usize,
    width: usize,
    channels: usize,
) {
    let end = |sum: f32, _: usize, counted: usize| sum / counted as f32;
    // SAFETY: the caller's word.
    unsafe { windows(w, (source, target), (row, width, channels), 0.0, |sum, x| sum + x, end) };
}

#[inline(always)]
pub(crate) unsafe fn quantize(a: *const f32, out: *mut u8, length: usize, scale: f32, zero: u8) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe { *out.add(i) = arithmetic::quantize(*a.add(i), scale, zero) };
    }
}

#[inline(always)]
pub(crate) unsafe fn dequantize(a: *const u8, out: *mut f32, length: usize, scale: f32, zero: u8) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe { *out.add(i) = arithmetic::dequantize(*a.add(i), scale, zero) };
    }
}

#[inline(always)]
pub(crate) unsafe fn add_f32(a: *const f32, b: *const f32, out: *mut f32, length: usize, f: FloatFunction) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe { *out.add(i) = function(f, *a.add(i) + *b.add(i)) };
    }
}

#[inline(always)]
pub(crate) unsafe fn multiply_f32(a: *const f32, b: *const f32, out: *mut f32, length: usize, f: FloatFunction) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe { *out.add(i) = function(f, *a.add(i) * *b.add(i)) };
    }
}

#[inline(always)]
pub(crate) unsafe fn multiply_channels_f32(
    a: *const f32,
    b: *const f32,
    out: *mut f32,
    pixels: usize,
    channels: usize,
) {
    for pixel in 0..pixels {
        // SAFETY: the caller gives `pixels * channels` elements of `a` and `out`, `channels` of `b`.
        unsafe {
            multiply_f32(a.add(pixel * channels), b, out.add(pixel * channels), channels, FloatFunction::IDENTITY);
        }
    }
}

#[inline(always)]
pub(crate) unsafe fn function_f32(a: *const f32, out: *mut f32, length: usize, f: FloatFunction) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe { *out.add(i) = function(f, *a.add(i)) };
    }
}

/// The bodies above, compiled with the features of a level.
macro_rules! simple_level {
    ($(#[$features:meta])*) => {
        use crate::layer::{FloatFunction, Source, Target};
        use crate::simple::{Addition, Mean, Multiplication, Simple, Window};

        /// The table of this level.
        pub(crate) const TABLE: Simple = Simple {
            add_u8, multiply_u8, multiply_channels_u8, table, max_u8, mean_u8, quantize, dequantize, add_f32, multiply_f32,
            multiply_channels_f32, function_f32, max_f32, mean_f32,
        };

        crate::simple::simple_level!(@each [$(#[$features])*]
            add_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Addition);
            multiply_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Multiplication);
            multiply_channels_u8(a: *const u8, b: *const u8, out: *mut u8, pixels: usize, channels: usize,
                how: &Multiplication);
            table(a: *const u8, out: *mut u8, length: usize, table: &[u8; 256]);
            max_u8(w: &Window, source: Source<u8>, target: Target<u8>, row: usize, width: usize, channels: usize);
            mean_u8(w: &Window, how: &Mean, source: Source<u8>, target: Target<u8>, row: usize, width: usize,
                channels: usize);
            quantize(a: *const f32, out: *mut u8, length: usize, scale: f32, zero: u8);
            dequantize(a: *const u8, out: *mut f32, length: usize, scale: f32, zero: u8);
            add_f32(a: *const f32, b: *const f32, out: *mut f32, length: usize, f: FloatFunction);
            multiply_f32(a: *const f32, b: *const f32, out: *mut f32, length: usize, f: FloatFunction);
            multiply_channels_f32(a: *const f32, b: *const f32, out: *mut f32, pixels: usize, channels: usize);
            function_f32(a: *const f32, out: *mut f32, length: usize, f: FloatFunction);
            max_f32(w: &Window, source: Source<f32>, target: Target<f32>, row: usize, width: usize, channels: usize);
            mean_f32(w: &Window, source: Source<f32>, target: Target<f32>, row: usize, width: usize, channels: usize);
        );
    };
    (@each $features:tt $($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(crate::simple::simple_level!(@one $features $name($($arg: $type),*));)*
    };
    (@one [$(#[$features:meta])*] $name:ident($($arg:ident: $type:ty),*)) => {
        $(#[$features])*
        unsafe fn $name($($arg: $type),*) {
            // SAFETY: the same function with the same arguments.
            unsafe { crate::simple::$name($($arg),*) }
        }
    };
}
pub(crate) use simple_level;

/// The bodies as the target's base instructions have them.
pub(crate) mod portable {
    crate::simple::simple_level!();
}
