//! What is computed element by element or window by window. The bodies are plain Rust, written so that they become vectors;
//! `simple_level!` compiles them once for each level, and a level may have one of its own instead.

pub(crate) mod channels;
pub(crate) mod functions;
mod windows;

use crate::arithmetic::{self, Sum};
use crate::layer::{FloatFunction, Source, Target};
pub use channels::Normalisation;
pub(crate) use channels::{normalise, slopes, softmax, tables};
use functions::WHOLE;
pub use functions::function;
pub use windows::Window;
pub(crate) use windows::{max_f32, max_u8, mean_f32, mean_u8};

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

/// A row of windows' means.
///
/// # Safety
/// As of [`Simple`], of windows.
pub type ByteMeans = unsafe fn(&Window, &Mean, Source<u8>, Target<u8>, usize, usize, usize);

/// Entry points. Lengths are in elements, images as in `layer.rs`; one call works on one row of the output.
///
/// # Safety
/// The CPU has the level. Elements: as many as said lie at each operand, and there is room for them at `out`, which is
/// an operand of the same type or shares no memory with any. Windows: each covers a pixel of the image at least,
/// behind whose last channel 64 bytes may be read; the row of the output has so many pixels and channels, and shares
/// no memory with it.
#[derive(Debug, Clone, Copy)]
pub struct Simple {
    // # Safety: as of [`Simple`], of elements.
    /// `out[i] = a[i] + b[i]` of quantised values: `(a, b, out, length, constants)`.
    pub add_u8: unsafe fn(*const u8, *const u8, *mut u8, usize, &Addition),
    /// `out[i] = a[i] * b[i]` of quantised values: `(a, b, out, length, constants)`.
    pub multiply_u8: unsafe fn(*const u8, *const u8, *mut u8, usize, &Multiplication),
    /// `out[p][c] = a[p][c] * b[c]` of quantised values: `(a, b, out, pixels, channels, constants)`.
    pub multiply_channels_u8: unsafe fn(*const u8, *const u8, *mut u8, usize, usize, &Multiplication),
    /// `out[i] = table[a[i]]`: `(a, out, length, table)`.
    pub table: unsafe fn(*const u8, *mut u8, usize, &[u8; 256]),
    // # Safety: as of [`Simple`], of windows.
    /// Row of windows' maxima: `(window, image, row of the output, its number, its width, channels)`.
    pub max_u8: unsafe fn(&Window, Source<u8>, Target<u8>, usize, usize, usize),
    /// Row of windows' means: `(window, constants, image, row of the output, its number, its width, channels)`.
    pub mean_u8: ByteMeans,
    // # Safety: as of [`Simple`], of elements.
    /// `quantize` of floats: `(a, out, length, scale, zero)`.
    pub quantize: unsafe fn(*const f32, *mut u8, usize, f32, u8),
    /// `dequantize` of bytes: `(a, out, length, scale, zero)`.
    pub dequantize: unsafe fn(*const u8, *mut f32, usize, f32, u8),
    /// `out[i] = function(a[i] + b[i])`: `(a, b, out, length, function)`.
    pub add_f32: unsafe fn(*const f32, *const f32, *mut f32, usize, FloatFunction),
    /// `out[i] = function(a[i] * b[i])`: `(a, b, out, length, function)`.
    pub multiply_f32: unsafe fn(*const f32, *const f32, *mut f32, usize, FloatFunction),
    // # Safety: as of [`Simple`], of elements.
    /// `out[p][c] = a[p][c] * b[c]`: `(a, b, out, pixels, channels)`.
    pub multiply_channels_f32: unsafe fn(*const f32, *const f32, *mut f32, usize, usize),
    /// `out[i] = function(a[i])`: `(a, out, length, function)`.
    pub function_f32: unsafe fn(*const f32, *mut f32, usize, FloatFunction),
    // # Safety: as of [`Simple`], of windows.
    /// Row of windows' maxima, as `max_u8`.
    pub max_f32: unsafe fn(&Window, Source<f32>, Target<f32>, usize, usize, usize),
    /// Row of windows' means, as `mean_u8`.
    pub mean_f32: unsafe fn(&Window, Source<f32>, Target<f32>, usize, usize, usize),
    // # Safety: as of [`Simple`], of elements; but `out` shares no memory with `a`.
    /// Each pixel as a layer norm makes it: `(a, out, pixels, channels, constants)`.
    pub normalise: unsafe fn(*const f32, *mut f32, usize, usize, &Normalisation<'_>),
    /// Each pixel's channels as shares of a whole: `(a, out, pixels, channels)`.
    pub softmax: unsafe fn(*const f32, *mut f32, usize, usize),
    /// `out[p][c] = a[p][c]` above 0, else `slopes[c] * a[p][c]`: `(a, out, pixels, channels, slopes)`, of which there are
    /// as many as channels.
    pub slopes: unsafe fn(*const f32, *mut f32, usize, usize, &[u8]),
}

/// `arithmetic::requantize`, whose conversion of a float does not become a vector, while its low bits do.
#[inline(always)]
fn byte(x: f32, zero: u8) -> u8 {
    let (low, high) = (-f32::from(zero), f32::from(255 - zero));
    let x = if x > low { x } else { low };
    let x = if x < high { x } else { high };
    ((x + WHOLE).to_bits() as u8).wrapping_add(zero)
}

/// Elements that are read before any of them is written, so that an output may be an input and loops become vectors.
const CHUNK: usize = 32;

/// `out[i] = f(a[i], b[i])`; `out` may be `a` or `b`.
///
/// # Safety
/// `length` elements lie at `a` and `b`, and there is room for them at `out`, which is an operand of the same type or
/// shares no memory with any.
#[inline(always)]
unsafe fn both<A: Copy, B: Copy, C: Copy + Default>(
    (a, b): (*const A, *const B),
    out: *mut C,
    length: usize,
    f: impl Fn(A, B) -> C,
) {
    let mut at = 0;
    // SAFETY: the caller gives `length` elements of each.
    unsafe {
        while at + CHUNK <= length {
            let x = a.add(at).cast::<[A; CHUNK]>().read_unaligned();
            let y = b.add(at).cast::<[B; CHUNK]>().read_unaligned();
            let mut z = [C::default(); CHUNK];
            for (z, (x, y)) in z.iter_mut().zip(x.iter().zip(&y)) {
                *z = f(*x, *y);
            }
            out.add(at).cast::<[C; CHUNK]>().write_unaligned(z);
            at += CHUNK;
        }
        while at < length {
            *out.add(at) = f(*a.add(at), *b.add(at));
            at += 1;
        }
    }
}

/// `out[i] = f(a[i])`; `out` may be `a`.
///
/// # Safety
/// As of `both`.
#[inline(always)]
unsafe fn each<A: Copy, C: Copy + Default>(a: *const A, out: *mut C, length: usize, f: impl Fn(A) -> C) {
    // SAFETY: the caller gives `length` elements of each.
    unsafe { both((a, a), out, length, |x, _| f(x)) };
}

/// # Safety
/// As of `Simple::add_u8`.
#[inline(always)]
pub(crate) unsafe fn add_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Addition) {
    let Addition { sum: Sum { first, second, offset }, low, high } = *how;
    let fused = |a: u8, b: f32, c: f32| (f64::from(a) * f64::from(b) + f64::from(c)) as f32;
    let sum = |x, y| byte(fused(x, first, fused(y, second, offset)), 0).max(low).min(high);
    // SAFETY: the caller gives `length` elements of each.
    unsafe { both((a, b), out, length, sum) };
}

/// # Safety
/// As of `Simple::multiply_u8`.
#[inline(always)]
pub(crate) unsafe fn multiply_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Multiplication) {
    let Multiplication { first, second, multiplier, zero, low, high } = *how;
    let product = |x: u8, y: u8| {
        let steps = (i32::from(x) - i32::from(first)) * (i32::from(y) - i32::from(second));
        byte(steps as f32 * multiplier, zero).max(low).min(high)
    };
    // SAFETY: the caller gives `length` elements of each.
    unsafe { both((a, b), out, length, product) };
}

/// # Safety
/// As of `Simple::multiply_channels_u8`.
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

/// # Safety
/// As of `Simple::table`.
#[inline(always)]
pub(crate) unsafe fn table(a: *const u8, out: *mut u8, length: usize, table: &[u8; 256]) {
    for i in 0..length {
        // SAFETY: the caller gives `length` elements of each.
        unsafe { *out.add(i) = table[usize::from(*a.add(i))] };
    }
}

/// # Safety
/// As of `Simple::quantize`.
#[inline(always)]
pub(crate) unsafe fn quantize(a: *const f32, out: *mut u8, length: usize, scale: f32, zero: u8) {
    // SAFETY: the caller gives `length` elements of each.
    unsafe { each(a, out, length, |x: f32| byte(x / scale, zero)) };
}

/// # Safety
/// As of `Simple::dequantize`.
#[inline(always)]
pub(crate) unsafe fn dequantize(a: *const u8, out: *mut f32, length: usize, scale: f32, zero: u8) {
    // SAFETY: the caller gives `length` elements of each.
    unsafe { each(a, out, length, |q| arithmetic::dequantize(q, scale, zero)) };
}

/// `out[i] = f(value(a[i], b[i]))`: a clamp at once, other functions of what is written by then.
///
/// # Safety
/// As of `both`.
#[inline(always)]
unsafe fn values(
    operands: (*const f32, *const f32),
    out: *mut f32,
    length: usize,
    f: FloatFunction,
    value: impl Fn(f32, f32) -> f32,
) {
    // SAFETY: the caller's word.
    unsafe {
        if let FloatFunction::Clamp { low, high } = f {
            both(operands, out, length, |x, y| function(FloatFunction::Clamp { low, high }, value(x, y)));
        } else {
            both(operands, out, length, value);
            function_f32(out, out, length, f);
        }
    }
}

/// # Safety
/// As of `Simple::add_f32`.
#[inline(always)]
pub(crate) unsafe fn add_f32(a: *const f32, b: *const f32, out: *mut f32, length: usize, f: FloatFunction) {
    // SAFETY: the caller gives `length` elements of each.
    unsafe { values((a, b), out, length, f, |x, y| x + y) };
}

/// # Safety
/// As of `Simple::multiply_f32`.
#[inline(always)]
pub(crate) unsafe fn multiply_f32(a: *const f32, b: *const f32, out: *mut f32, length: usize, f: FloatFunction) {
    // SAFETY: the caller gives `length` elements of each.
    unsafe { values((a, b), out, length, f, |x, y| x * y) };
}

/// # Safety
/// As of `Simple::multiply_channels_f32`.
#[inline(always)]
pub(crate) unsafe fn multiply_channels_f32(
    a: *const f32,
    b: *const f32,
    out: *mut f32,
    pixels: usize,
    channels: usize,
) {
    for pixel in 0..pixels {
        let at = pixel * channels;
        // SAFETY: the caller gives `pixels * channels` elements of `a` and `out`, `channels` of `b`.
        unsafe { both((a.add(at), b), out.add(at), channels, |x: f32, y: f32| x * y) };
    }
}

/// In a loop for each function; not inlined, as sums and products call it, too.
///
/// # Safety
/// As of `Simple::function_f32`.
pub(crate) unsafe fn function_f32(a: *const f32, out: *mut f32, length: usize, f: FloatFunction) {
    macro_rules! with {
        ($f:expr) => {
            each(a, out, length, |x| function($f, x))
        };
    }
    // SAFETY: the caller gives `length` elements of each.
    unsafe {
        match f {
            FloatFunction::Clamp { low, high } => with!(FloatFunction::Clamp { low, high }),
            FloatFunction::HardSwish => with!(FloatFunction::HardSwish),
            FloatFunction::HardSigmoid => with!(FloatFunction::HardSigmoid),
            FloatFunction::Sigmoid => with!(FloatFunction::Sigmoid),
            FloatFunction::Silu => with!(FloatFunction::Silu),
            FloatFunction::Gelu => with!(FloatFunction::Gelu),
            FloatFunction::GeluTanh => with!(FloatFunction::GeluTanh),
            FloatFunction::LeakyRelu { slope } => with!(FloatFunction::LeakyRelu { slope }),
        }
    }
}

/// The bodies above, compiled with the features of a level.
macro_rules! simple_level {
    ($(#[$features:meta])*) => {
        use crate::layer::{FloatFunction, Source, Target};
        use crate::simple::{Addition, Mean, Multiplication, Normalisation, Simple, Window};

        /// The table of this level.
        pub(crate) const TABLE: Simple = Simple {
            add_u8, multiply_u8, multiply_channels_u8, table, max_u8, mean_u8, quantize, dequantize, add_f32, multiply_f32,
            multiply_channels_f32, function_f32, max_f32, mean_f32, normalise, softmax, slopes,
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
        crate::simple::simple_level!(@channels [$(#[$features])*]);
    };
    (@channels $features:tt) => {
        crate::simple::simple_level!(@each $features
            normalise(a: *const f32, out: *mut f32, pixels: usize, channels: usize, how: &Normalisation<'_>);
            softmax(a: *const f32, out: *mut f32, pixels: usize, channels: usize);
            slopes(a: *const f32, out: *mut f32, pixels: usize, channels: usize, slopes: &[u8]);
        );
    };
    (@each $features:tt $($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(crate::simple::simple_level!(@one $features $name($($arg: $type),*));)*
    };
    (@one [$(#[$features:meta])*] $name:ident($($arg:ident: $type:ty),*)) => {
        /// # Safety
        /// As of the field of `Simple` with this name; the CPU has the level.
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
