//! Strips of 512-bit vectors with `vpdpbusd`: 64 channels, or 32 of two rows, or 16 of four.

use core::arch::x86_64::{
    __m512i as V, _mm512_adds_epi16 as adds16, _mm512_castsi512_ps as as_floats, _mm512_cvtepi32_ps as to_floats,
    _mm512_cvtps_epi32 as to_words, _mm512_dpbusd_epi32 as dot, _mm512_max_epu8 as max8, _mm512_min_epu8 as min8,
    _mm512_min_ps as minf, _mm512_mul_ps as mulf, _mm512_packs_epi32 as pack32, _mm512_packus_epi16 as pack16,
    _mm512_set1_epi8 as all8, _mm512_set1_epi16 as all16, _mm512_set1_ps as all, *,
};

use super::tail::{dots, tail};
use super::tiles::tiles;
use super::{Strips, Walk};

tail!("avx512f,avx512bw,avx512vl,avx512vnni");
dots!("avx512f,avx512bw,avx512vl,avx512vnni");

/// # Safety
/// A vector's bytes, divided among the `G` groups, lie `offset` behind the first `G` places. The others are places,
/// too.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn load<const G: usize>(at: [*const u8; 4], offset: usize) -> V {
    // SAFETY: the caller's word.
    unsafe {
        let at = [at[0].add(offset), at[1].add(offset), at[2].add(offset), at[3].add(offset)];
        match G {
            1 => _mm512_loadu_si512(at[0].cast()),
            2 => {
                let low = _mm512_castsi256_si512(_mm256_loadu_si256(at[0].cast()));
                _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(at[1].cast()))
            }
            _ => {
                let v = _mm512_castsi128_si512(_mm_loadu_si128(at[0].cast()));
                let v = _mm512_inserti32x4::<1>(v, _mm_loadu_si128(at[1].cast()));
                let v = _mm512_inserti32x4::<2>(v, _mm_loadu_si128(at[2].cast()));
                _mm512_inserti32x4::<3>(v, _mm_loadu_si128(at[3].cast()))
            }
        }
    }
}

/// `(even bytes of a, even bytes of b)` in turn, and odd ones.
///
/// # Safety
/// As of `load`, for both offsets.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn pairs<const G: usize>(at: [*const u8; 4], a: usize, b: usize) -> (V, V) {
    // SAFETY: the caller's word.
    let (a, b) = unsafe { (load::<G>(at, a), load::<G>(at, b)) };
    let even = _mm512_mask_blend_epi8(ODD, a, _mm512_slli_epi16::<8>(b));
    (even, _mm512_mask_blend_epi8(ODD, _mm512_srli_epi16::<8>(a), b))
}

/// The odd bytes.
const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// Loads rows of a column and interleaves them: words of the channels 0 to 3 of each 16, 4 to 7, and so on. Rows behind the
/// last are one that is there. In the order of parity, which takes fewer shuffles for fewer than four rows, words for the channels 0, 2, 4, 6 of each 16; 8, 10, 12, 14; 1, 3, 5, 7;
/// 9, 11, 13, 15. In these words lie, of four rows, the channel's bytes; of three, those of two rows, then both the channel's
/// and its neighbour's of the third; of two and of one, both channels' of each row.
///
/// # Safety
/// As of `load`, for each of the offsets.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn column<const G: usize, const ROWS: usize, const PARITY: bool>(
    at: [*const u8; 4],
    offsets: &[usize; 4],
) -> Quad {
    let [a, b, c, d] = *offsets;
    // SAFETY: the caller's word.
    unsafe {
        if !PARITY {
            let (a, b) = (load::<G>(at, a), load::<G>(at, b));
            let (c, d) = (load::<G>(at, c), load::<G>(at, d));
            let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            return Quad(
                _mm512_unpacklo_epi16(ab_low, cd_low),
                _mm512_unpackhi_epi16(ab_low, cd_low),
                _mm512_unpacklo_epi16(ab_high, cd_high),
                _mm512_unpackhi_epi16(ab_high, cd_high),
            );
        }
        if ROWS <= 2 {
            let (first, second) = (load::<G>(at, a), load::<G>(at, b));
            let (low, high) = (_mm512_unpacklo_epi16(first, second), _mm512_unpackhi_epi16(first, second));
            return Quad(low, high, low, high);
        }
        let (even, odd) = pairs::<G>(at, a, b);
        let (even_second, odd_second) = if ROWS == 3 {
            let third = load::<G>(at, c);
            (third, third)
        } else {
            pairs::<G>(at, c, d)
        };
        Quad(
            _mm512_unpacklo_epi16(even, even_second),
            _mm512_unpackhi_epi16(even, even_second),
            _mm512_unpacklo_epi16(odd, odd_second),
            _mm512_unpackhi_epi16(odd, odd_second),
        )
    }
}

/// Of every 16 channels, first the even ones and then the odd ones, in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn even_and_odd(bytes: V) -> V {
    _mm512_shuffle_epi8(bytes, _mm512_set4_epi32(0x0f07_0e06, 0x0d05_0c04, 0x0b03_0a02, 0x0901_0800))
}

/// Writes the first `channels` of each group.
///
/// # Safety
/// There is room for `channels` bytes, no more than a group has, at the first `G` places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store<const G: usize>(bytes: V, out: [*mut u8; 4], channels: usize) {
    // SAFETY: the caller's word.
    unsafe {
        match G {
            1 => _mm512_mask_storeu_epi8(out[0].cast(), u64::MAX >> (64 - channels), bytes),
            2 => {
                let mask = u32::MAX >> (32 - channels);
                _mm256_mask_storeu_epi8(out[0].cast(), mask, _mm512_castsi512_si256(bytes));
                _mm256_mask_storeu_epi8(out[1].cast(), mask, _mm512_extracti64x4_epi64::<1>(bytes));
            }
            _ => {
                let mask = u16::MAX >> (16 - channels);
                _mm_mask_storeu_epi8(out[0].cast(), mask, _mm512_castsi512_si128(bytes));
                _mm_mask_storeu_epi8(out[1].cast(), mask, _mm512_extracti32x4_epi32::<1>(bytes));
                _mm_mask_storeu_epi8(out[2].cast(), mask, _mm512_extracti32x4_epi32::<2>(bytes));
                _mm_mask_storeu_epi8(out[3].cast(), mask, _mm512_extracti32x4_epi32::<3>(bytes));
            }
        }
    }
}

tiles!("avx512f,avx512bw,avx512vl,avx512vnni", [1, 2, 4], true, true, true, true);
