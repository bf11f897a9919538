//! Tiles of AVX-512 with VNNI for one vector of 16 channels, up to 14 pixels.

use core::arch::x86_64::*;

use super::avx512::{Vector, bounded, bytes, dot, keep, load, load_floats, steps, word};
use super::layout::{HEAD, QUAD_HEAD};
use super::tile::quad;
use super::{Ends, Tile};

/// # Safety
/// As of [`Tile`]; the CPU has AVX-512 with VNNI.
pub(super) static NARROW: [unsafe fn(&Tile<'_>); 14] = [
    narrow_1, narrow_2, narrow_3, narrow_4, narrow_5, narrow_6, narrow_7, narrow_8, narrow_9, narrow_10, narrow_11,
    narrow_12, narrow_13, narrow_14,
];

/// # Safety
/// As of [`Tile`]; the CPU has AVX-512 with VNNI.
pub(super) static QUAD: [unsafe fn(&Tile<'_>); 14] = [
    quad_1, quad_2, quad_3, quad_4, quad_5, quad_6, quad_7, quad_8, quad_9, quad_10, quad_11, quad_12, quad_13, quad_14,
];

/// Stores as many channels of 16 as a panel has.
///
/// # Safety
/// There is room for `channels` bytes, 1 to 16, at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn store_16(at: *mut u8, bytes: __m128i, channels: usize) {
    // SAFETY: the target has the channels.
    unsafe {
        if channels == 16 {
            _mm_storeu_si128(at.cast(), bytes);
        } else {
            _mm_mask_storeu_epi8(at.cast(), ((1u32 << channels) - 1) as u16, bytes);
        }
    }
}

/// Where a pixel's 16 channels go.
macro_rules! place {
    ($tile:ident $i:literal) => {
        (*$tile.places.add($i)).target.add($tile.channel)
    };
}

/// The tail of pixels of one vector, up to four pixels at a time.
macro_rules! narrow_tail {
    ($tile:ident $m:ident ;) => {};
    ($tile:ident $m:ident ; $i:literal $a:ident) => {
        narrow_tail!(@some $tile $m $a $a $a $a; $i => 0);
    };
    ($tile:ident $m:ident ; $i:literal $a:ident $j:literal $b:ident) => {
        narrow_tail!(@some $tile $m $a $b $a $b; $i => 0, $j => 1);
    };
    ($tile:ident $m:ident ; $i:literal $a:ident $j:literal $b:ident $k:literal $c:ident) => {
        narrow_tail!(@some $tile $m $a $b $c $c; $i => 0, $j => 1, $k => 2);
    };
    ($tile:ident $m:ident ; $i:literal $a:ident $j:literal $b:ident $k:literal $c:ident $l:literal $d:ident
        $($rest:tt)*) => {
        narrow_tail!(@some $tile $m $a $b $c $d; $i => 0, $j => 1, $k => 2, $l => 3);
        narrow_tail!($tile $m; $($rest)*);
    };
    (@keep $tile:ident $bytes:ident $i:literal $($more:literal)*) => {
        keep($tile.stage.cast::<Vector>().add($i / 4), $bytes);
    };
    (@some $tile:ident $m:ident $a:ident $b:ident $c:ident $d:ident; $($i:literal => $part:literal),*) => {
        let first = _mm512_packs_epi32(steps($a, $m), steps($b, $m));
        let second = _mm512_packs_epi32(steps($c, $m), steps($d, $m));
        let bytes = quarters(bytes(first, second, $tile.ends), $tile.ends);
        if $tile.stage.is_null() {
            $(store_16(place!($tile $i), _mm512_extracti32x4_epi32::<$part>(bytes), $tile.channels);)*
        } else {
            narrow_tail!(@keep $tile bytes $($i)*);
        }
    };
}

/// Tiles of one vector.
macro_rules! narrow {
    ([$($done:tt)*]) => {};
    ([$($done:tt)*] ($name:ident $i:literal $p:ident $a:ident) $($rest:tt)*) => {
        narrow!(@tile $name $($done)* $i $p $a);
        narrow!([$($done)* $i $p $a] $($rest)*);
    };
    (@tile $name:ident $($i:literal $p:ident $a:ident)*) => {
        /// # Safety
        /// As of [`Tile`], for a panel of `Kind::Narrow` and so many pixels.
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn $name(tile: &Tile<'_>) {
            // SAFETY: the panel is as `pack` wrote it; every pixel has all runs, and a word behind them may be read.
            unsafe {
                let panel = tile.panel.cast::<Vector>();
                let first = load(panel);
                $(let $p = (*tile.places.add($i)).source;)*
                $(let mut $a = first;)*
                let mut weights = panel.add(HEAD);
                for &at in tile.words {
                    let first = load(weights);
                    $($a = dot($a, word($p.add(at)), first);)*
                    weights = weights.add(1);
                }
                if tile.careful {
                    let first = load(panel.add(2));
                    $($a = bounded($a, first);)*
                }
                let m = load_floats(panel.add(1));
                narrow_tail!(tile m; $($i $a)*);
            }
        }
    };
}

narrow! { []
    (narrow_1 0 p0 a0) (narrow_2 1 p1 a1) (narrow_3 2 p2 a2) (narrow_4 3 p3 a3) (narrow_5 4 p4 a4) (narrow_6 5 p5 a5)
    (narrow_7 6 p6 a6) (narrow_8 7 p7 a7) (narrow_9 8 p8 a8) (narrow_10 9 p9 a9) (narrow_11 10 p10 a10)
    (narrow_12 11 p11 a11) (narrow_13 12 p12 a12) (narrow_14 13 p13 a13)
}

/// Four vectors packed to bytes, pixel by pixel.
///
/// # Safety
/// Nothing but the CPU's instructions: `Ends` is made of aligned vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn quarters(bytes: Vector, ends: &Ends) -> Vector {
    // SAFETY: `Ends` is made of vectors.
    _mm512_permutexvar_epi32(unsafe { _mm512_load_si512(ends.narrow.as_ptr().cast()) }, bytes)
}

/// Two words in every pair of lanes.
///
/// # Safety
/// Eight bytes lie at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn pair_of_words(at: *const u8) -> Vector {
    // SAFETY: the caller's word.
    _mm512_set1_epi64(unsafe { at.cast::<i64>().read_unaligned() })
}

/// Adds the two sums of every channel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn added(first: Vector, second: Vector) -> Vector {
    let (first, second) = (_mm512_castsi512_ps(first), _mm512_castsi512_ps(second));
    let even = _mm512_shuffle_ps::<0b10_00_10_00>(first, second);
    let odd = _mm512_shuffle_ps::<0b11_01_11_01>(first, second);
    _mm512_add_epi32(_mm512_castps_si512(even), _mm512_castps_si512(odd))
}

quad! { "avx512f,avx512bw,avx512vl,avx512vnni" zmm_reg []
    (quad_1 0 p0 a0 b0) (quad_2 1 p1 a1 b1) (quad_3 2 p2 a2 b2) (quad_4 3 p3 a3 b3) (quad_5 4 p4 a4 b4)
    (quad_6 5 p5 a5 b5) (quad_7 6 p6 a6 b6) (quad_8 7 p7 a7 b7) (quad_9 8 p8 a8 b8) (quad_10 9 p9 a9 b9)
    (quad_11 10 p10 a10 b10) (quad_12 11 p11 a11 b11) (quad_13 12 p12 a12 b12) (quad_14 13 p13 a13 b13)
}
