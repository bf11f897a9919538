//! Layers of bytes whose answers are floats: products with weights where they lie in the plan, four channels at a time, a
//! row of the output by four channels after the other.
//!
//! The last layer of a classifier is such a one: a single pixel, so that every weight is needed once and comes from memory.
//! It is read in order, as bytes, and nothing of it is kept a second time.

use core::arch::x86_64::*;

use crate::layer::{MixedKernel, MixedLayer, Runs};
use crate::level::scalar;

pub(super) const AVX2: MixedKernel = MixedKernel { run: avx2::run, ..scalar::MIXED };
pub(super) const AVX_VNNI: MixedKernel = MixedKernel { run: avx_vnni::run, ..scalar::MIXED };
pub(super) const AVX512_VNNI: MixedKernel = MixedKernel { run: avx512::run, ..scalar::MIXED };

/// Elements of a run below which plain Rust is no slower.
const SHORT: usize = 16;

/// Where the runs of a pixel lie, in elements.
#[derive(Clone, Copy)]
struct Taps {
    runs: Runs,
    /// From a row of the kernel to the next, and from a run to the next.
    down: usize,
    right: usize,
}

impl Taps {
    fn of(layer: &MixedLayer<'_>) -> Self {
        let [down, right] = layer.shape.dilation;
        Self { runs: layer.shape.runs(), down: down * layer.source.row, right: right * layer.source.pixel }
    }
}

/// The sums of four vectors of sums.
#[inline]
#[target_feature(enable = "avx2")]
fn four(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> [i32; 4] {
    let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let mut all = [0; 4];
    // SAFETY: four numbers are a vector.
    unsafe { _mm_storeu_si128(all.as_mut_ptr().cast(), sums) };
    all
}

/// A level's loops. Its module has `Vector` and `STEP`, elements that a vector of products takes; `zero`, `values` and
/// `weights`, which load so many bytes, `some`, which loads fewer weights and no byte behind them, zeros for the rest; `dot`,
/// and `sums`, which adds pairs of four vectors and then all of each.
macro_rules! mixed {
    ($features:literal) => {
        use core::ops::Range;

        use super::{SHORT, Taps};
        use crate::arithmetic::scaled;
        use crate::layer::{MixedLayer, f32_at, i32_at};
        use crate::level::scalar;

        /// # Safety
        /// As of [`crate::layer::MixedKernel::run`].
        pub(super) unsafe fn run(layer: &MixedLayer<'_>, rows: Range<usize>) {
            // SAFETY: the caller's word.
            unsafe { if layer.shape.runs().length < SHORT { scalar::mixed(layer, rows) } else { all(layer, rows) } }
        }

        /// # Safety
        /// As of [`crate::layer::MixedKernel::run`].
        #[target_feature(enable = $features)]
        unsafe fn all(layer: &MixedLayer<'_>, rows: Range<usize>) {
            let shape = layer.shape;
            let depth = shape.depth();
            let taps = Taps::of(layer);
            // SAFETY: `pack` wrote a pair of four bytes a channel; every channel has its weights; the source has all runs and 64
            // bytes behind them, the target the pixels and channels.
            unsafe {
                let packed = core::slice::from_raw_parts(layer.packed, 8 * shape.channels());
                for y in rows {
                    for group in 0..shape.groups {
                        for first in (0..shape.outputs).step_by(4) {
                            let channels = (shape.outputs - first).min(4);
                            let first = group * shape.outputs + first;
                            // Of fewer than four channels the last is computed again.
                            let weights = [0, 1, 2, 3].map(|i| {
                                let channel = first + i.min(channels - 1);
                                layer.weights[channel * depth..][..depth].as_ptr()
                            });
                            for x in 0..shape.size[1] {
                                let source = layer.source.pixel(y * shape.stride[0], x * shape.stride[1]);
                                let sums = dots(taps, source.add(group * shape.inputs), weights);
                                let target = layer.target.pixel(y, x).add(first);
                                for (i, sum) in sums.into_iter().enumerate().take(channels) {
                                    let bias = i32_at(packed, 2 * (first + i));
                                    let multiplier = f32_at(packed, 2 * (first + i) + 1);
                                    *target.add(i) = scaled(bias.wrapping_add(sum), multiplier);
                                }
                            }
                        }
                    }
                }
            }
        }

        /// Sums of a pixel's products with the weights of four channels.
        ///
        /// # Safety
        /// The runs lie at `source` and may be read 64 bytes beyond; there are as many weights at each of `weights`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn dots(taps: Taps, source: *const u8, mut at: [*const u8; 4]) -> [i32; 4] {
            let (mut a, mut b, mut c, mut d) = (zero(), zero(), zero(), zero());
            let (mut e, mut f, mut g, mut h) = (zero(), zero(), zero(), zero());
            // SAFETY: the caller's word.
            unsafe {
                for row in 0..taps.runs.rows {
                    for column in 0..taps.runs.columns {
                        let mut from = source.add(row * taps.down + column * taps.right);
                        let mut rest = taps.runs.length;
                        while rest >= 2 * STEP {
                            let x = values(from);
                            a = dot(a, x, weights(at[0]));
                            b = dot(b, x, weights(at[1]));
                            c = dot(c, x, weights(at[2]));
                            d = dot(d, x, weights(at[3]));
                            let x = values(from.add(STEP));
                            e = dot(e, x, weights(at[0].add(STEP)));
                            f = dot(f, x, weights(at[1].add(STEP)));
                            g = dot(g, x, weights(at[2].add(STEP)));
                            h = dot(h, x, weights(at[3].add(STEP)));
                            (from, rest) = (from.add(2 * STEP), rest - 2 * STEP);
                            at = at.map(|at| at.add(2 * STEP));
                        }
                        while rest > 0 {
                            let count = rest.min(STEP);
                            let x = values(from);
                            a = dot(a, x, some(at[0], count));
                            b = dot(b, x, some(at[1], count));
                            c = dot(c, x, some(at[2], count));
                            d = dot(d, x, some(at[3], count));
                            (from, rest) = (from.add(count), rest - count);
                            at = at.map(|at| at.add(count));
                        }
                    }
                }
            }
            sums((a, b, c, d), (e, f, g, h))
        }
    };
}

/// What the levels of 256 bits share.
macro_rules! ymm {
    ($features:literal) => {
        mixed! { $features }

        type Vector = __m256i;

        #[inline]
        #[target_feature(enable = $features)]
        fn zero() -> Vector {
            _mm256_setzero_si256()
        }

        /// # Safety
        /// `count` bytes, at most `STEP`, lie at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn some(at: *const u8, count: usize) -> Vector {
            // SAFETY: the caller's word.
            unsafe {
                if count == STEP {
                    return weights(at);
                }
                let mut all = [0u8; STEP];
                all.as_mut_ptr().copy_from_nonoverlapping(at, count);
                weights(all.as_ptr())
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn sums(one: (Vector, Vector, Vector, Vector), two: (Vector, Vector, Vector, Vector)) -> [i32; 4] {
            super::four(
                _mm256_add_epi32(one.0, two.0),
                _mm256_add_epi32(one.1, two.1),
                _mm256_add_epi32(one.2, two.2),
                _mm256_add_epi32(one.3, two.3),
            )
        }
    };
}

/// Numbers of 16 bits, whose products in pairs are exact.
mod avx2 {
    use core::arch::x86_64::*;

    ymm! { "avx2,fma" }

    const STEP: usize = 16;

    /// # Safety
    /// `STEP` bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn values(at: *const u8) -> Vector {
        // SAFETY: the caller's word.
        _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(at.cast()) })
    }

    /// # Safety
    /// `STEP` bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn weights(at: *const u8) -> Vector {
        // SAFETY: the caller's word.
        _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(at.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn dot(sums: Vector, values: Vector, weights: Vector) -> Vector {
        _mm256_add_epi32(sums, _mm256_madd_epi16(values, weights))
    }
}

mod avx_vnni {
    use core::arch::x86_64::*;

    ymm! { "avx2,fma,avxvnni" }

    const STEP: usize = 32;

    /// # Safety
    /// `STEP` bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma,avxvnni")]
    unsafe fn values(at: *const u8) -> Vector {
        // SAFETY: the caller's word.
        unsafe { _mm256_loadu_si256(at.cast()) }
    }

    /// # Safety
    /// `STEP` bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma,avxvnni")]
    unsafe fn weights(at: *const u8) -> Vector {
        // SAFETY: the caller's word.
        unsafe { values(at) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,avxvnni")]
    fn dot(sums: Vector, values: Vector, weights: Vector) -> Vector {
        _mm256_dpbusd_avx_epi32(sums, values, weights)
    }
}

mod avx512 {
    use core::arch::x86_64::*;

    mixed! { "avx512f,avx512bw,avx512vl,avx512vnni" }

    type Vector = __m512i;

    const STEP: usize = 64;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn zero() -> Vector {
        _mm512_setzero_si512()
    }

    /// # Safety
    /// `STEP` bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn values(at: *const u8) -> Vector {
        // SAFETY: the caller's word.
        unsafe { _mm512_loadu_si512(at.cast()) }
    }

    /// # Safety
    /// `STEP` bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn weights(at: *const u8) -> Vector {
        // SAFETY: the caller's word.
        unsafe { values(at) }
    }

    /// # Safety
    /// `count` bytes, 1 to `STEP`, lie at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn some(at: *const u8, count: usize) -> Vector {
        // SAFETY: the caller's word; what is masked is not read.
        unsafe { _mm512_maskz_loadu_epi8(u64::MAX >> (STEP - count), at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn dot(sums: Vector, values: Vector, weights: Vector) -> Vector {
        _mm512_dpbusd_epi32(sums, values, weights)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn sums(one: (Vector, Vector, Vector, Vector), two: (Vector, Vector, Vector, Vector)) -> [i32; 4] {
        let half = |one: Vector, two: Vector| {
            let sum = _mm512_add_epi32(one, two);
            _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum))
        };
        super::four(half(one.0, two.0), half(one.1, two.1), half(one.2, two.2), half(one.3, two.3))
    }
}
