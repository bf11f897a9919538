//! Strips of 256-bit vectors without products of bytes: these are widened, and multiplied and added in pairs.

use core::arch::x86_64::*;

use super::half::half;
use super::tiles::tiles;
use super::{Strips, Walk};

half!("avx2,fma");

/// Rows 0 and 2 in 16 bits each, and rows 1 and 3.
#[derive(Clone, Copy)]
struct Words {
    even: Quad,
    odd: Quad,
}

/// Bytes of the weights of a column.
const COLUMN: usize = 256;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn words(bytes: Quad) -> Words {
    let Quad(p, q, r, s) = bytes;
    let low = _mm256_set1_epi16(0xff);
    let even =
        Quad(_mm256_and_si256(p, low), _mm256_and_si256(q, low), _mm256_and_si256(r, low), _mm256_and_si256(s, low));
    let odd = Quad(
        _mm256_srli_epi16::<8>(p),
        _mm256_srli_epi16::<8>(q),
        _mm256_srli_epi16::<8>(r),
        _mm256_srli_epi16::<8>(s),
    );
    Words { even, odd }
}

/// Adds the products of four taps.
///
/// # Safety
/// A column's weights, as `pack` wrote them, lie at `weights`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn products(sums: Quad, words: Words, weights: *const u8) -> Quad {
    // SAFETY: the caller's word.
    let (first, second) = unsafe { (quad(weights), quad(weights.add(128))) };
    let Words { even, odd } = words;
    Quad(
        pairs(pairs(sums.0, even.0, first.0), odd.0, first.1),
        pairs(pairs(sums.1, even.1, first.2), odd.1, first.3),
        pairs(pairs(sums.2, even.2, second.0), odd.2, second.1),
        pairs(pairs(sums.3, even.3, second.2), odd.3, second.3),
    )
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn pairs(sums: V, words: V, weights: V) -> V {
    _mm256_add_epi32(sums, _mm256_madd_epi16(words, weights))
}

tiles!("avx2,fma", [1, 2], false, false, false);
