//! What the tiles of AVX2 and AVX-VNNI share: all but the products.

use core::arch::x86_64::*;

use super::{Ends, Tile};
use crate::layer::ByteTail;

pub(super) type Vector = __m256i;

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load(at: *const Vector) -> Vector {
    // SAFETY: the caller's word.
    unsafe { _mm256_load_si256(at) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_floats(at: *const Vector) -> __m256 {
    // SAFETY: the caller's word.
    unsafe { _mm256_load_ps(at.cast()) }
}

/// A word of four bytes in every lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn word(at: *const u8) -> Vector {
    // SAFETY: the caller's word.
    _mm256_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
}

/// Keeps sums within plus and minus `bound`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn bounded(sums: Vector, bound: Vector) -> Vector {
    _mm256_max_epi32(_mm256_min_epi32(sums, bound), _mm256_sub_epi32(_mm256_setzero_si256(), bound))
}

/// `f32(sum) * multiplier` as whole numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn steps(sums: Vector, multipliers: __m256) -> Vector {
    _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), multipliers))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn pair(first: Vector, second: Vector) -> Vector {
    _mm256_packs_epi32(first, second)
}

/// Numbers of 16 bits as bytes from `low` to `high`, the zero point added.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn bytes(first: Vector, second: Vector, ends: &Ends) -> Vector {
    // SAFETY: `Ends` is made of vectors.
    unsafe {
        let low = _mm256_load_si256(ends.low.as_ptr().cast());
        if ends.plain {
            return _mm256_adds_epu8(_mm256_packus_epi16(first, second), low);
        }
        let shift = _mm256_load_si256(ends.shift.as_ptr().cast());
        let high = _mm256_load_si256(ends.high.as_ptr().cast());
        let bytes = _mm256_packus_epi16(_mm256_adds_epi16(first, shift), _mm256_adds_epi16(second, shift));
        _mm256_min_epu8(_mm256_adds_epu8(bytes, low), high)
    }
}

/// Two pairs packed to bytes, pixel by pixel.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn pixels(bytes: Vector, _: &Ends) -> Vector {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn first(bytes: Vector) -> __m128i {
    _mm256_castsi256_si128(bytes)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn second(bytes: Vector) -> __m128i {
    _mm256_extracti128_si256::<1>(bytes)
}

/// Stores as many channels of 16 as a panel has.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store(at: *mut u8, bytes: __m128i, channels: usize) {
    // SAFETY: the target has the channels.
    unsafe {
        if channels == 16 {
            _mm_storeu_si128(at.cast(), bytes);
        } else {
            store_some(at, bytes, channels);
        }
    }
}

/// Stores fewer than 16 bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store_some(mut at: *mut u8, mut bytes: __m128i, count: usize) {
    // SAFETY: the target has so many.
    unsafe {
        if count & 8 != 0 {
            at.cast::<i64>().write_unaligned(_mm_cvtsi128_si64(bytes));
            (at, bytes) = (at.add(8), _mm_srli_si128::<8>(bytes));
        }
        if count & 4 != 0 {
            at.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(bytes));
            (at, bytes) = (at.add(4), _mm_srli_si128::<4>(bytes));
        }
        let rest = _mm_cvtsi128_si32(bytes).to_le_bytes();
        for (i, &byte) in rest[..count & 3].iter().enumerate() {
            at.add(i).write(byte);
        }
    }
}

/// The table and the residual, done to what a tile has stored.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn finish(tile: &Tile<'_>, tail: &ByteTail<'_>, others: &[*const u8]) {
    // SAFETY: the tile's pixels are there in the target and in the residual's other value, which may be read 64 bytes beyond.
    unsafe {
        if let Some(table) = tail.table {
            for pixel in 0..others.len() {
                let at = (*tile.places.add(pixel)).target.add(tile.channel);
                for channel in 0..tile.channels {
                    *at.add(channel) = table[usize::from(*at.add(channel))];
                }
            }
        }
        let Some(residual) = tail.residual else { return };
        let (own, other) = if residual.swapped {
            (residual.sum.second, residual.sum.first)
        } else {
            (residual.sum.first, residual.sum.second)
        };
        let (own, other) = (_mm256_set1_ps(own), _mm256_set1_ps(other));
        let offset = _mm256_set1_ps(residual.sum.offset);
        let (low, high) = (_mm256_set1_epi8(residual.low as i8), _mm256_set1_epi8(residual.high as i8));
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let floats = |bytes: __m128i| {
            let rest = _mm_srli_si128::<8>(bytes);
            [_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(rest))]
        };
        for (pixel, &from) in others.iter().enumerate() {
            let at = (*tile.places.add(pixel)).target.add(tile.channel);
            let mine = if tile.channels == 16 {
                _mm_loadu_si128(at.cast())
            } else {
                let mut some = [0u8; 16];
                core::ptr::copy_nonoverlapping(at, some.as_mut_ptr(), tile.channels);
                _mm_loadu_si128(some.as_ptr().cast())
            };
            let [a, b] = floats(mine);
            let [c, d] = floats(_mm_loadu_si128(from.cast()));
            let sum = |a, c| {
                let sum = if residual.swapped {
                    _mm256_fmadd_ps(c, other, _mm256_fmadd_ps(a, own, offset))
                } else {
                    _mm256_fmadd_ps(a, own, _mm256_fmadd_ps(c, other, offset))
                };
                _mm256_cvtps_epi32(sum)
            };
            let words = _mm256_packs_epi32(sum(a, c), sum(b, d));
            let bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(words, words), order);
            let bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, low), high);
            store(at, _mm256_castsi256_si128(bytes), tile.channels);
        }
    }
}
