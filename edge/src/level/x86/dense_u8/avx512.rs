//! Tiles of AVX-512 with VNNI: up to 14 pixels by two vectors of 16 channels, or by one.

use core::arch::x86_64::*;
use core::ops::Range;

use super::avx512_narrow::{self, store_16};
use super::layout::{HEAD, Layout};
use super::tile::{entries, single, wide};
use super::{Ends, Tile, Tiles};
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, ByteResidual, ByteTail, Shape};
use crate::level::x86::cpu::has_avx512_vbmi;

static TILES: Tiles = Tiles {
    layout: Layout { lanes: 16, word: 4, narrow: true },
    wide: &[
        single, wide_2, wide_3, wide_4, wide_5, wide_6, wide_7, wide_8, wide_9, wide_10, wide_11, wide_12, wide_13,
        wide_14,
    ],
    narrow: &avx512_narrow::NARROW,
    quad: &avx512_narrow::QUAD,
    finish,
    whole: false,
    widen: None,
};

entries!();

pub(super) type Vector = __m512i;

/// # Safety
/// A whole, aligned vector lies at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn load(at: *const Vector) -> Vector {
    // SAFETY: the caller's word.
    unsafe { _mm512_load_si512(at) }
}

/// # Safety
/// A whole, aligned vector lies at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn load_floats(at: *const Vector) -> __m512 {
    // SAFETY: the caller's word.
    unsafe { _mm512_load_ps(at.cast()) }
}

/// # Safety
/// There is room for a whole, aligned vector at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn keep(at: *mut Vector, bytes: Vector) {
    // SAFETY: the caller's word.
    unsafe { _mm512_store_si512(at, bytes) };
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn dot(sums: Vector, values: Vector, weights: Vector) -> Vector {
    _mm512_dpbusd_epi32(sums, values, weights)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn pair(first: Vector, second: Vector) -> Vector {
    _mm512_packs_epi32(first, second)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn zero() -> Vector {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sum(first: Vector, second: Vector) -> Vector {
    _mm512_add_epi32(first, second)
}

/// Two pairs packed to bytes, pixel by pixel.
///
/// # Safety
/// Nothing but the CPU's instructions: `Ends` is made of aligned vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn pixels(bytes: Vector, ends: &Ends) -> Vector {
    // SAFETY: `Ends` is made of vectors. The order is loaded, as the compiler would split up one that it knows.
    _mm512_permutexvar_epi64(unsafe { _mm512_load_si512(ends.wide.as_ptr().cast()) }, bytes)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn first(bytes: Vector) -> __m256i {
    _mm512_castsi512_si256(bytes)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn second(bytes: Vector) -> __m256i {
    _mm512_extracti64x4_epi64::<1>(bytes)
}

/// `f32(sum) * multiplier` as whole numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn steps(sums: __m512i, multipliers: __m512) -> __m512i {
    _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), multipliers))
}

/// Numbers of 16 bits as bytes from `low` to `high`, the zero point added.
///
/// # Safety
/// Nothing but the CPU's instructions: `Ends` is made of aligned vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn bytes(first: __m512i, second: __m512i, ends: &Ends) -> __m512i {
    // SAFETY: `Ends` is made of vectors.
    unsafe {
        let low = _mm512_load_si512(ends.low.as_ptr().cast());
        if ends.plain {
            return _mm512_adds_epu8(_mm512_packus_epi16(first, second), low);
        }
        let shift = _mm512_load_si512(ends.shift.as_ptr().cast());
        let high = _mm512_load_si512(ends.high.as_ptr().cast());
        let bytes = _mm512_packus_epi16(_mm512_adds_epi16(first, shift), _mm512_adds_epi16(second, shift));
        _mm512_min_epu8(_mm512_adds_epu8(bytes, low), high)
    }
}

/// Keeps sums within plus and minus `bound`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn bounded(sums: __m512i, bound: __m512i) -> __m512i {
    _mm512_max_epi32(_mm512_min_epi32(sums, bound), _mm512_sub_epi32(_mm512_setzero_si512(), bound))
}

/// A word of four bytes in every lane.
///
/// # Safety
/// Four bytes lie at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn word(at: *const u8) -> __m512i {
    // SAFETY: the caller's word.
    _mm512_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
}

/// Stores as many channels of 32 as a panel has.
///
/// # Safety
/// There is room for `channels` bytes, 1 to 32, at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store(at: *mut u8, bytes: __m256i, channels: usize) {
    // SAFETY: the target has the channels.
    unsafe {
        if channels == 32 {
            _mm256_storeu_si256(at.cast(), bytes);
        } else {
            _mm256_mask_storeu_epi8(at.cast(), (1 << channels) - 1, bytes);
        }
    }
}

single! { "avx512f,avx512bw,avx512vl,avx512vnni" single }

wide! { "avx512f,avx512bw,avx512vl,avx512vnni" zmm_reg [0 p0 a0 b0]
    (wide_2 1 p1 a1 b1) (wide_3 2 p2 a2 b2) (wide_4 3 p3 a3 b3) (wide_5 4 p4 a4 b4)
    (wide_6 5 p5 a5 b5) (wide_7 6 p6 a6 b6) (wide_8 7 p7 a7 b7) (wide_9 8 p8 a8 b8) (wide_10 9 p9 a9 b9)
    (wide_11 10 p10 a10 b10) (wide_12 11 p11 a11 b11) (wide_13 12 p12 a12 b12) (wide_14 13 p13 a13 b13)
}

/// The table and the residual, done to staged bytes, which are then stored.
///
/// # Safety
/// As of [`Tile`], for `pixels` pixels whose bytes are in the stage, and of whose residual, if there is one, the places
/// are in `others`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn finish(tile: &Tile<'_>, tail: &ByteTail<'_>, pixels: usize) {
    // SAFETY: as for `finish_all`.
    unsafe {
        if tile.channels > 16 {
            finish_all::<2>(tile, tail, pixels);
        } else {
            finish_all::<4>(tile, tail, pixels);
        }
    }
}

/// The same, where a vector has `TOGETHER` pixels.
///
/// # Safety
/// As of [`Tile`], for `pixels` pixels whose bytes are in the stage, and of whose residual, if there is one, the places
/// are in `others`. `TOGETHER` is how many of the tile's pixels are kept in a vector.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn finish_all<const TOGETHER: usize>(tile: &Tile<'_>, tail: &ByteTail<'_>, pixels: usize) {
    let vectors = pixels.div_ceil(TOGETHER);
    // SAFETY: the stage has the vectors; the tile's pixels are there in the target and in the residual's other value, which
    // may be read 64 bytes beyond.
    unsafe {
        if let Some(table) = tail.table {
            if has_avx512_vbmi() {
                look_up(tile.stage.cast(), vectors, table);
            } else {
                tile.ends.lookup.look_up(tile.stage, tile.stage, 64 * vectors);
            }
        }
        if let Some(residual) = &tail.residual {
            add::<TOGETHER>(tile, residual, pixels);
        } else {
            for vector in 0..vectors {
                scatter::<TOGETHER>(tile, load(tile.stage.cast::<Vector>().add(vector)), TOGETHER * vector, pixels);
            }
        }
    }
}

/// Stores a vector of `TOGETHER` pixels, or fewer where there are no more.
///
/// # Safety
/// As of [`Tile`], whose pixels from `first_pixel`, below `pixels`, to `pixels` have places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn scatter<const TOGETHER: usize>(tile: &Tile<'_>, bytes: Vector, first_pixel: usize, pixels: usize) {
    // SAFETY: the caller's word.
    unsafe {
        let at = |part: usize| (*tile.places.add(first_pixel + part)).target.add(tile.channel);
        let some = pixels - first_pixel;
        if TOGETHER == 2 {
            store(at(0), first(bytes), tile.channels);
            if some > 1 {
                store(at(1), second(bytes), tile.channels);
            }
        } else {
            store_16(at(0), _mm512_castsi512_si128(bytes), tile.channels);
            if some > 1 {
                store_16(at(1), _mm512_extracti32x4_epi32::<1>(bytes), tile.channels);
            }
            if some > 2 {
                store_16(at(2), _mm512_extracti32x4_epi32::<2>(bytes), tile.channels);
            }
            if some > 3 {
                store_16(at(3), _mm512_extracti32x4_epi32::<3>(bytes), tile.channels);
            }
        }
    }
}

/// Looks up bytes in halves of a table, by the lower 7 bits.
///
/// # Safety
/// The stage has so many vectors, and the CPU has VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn look_up(stage: *mut Vector, vectors: usize, table: &[u8; 256]) {
    let part = |at: usize| {
        // SAFETY: the table has four parts.
        unsafe { _mm512_loadu_si512(table.as_ptr().add(64 * at).cast()) }
    };
    let [a, b, c, d] = [part(0), part(1), part(2), part(3)];
    for vector in 0..vectors {
        // SAFETY: the caller's word.
        unsafe {
            let bytes = _mm512_load_si512(stage.add(vector));
            let (lower, upper) = (_mm512_permutex2var_epi8(a, bytes, b), _mm512_permutex2var_epi8(c, bytes, d));
            _mm512_store_si512(stage.add(vector), _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), lower, upper));
        }
    }
}

/// Adds the residual's other value to staged bytes, of which a vector has `TOGETHER` pixels, and stores them.
///
/// # Safety
/// As of `finish_all`; there is a place in `others` for each of the `pixels`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add<const TOGETHER: usize>(tile: &Tile<'_>, residual: &ByteResidual, pixels: usize) {
    let swapped = residual.swapped;
    let scales = [_mm512_set1_ps(residual.sum.first), _mm512_set1_ps(residual.sum.second)];
    let [own, other] = if swapped { [scales[1], scales[0]] } else { scales };
    let offset = _mm512_set1_ps(residual.sum.offset);
    let (low, high) = (_mm512_set1_epi8(residual.low as i8), _mm512_set1_epi8(residual.high as i8));
    // SAFETY: as for `finish`.
    unsafe {
        let order = _mm512_load_si512(tile.ends.narrow.as_ptr().cast());
        let floats = |at: *const u8| _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast())));
        for vector in 0..pixels.div_ceil(TOGETHER) {
            let stage = tile.stage.add(64 * vector);
            let first = TOGETHER * vector;
            let sum = |part: usize| {
                let (pixel, channel) = (first + part * TOGETHER / 4, 16 * part % (64 / TOGETHER));
                let from = (*tile.others.add(pixel.min(pixels - 1))).add(tile.channel + channel);
                let (a, b) = (floats(stage.add(16 * part)), floats(from));
                // The second operand's product is rounded first.
                let sum = if swapped {
                    _mm512_fmadd_ps(b, other, _mm512_fmadd_ps(a, own, offset))
                } else {
                    _mm512_fmadd_ps(a, own, _mm512_fmadd_ps(b, other, offset))
                };
                _mm512_cvtps_epi32(sum)
            };
            let (one, two) = (_mm512_packs_epi32(sum(0), sum(1)), _mm512_packs_epi32(sum(2), sum(3)));
            let bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(one, two));
            scatter::<TOGETHER>(tile, _mm512_min_epu8(_mm512_max_epu8(bytes, low), high), first, pixels);
        }
    }
}
