//! What the tiles of AVX2 and AVX-VNNI share: all but the products.

use core::arch::x86_64::*;

use super::{Ends, Tile};
use crate::layer::{ByteResidual, ByteTail};

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

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn keep(at: *mut Vector, bytes: Vector) {
    // SAFETY: the caller's word.
    unsafe { _mm256_store_si256(at, bytes) };
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

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn zero() -> Vector {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn sum(first: Vector, second: Vector) -> Vector {
    _mm256_add_epi32(first, second)
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

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store(at: *mut u8, bytes: __m128i, _: usize) {
    // SAFETY: the target has 16 channels.
    unsafe { _mm_storeu_si128(at.cast(), bytes) };
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
        let mut rest = _mm_cvtsi128_si32(bytes);
        for i in 0..count & 3 {
            at.add(i).write(rest as u8);
            rest >>= 8;
        }
    }
}

/// The table and the residual, done to staged bytes.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn finish(tile: &Tile<'_>, tail: &ByteTail<'_>, pixels: usize) {
    // SAFETY: the stage has 16 bytes a pixel; the tile's pixels are there in the target and in the residual's other value,
    // which may be read 64 bytes beyond.
    unsafe {
        if let Some(table) = tail.table {
            for byte in core::slice::from_raw_parts_mut(tile.stage, 16 * pixels) {
                *byte = table[usize::from(*byte)];
            }
        }
        if let Some(residual) = &tail.residual {
            add(tile, residual, pixels);
        }
        for pixel in 0..pixels {
            let at = (*tile.places.add(pixel)).target.add(tile.channel);
            let bytes = _mm_load_si128(tile.stage.cast::<__m128i>().add(pixel));
            if tile.channels == 16 {
                _mm_storeu_si128(at.cast(), bytes);
            } else {
                store_some(at, bytes, tile.channels);
            }
        }
    }
}

/// Adds the residual's other value to staged bytes.
#[target_feature(enable = "avx2,fma")]
unsafe fn add(tile: &Tile<'_>, residual: &ByteResidual, pixels: usize) {
    let swapped = residual.swapped;
    let (first, second) = (_mm256_set1_ps(residual.sum.first), _mm256_set1_ps(residual.sum.second));
    let offset = _mm256_set1_ps(residual.sum.offset);
    let (low, high) = (_mm256_set1_epi8(residual.low as i8), _mm256_set1_epi8(residual.high as i8));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    // SAFETY: as for `finish`.
    unsafe {
        let floats = |at: *const u8| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast())));
        // Two pixels, or the last one twice.
        for vector in 0..pixels.div_ceil(2) {
            let stage = tile.stage.add(32 * vector);
            let sum = |part: usize| {
                let pixel = (2 * vector + part / 2).min(pixels - 1);
                let other = (*tile.others.add(pixel)).add(tile.channel + part % 2 * 8);
                let (own, other) = (floats(stage.add(8 * part)), floats(other));
                let (a, b) = if swapped { (other, own) } else { (own, other) };
                _mm256_cvtps_epi32(_mm256_fmadd_ps(a, first, _mm256_fmadd_ps(b, second, offset)))
            };
            let (one, two) = (pair(sum(0), sum(1)), pair(sum(2), sum(3)));
            let bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(one, two), order);
            keep(stage.cast(), _mm256_min_epu8(_mm256_max_epu8(bytes, low), high));
        }
    }
}
