//! The exponential function and the error function in operations that become vector instructions where they are inlined.

/// How `a * b + c` is computed.
pub(crate) trait MulAdd {
    /// `a * b + c`.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// Rounded once, where the SIMD level has an instruction for it ([`crate::simd::fuses`]); elsewhere that is a slow call.
pub(crate) struct Fused;

/// A product and a sum, each rounded.
pub(crate) struct InTwo;

impl MulAdd for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl MulAdd for InTwo {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Above it `exp` is infinite, below its negative 0.
const EXP_ENDS: [f32; 2] = [-87.0, 88.0];

/// `1.5 * 2^23`: added to a small number, it leaves the nearest integer in the low bits.
const TO_INTEGER: f32 = 12_582_912.0;

/// `exp(x)` to 1e-7 of it; infinite above 88, 0 below -87; NaN stays NaN.
///
/// `x = n ln 2 + r` with `ln 2` in two parts, so that `n ln 2` is exact; the polynomial of `exp(r)` is that of Cephes
/// (Moshier 1989).
#[inline(always)]
pub(crate) fn exp<M: MulAdd>(x: f32) -> f32 {
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];
    let [low, high] = EXP_ENDS;
    let inside = limited(x, low, high);
    let shifted = M::mul_add(inside, std::f32::consts::LOG2_E, TO_INTEGER);
    let n = shifted - TO_INTEGER;
    let r = M::mul_add(n, -LN_2[1], M::mul_add(n, -LN_2[0], inside));
    let tail = polynomial::<M, 6>(r, &POLYNOMIAL);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let value = (M::mul_add(tail, r * r, r) + 1.0) * power;
    let value = if x > high { f32::INFINITY } else { value };
    if x < low { 0.0 } else { value }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid<M: MulAdd>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<M>(-x))
}

/// The error function to 5e-7; NaN stays NaN.
///
/// `x` times a quotient of polynomials in `x^2` for `|x| <= 4`, beyond which it is 1 in `f32`; the coefficients are
/// those of Eigen and XLA.
#[inline(always)]
pub(crate) fn erf<M: MulAdd>(x: f32) -> f32 {
    const ABOVE: [f32; 7] =
        [-2.726_142_3e-10, 2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2];
    const BELOW: [f32; 5] = [-1.456_607_2e-5, -2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    let inside = limited(x, -4.0, 4.0);
    let square = inside * inside;
    let value = inside * polynomial::<M, 7>(square, &ABOVE) / polynomial::<M, 5>(square, &BELOW);
    let value = if x >= 4.0 { 1.0 } else { value }; // exactly, for what is multiplied by a large x
    if x <= -4.0 { -1.0 } else { value }
}

/// `x` between two ends; NaN stays NaN.
#[inline(always)]
fn limited(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// By Horner's rule, the highest power first.
#[inline(always)]
fn polynomial<M: MulAdd, const N: usize>(x: f32, coefficients: &[f32; N]) -> f32 {
    let mut value = coefficients[0];
    for coefficient in &coefficients[1..] {
        value = M::mul_add(value, x, *coefficient);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn the_exponential_is_that_of_64_bits<M: MulAdd>() {
        let mut worst = 0.0f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).exp();
            worst = worst.max((f64::from(exp::<M>(x)) - expected).abs() / expected);
        }
        assert!(worst < 1.2e-7, "{worst:e} of it");
        assert_eq!((exp::<M>(0.0), exp::<M>(f32::INFINITY), exp::<M>(f32::NEG_INFINITY)), (1.0, f32::INFINITY, 0.0));
        assert!(exp::<M>(f32::NAN).is_nan() && sigmoid::<M>(f32::NAN).is_nan());
        let ends = [f32::INFINITY, f32::NEG_INFINITY, 0.0].map(sigmoid::<M>);
        assert_eq!(ends, [1.0, 0.0, 0.5]);
    }

    #[test]
    fn the_exponential_is_exact_enough_rounded_once_or_twice() {
        the_exponential_is_that_of_64_bits::<Fused>();
        the_exponential_is_that_of_64_bits::<InTwo>();
    }

    /// By its Taylor series in 64 bits, which converges everywhere.
    fn series(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn the_error_function_is_that_of_its_series() {
        for i in -40_000..=40_000 {
            let x = i as f32 * 1e-4;
            let expected = series(f64::from(x));
            for found in [erf::<Fused>(x), erf::<InTwo>(x)] {
                let apart = (f64::from(found) - expected).abs();
                assert!(apart < 6e-7, "{apart:e} at {x}");
            }
        }
        assert_eq!((erf::<Fused>(f32::INFINITY), erf::<InTwo>(-1e30)), (1.0, -1.0));
        assert!(erf::<Fused>(f32::NAN).is_nan() && erf::<InTwo>(f32::NAN).is_nan());
    }
}
