//! The integer arithmetic: what a byte of an answer *is*, number by number.
//!
//! Everything here is a definition. Levels compute it with other instructions, never with other results, and whoever
//! changes a bit of it changes [`ARITHMETIC`]. The formulas are ONNX Runtime's for unsigned activations and signed weights
//! on x86 with FMA (read in its sources, then compared byte for byte), so that files quantised for it mean the same here.
//! All operations on `f32` round to nearest, ties to even.

/// Number of the definition that this engine computes; a plan names the one that it was made for.
pub const ARITHMETIC: u32 = 1;

/// The nearest whole number, ties to even, for `|x| < 2^22`: beyond `1.5 * 2^23` floats are whole numbers.
#[inline(always)]
pub fn round_ties_even(x: f32) -> f32 {
    const WHOLE: f32 = 12_582_912.0;
    (x + WHOLE) - WHOLE
}

/// `x`, kept within `low` and `high`; `low` for what is not a number.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

/// A whole number of `f32` steps from `zero`, as a byte.
#[inline(always)]
fn byte(x: f32, zero: u8) -> u8 {
    let zero = i32::from(zero);
    let steps = clamp(x, -zero as f32, (255 - zero) as f32);
    (round_ties_even(steps) as i32 + zero) as u8
}

/// `QuantizeLinear`: `round(clamp(x / scale)) + zero`. A division, not a multiplication by the inverse.
#[inline(always)]
pub fn quantize(x: f32, scale: f32, zero: u8) -> u8 {
    byte(x / scale, zero)
}

/// `DequantizeLinear`: `(q - zero) * scale`.
#[inline(always)]
pub fn dequantize(q: u8, scale: f32, zero: u8) -> f32 {
    (i32::from(q) - i32::from(zero)) as f32 * scale
}

/// The sum of a convolution or linear layer as a byte: `round(clamp(f32(sum) * multiplier)) + zero`. The product is rounded
/// to `f32` before it is rounded to a whole number.
#[inline(always)]
pub fn requantize(sum: i32, multiplier: f32, zero: u8) -> u8 {
    byte(sum as f32 * multiplier, zero)
}

/// `multiplier` of [`requantize`]: `(input scale * weight scale) / output scale`, in this order.
#[inline(always)]
pub fn multiplier(input: f32, weight: f32, output: f32) -> f32 {
    (input * weight) / output
}

/// The sum of a convolution or linear layer as a float: `f32(sum) * multiplier`, with [`scaled_multiplier`]. The sum is the
/// whole one, bias and zero points within, exact before it is rounded to `f32`.
///
/// It is what ONNX Runtime's `QGemm` without an output scale computes, to which `DequantizeLinear -> Gemm` is fused where no
/// quantiser follows (`quant_gemm.cc`: the bias goes into the 32-bit sums, MLAS converts them and multiplies once by `alpha *
/// a_scale * b_scale`, made in `f32` before; compared to the bit with 1.32.0, linear layers of 7 to 60000 inputs, with and
/// without a bias, a scale a channel or one for all). Its convolutions without a quantiser behind them are computed in floats
/// there; here they are this, too.
#[inline(always)]
pub fn scaled(sum: i32, multiplier: f32) -> f32 {
    sum as f32 * multiplier
}

/// `multiplier` of [`scaled`]: `input scale * weight scale`, rounded to `f32` before any sum is multiplied.
#[inline(always)]
pub fn scaled_multiplier(input: f32, weight: f32) -> f32 {
    input * weight
}

/// `a * b + c` with one rounding, for a byte `a`.
///
/// Through `f64` it needs no instruction for it. The product of 8 and 24 bits is exact there. With ratios of scales within
/// `2^-20` and `2^20`, which is checked when a plan is loaded ([`ratios_allowed`]), all that is added is a multiple of
/// `2^-43`, and what does not saturate is below `2^9`: 52 bits, so that only the step to `f32` rounds. Of the inner of two
/// such sums, which may be as large as `2^28`, `f64` could lose bits only of an operand that is `2^21` times smaller than
/// the other: were its product next to half a step of `f32`, it would be rounded twice.
#[inline(always)]
fn fused(a: u8, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) + f64::from(c)) as f32
}

/// The constants of a sum of two quantised values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sum {
    /// Scale of the first over the scale of the sum.
    pub first: f32,
    /// Scale of the second over the scale of the sum.
    pub second: f32,
    /// `f32(zero of the sum) - fma(zero of the first, first, zero of the second * second)`.
    pub offset: f32,
}

impl Sum {
    /// Of scales and zero points; all in `f32`, in this order. That the first product goes into the sum without being rounded
    /// is how ONNX Runtime's builds for x86 with FMA compute it, which one byte in tens of thousands shows.
    pub fn new(first: (f32, u8), second: (f32, u8), sum: (f32, u8)) -> Self {
        let (a, b) = (first.0 / sum.0, second.0 / sum.0);
        let offset = f32::from(sum.1) - fused(first.1, a, f32::from(second.1) * b);
        Self { first: a, second: b, offset }
    }

    /// `round(clamp(fma(a, first, fma(b, second, offset))))`.
    #[inline(always)]
    pub fn of(&self, a: u8, b: u8) -> u8 {
        byte(fused(a, self.first, fused(b, self.second, self.offset)), 0)
    }
}

/// Whether the ratios of scales, also that of the operands, are within `2^-20` and `2^20`, and the offset is one that
/// [`Sum::new`] can then make, a multiple of `2^-43` no larger than the ratios allow: so every engine computes a sum exactly,
/// and none is beyond 32 bits.
pub fn ratios_allowed(sum: &Sum) -> bool {
    const MOST: f32 = 1_048_576.0;
    const WHOLE: f64 = (1u64 << 53) as f64;
    let within = |ratio: f32| (1.0 / MOST..=MOST).contains(&ratio);
    let steps = f64::from(sum.offset) * (1u64 << 43) as f64;
    let most = 256.0 * (1.0 + sum.first + sum.second);
    // Beyond 2^53 every number is whole.
    let whole = !(-WHOLE..=WHOLE).contains(&steps) || steps as i64 as f64 == steps;
    let offset = (-most..=most).contains(&sum.offset) && whole;
    within(sum.first) && within(sum.second) && within(sum.first / sum.second) && offset
}

/// The product of two quantised values: `round(clamp(f32((a - za) * (b - zb)) * multiplier)) + zero`, with
/// [`multiplier`] of the scales.
#[inline(always)]
pub fn product(a: (u8, u8), b: (u8, u8), multiplier: f32, zero: u8) -> u8 {
    let steps = (i32::from(a.0) - i32::from(a.1)) * (i32::from(b.0) - i32::from(b.1));
    requantize(steps, multiplier, zero)
}

/// A mean of `count` values whose sum, each less its zero point, is `sum`: [`requantize`] with this multiplier,
/// `input scale / (output scale * f32(count))`.
#[inline(always)]
pub fn mean_multiplier(input: f32, output: f32, count: usize) -> f32 {
    input / (output * count as f32)
}
