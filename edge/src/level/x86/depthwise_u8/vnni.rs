//! Strips of 256-bit vectors with AVX-VNNI's `vpdpbusd`: 32 channels, or 16 of two rows.

use core::arch::x86_64::*;

use super::half::half;
use super::tiles::{one_by_one, tiles};
use super::{Strips, Walk};

half!("avx2,fma,avxvnni");

type Words = Quad;

/// Bytes of the weights of a column.
const COLUMN: usize = 128;

#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
fn words(bytes: Quad) -> Words {
    bytes
}

/// Adds the products of four taps.
///
/// # Safety
/// A column's weights, as `pack` wrote them, lie at `weights`.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn products(sums: Quad, words: Words, weights: *const u8) -> Quad {
    // SAFETY: the caller's word.
    let weights = unsafe { quad(weights) };
    Quad(
        _mm256_dpbusd_avx_epi32(sums.0, words.0, weights.0),
        _mm256_dpbusd_avx_epi32(sums.1, words.1, weights.1),
        _mm256_dpbusd_avx_epi32(sums.2, words.2, weights.2),
        _mm256_dpbusd_avx_epi32(sums.3, words.3, weights.3),
    )
}

one_by_one!("avx2,fma,avxvnni");

tiles!("avx2,fma,avxvnni", [1, 2], false, true, false, true);
