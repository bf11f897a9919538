//! Strips of 256-bit vectors with AVX-VNNI's `vpdpbusd`: 32 channels, or 16 of two rows.

use core::arch::x86_64::{_mm256_dpbusd_avx_epi32 as dot, *};

use super::five::{five, go};
use super::half::{half, here};
use super::tail::dots;
use super::tiles::tiles;
use super::{Strips, Walk};

half!("avx2,fma,avxvnni");

dots!("avx2,fma,avxvnni");

five!("avx2,fma,avxvnni");

/// What is multiplied of a vector of words for [`five`].
type Words = V;

#[inline(always)]
fn words(words: V) -> Words {
    words
}

/// Adds the products of a column of five taps, for the vector `at` of the half; the column's weights are the kernel's `x`-th.
///
/// # Safety
/// Half of a block's weights, as `pack` wrote them, begin at `weights`.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn taps(sums: V, words: Words, fifth: V, weights: *const u8, x: usize, at: usize) -> V {
    // SAFETY: the caller's word; constants are aligned.
    let (four, last) =
        unsafe { (*weights.add(x * COLUMN).cast::<V>().add(at), *weights.add((5 + x) * COLUMN).cast::<V>().add(at)) };
    dot(dot(sums, words, four), fifth, last)
}

tiles!("avx2,fma,avxvnni", [1, 2], false, halves, false, true);
