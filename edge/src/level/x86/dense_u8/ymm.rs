//! What the tiles of AVX2 and AVX-VNNI share: all but the products.

use core::arch::x86_64::*;

use super::{Ends, Tile};
use crate::layer::{ByteResidual, ByteTail};
use crate::level::x86::lookup;

pub(super) type Vector = __m256i;

/// # Safety
/// A whole, aligned vector lies at `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load(at: *const Vector) -> Vector {
    // SAFETY: the caller's word.
    unsafe { _mm256_load_si256(at) }
}

/// # Safety
/// A whole, aligned vector lies at `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_floats(at: *const Vector) -> __m256 {
    // SAFETY: the caller's word.
    unsafe { _mm256_load_ps(at.cast()) }
}

/// # Safety
/// There is room for a whole, aligned vector at `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn keep(at: *mut Vector, bytes: Vector) {
    // SAFETY: the caller's word.
    unsafe { _mm256_store_si256(at, bytes) };
}

/// A word of four bytes in every lane.
///
/// # Safety
/// Four bytes lie at `at`.
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
///
/// # Safety
/// Nothing but the CPU's instructions: `Ends` is made of aligned vectors.
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

/// # Safety
/// There is room for 16 bytes at `at`: only whole panels are not staged.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store(at: *mut u8, bytes: __m128i, _: usize) {
    // SAFETY: the target has 16 channels.
    unsafe { _mm_storeu_si128(at.cast(), bytes) };
}

/// Stores fewer than 16 bytes.
///
/// # Safety
/// There is room for `count` bytes, fewer than 16, at `at`.
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

/// Two words in every pair of lanes.
///
/// # Safety
/// Eight bytes lie at `at`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn pair_of_words(at: *const u8) -> Vector {
    // SAFETY: the caller's word.
    _mm256_set1_epi64x(unsafe { at.cast::<i64>().read_unaligned() })
}

/// Adds the two sums of every channel.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn added(first: Vector, second: Vector) -> Vector {
    let (first, second) = (_mm256_castsi256_ps(first), _mm256_castsi256_ps(second));
    let even = _mm256_shuffle_ps::<0b10_00_10_00>(first, second);
    let odd = _mm256_shuffle_ps::<0b11_01_11_01>(first, second);
    _mm256_add_epi32(_mm256_castps_si256(even), _mm256_castps_si256(odd))
}

/// Four vectors packed to bytes, pixel by pixel.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn quarters(bytes: Vector) -> Vector {
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

/// The tail of pixels of one vector, up to four pixels at a time. They are staged, as no panel of one vector is whole.
macro_rules! narrow_tail {
    ($tile:ident $m:ident;) => {};
    ($tile:ident $m:ident; $i:literal $a:ident) => {
        narrow_tail!(@some $tile $m $a $a $a $a; $i);
    };
    ($tile:ident $m:ident; $i:literal $a:ident $j:literal $b:ident) => {
        narrow_tail!(@some $tile $m $a $b $a $b; $i);
    };
    ($tile:ident $m:ident; $i:literal $a:ident $j:literal $b:ident $k:literal $c:ident) => {
        narrow_tail!(@some $tile $m $a $b $c $c; $i);
    };
    ($tile:ident $m:ident; $i:literal $a:ident $j:literal $b:ident $k:literal $c:ident $l:literal $d:ident
        $($rest:tt)*) => {
        narrow_tail!(@some $tile $m $a $b $c $d; $i);
        narrow_tail!($tile $m; $($rest)*);
    };
    (@some $tile:ident $m:ident $a:ident $b:ident $c:ident $d:ident; $i:literal) => {
        let first = pair(steps($a, $m), steps($b, $m));
        let second = pair(steps($c, $m), steps($d, $m));
        keep($tile.stage.cast::<Vector>().add($i / 4), quarters(bytes(first, second, $tile.ends)));
    };
}
pub(super) use narrow_tail;

/// The table and the residual, done to staged bytes, which are then stored.
///
/// # Safety
/// As of [`Tile`], for `pixels` pixels whose bytes are in the stage, and of whose residual, if there is one, the places
/// are in `others`.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn finish(tile: &Tile<'_>, tail: &ByteTail<'_>, pixels: usize) {
    // SAFETY: as for `finish_all`.
    unsafe {
        if tile.channels > 8 {
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
#[target_feature(enable = "avx2,fma")]
unsafe fn finish_all<const TOGETHER: usize>(tile: &Tile<'_>, tail: &ByteTail<'_>, pixels: usize) {
    // SAFETY: the stage has the bytes of a panel for every pixel; the pixels are there in the target and in the residual's
    // other value, which may be read 64 bytes beyond.
    unsafe {
        if tail.table.is_some() {
            let bytes = 32 / TOGETHER * pixels;
            // The stage of a tile has room for as many as are looked up together, whatever lies there.
            let bytes = if bytes <= 32 { 32 } else { bytes.max(lookup::TOGETHER) };
            tile.ends.lookup.look_up(tile.stage, tile.stage, bytes);
        }
        if let Some(residual) = &tail.residual {
            add::<TOGETHER>(tile, residual, pixels);
        }
        for pixel in 0..pixels {
            let at = (*tile.places.add(pixel)).target.add(tile.channel);
            let from = tile.stage.add(32 / TOGETHER * pixel);
            match tile.channels {
                16 => _mm_storeu_si128(at.cast(), _mm_load_si128(from.cast())),
                8 => _mm_storel_epi64(at.cast(), _mm_loadl_epi64(from.cast())),
                channels => store_some(at, _mm_loadu_si128(from.cast()), channels),
            }
        }
    }
}

/// Adds the residual's other value to staged bytes, of which a vector has `TOGETHER` pixels.
///
/// # Safety
/// As of `finish_all`; there is a place in `others` for each of the `pixels`.
#[target_feature(enable = "avx2,fma")]
unsafe fn add<const TOGETHER: usize>(tile: &Tile<'_>, residual: &ByteResidual, pixels: usize) {
    let swapped = residual.swapped;
    let scales = [_mm256_set1_ps(residual.sum.first), _mm256_set1_ps(residual.sum.second)];
    let [own, other] = if swapped { [scales[1], scales[0]] } else { scales };
    let offset = _mm256_set1_ps(residual.sum.offset);
    let (low, high) = (_mm256_set1_epi8(residual.low as i8), _mm256_set1_epi8(residual.high as i8));
    // SAFETY: as for `finish_all`.
    unsafe {
        let floats = |at: *const u8| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast())));
        for vector in 0..pixels.div_ceil(TOGETHER) {
            let stage = tile.stage.add(32 * vector);
            let sum = |part: usize| {
                let (pixel, channel) = (TOGETHER * vector + part * TOGETHER / 4, 8 * part % (32 / TOGETHER));
                let from = (*tile.others.add(pixel.min(pixels - 1))).add(tile.channel + channel);
                let (a, b) = (floats(stage.add(8 * part)), floats(from));
                // The second operand's product is rounded first.
                let sum = if swapped {
                    _mm256_fmadd_ps(b, other, _mm256_fmadd_ps(a, own, offset))
                } else {
                    _mm256_fmadd_ps(a, own, _mm256_fmadd_ps(b, other, offset))
                };
                _mm256_cvtps_epi32(sum)
            };
            let (one, two) = (pair(sum(0), sum(1)), pair(sum(2), sum(3)));
            let bytes = quarters(_mm256_packus_epi16(one, two));
            keep(stage.cast(), _mm256_min_epu8(_mm256_max_epu8(bytes, low), high));
        }
    }
}
