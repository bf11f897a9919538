//! Strips of 256-bit vectors without products of bytes: these are widened, and multiplied and added in pairs.

use core::arch::x86_64::*;

use super::five::{five, go};
use super::half::{half, here};
use super::tiles::tiles;
use super::{Strips, Walk};

half!("avx2,fma");

/// Bytes of the weights of a column.
const COLUMN: usize = 256;

five!("avx2,fma");

/// What is multiplied of a vector of words for [`five`]: rows 0 and 2 in 16 bits each, and rows 1 and 3.
type Words = (V, V);

/// As [`wide`], but by shifts: there is no register for a mask, which the compiler would make of them.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn words(words: V) -> Words {
    let mut lower = _mm256_slli_epi16::<8>(words);
    // SAFETY: no instruction.
    unsafe {
        here!(lower);
    }
    (_mm256_srli_epi16::<8>(lower), _mm256_srli_epi16::<8>(words))
}

/// Adds the products of a column of five taps, for the vector `at` of the half; the column's weights are the kernel's `x`-th.
///
/// # Safety
/// Half of a block's weights, as `pack` wrote them, begin at `weights`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn taps(sums: V, words: Words, fifth: V, weights: *const u8, x: usize, at: usize) -> V {
    // SAFETY: the caller's word; constants are aligned.
    unsafe {
        let last = *weights.add((5 + x) * COLUMN).cast::<V>().add(2 * at);
        let sums = added(sums, words, weights.add(x * COLUMN), at);
        _mm256_add_epi32(sums, _mm256_madd_epi16(fifth, last))
    }
}

/// Rows 0 and 2 of a vector of words in 16 bits each, and rows 1 and 3.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn wide(words: V) -> (V, V) {
    (_mm256_and_si256(words, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(words))
}

/// Adds the products of four taps, for the vector `at` of four.
///
/// # Safety
/// A column's weights, as `pack` wrote them, lie at `weights`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn added(sums: V, (even, odd): (V, V), weights: *const u8, at: usize) -> V {
    let weights = weights.cast::<V>();
    // SAFETY: the caller's word; constants are aligned.
    let (first, second) = unsafe { (*weights.add(2 * at), *weights.add(2 * at + 1)) };
    let sums = _mm256_add_epi32(sums, _mm256_madd_epi16(even, first));
    _mm256_add_epi32(sums, _mm256_madd_epi16(odd, second))
}

/// Adds the products of four taps.
///
/// # Safety
/// A column's weights, as `pack` wrote them, lie at `weights`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn products(sums: Quad, words: Quad, weights: *const u8) -> Quad {
    // SAFETY: the caller's word.
    unsafe {
        Quad(
            added(sums.0, wide(words.0), weights, 0),
            added(sums.1, wide(words.1), weights, 1),
            added(sums.2, wide(words.2), weights, 2),
            added(sums.3, wide(words.3), weights, 3),
        )
    }
}

/// Sums that are computed before others: else products are added to each other first, and there are no registers for them.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn settled(Quad(mut a, mut b, mut c, mut d): Quad) -> Quad {
    // SAFETY: no instruction.
    unsafe {
        here!(a, b, c, d);
    }
    Quad(a, b, c, d)
}

/// The products of a column with weights of two of the kernel's columns: those that end `sums`, and those that begin.
///
/// # Safety
/// Biases and weights, as `pack` wrote them, lie where they are said to.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn stepped(sums: Quad, words: Quad, bias: *const u8, weights: [*const u8; 2]) -> (Quad, Quad) {
    macro_rules! vector {
        ($i:tt) => {{
            let words = wide(words.$i);
            let mut done = added(sums.$i, words, weights[0], $i);
            let mut begun = added(*bias.cast::<V>().add($i), words, weights[1], $i);
            here!(done, begun);
            (done, begun)
        }};
    }
    // SAFETY: the caller's word.
    let all = unsafe { (vector!(0), vector!(1), vector!(2), vector!(3)) };
    (Quad(all.0.0, all.1.0, all.2.0, all.3.0), Quad(all.0.1, all.1.1, all.2.1, all.3.1))
}

/// The products of a column with weights of three of the kernel's columns: those that end the first sums, those that go on
/// with the second, and those that begin.
///
/// # Safety
/// As of `stepped`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn slid(sums: [Quad; 2], words: Quad, bias: *const u8, weights: [*const u8; 3]) -> (Quad, Quad, Quad) {
    macro_rules! vector {
        ($i:tt) => {{
            let words = wide(words.$i);
            let mut done = added(sums[0].$i, words, weights[0], $i);
            let mut next = added(sums[1].$i, words, weights[1], $i);
            let mut begun = added(*bias.cast::<V>().add($i), words, weights[2], $i);
            here!(done, next, begun);
            (done, next, begun)
        }};
    }
    // SAFETY: the caller's word.
    let all = unsafe { (vector!(0), vector!(1), vector!(2), vector!(3)) };
    (
        Quad(all.0.0, all.1.0, all.2.0, all.3.0),
        Quad(all.0.1, all.1.1, all.2.1, all.3.1),
        Quad(all.0.2, all.1.2, all.2.2, all.3.2),
    )
}

tiles!("avx2,fma", [1, 2], false, halves, false, false);
