//! Tiles of AVX2: up to 6 pixels by two vectors of 8 channels, of products of 16 bits added in pairs, which is exact.

use core::arch::x86_64::*;
use core::ops::Range;

use super::layout::{HEAD, Layout};
use super::tile::{entries, wide};
use super::ymm::{
    Vector, bounded, bytes, finish, first, keep, load, load_floats, pair, pixels, second, steps, store, word,
};
use super::{Tile, Tiles};
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, Shape};

static TILES: Tiles = Tiles {
    layout: Layout { lanes: 8, word: 2, narrow: false },
    wide: &[wide_1, wide_2, wide_3, wide_4, wide_5, wide_6],
    narrow: &[],
    quad: &[],
    finish,
    widen: Some(widen),
};

entries!();

/// Bytes as numbers of 16 bits.
#[target_feature(enable = "avx2,fma")]
unsafe fn widen(from: *const u8, to: *mut u16, count: usize) {
    // SAFETY: the caller's word.
    let (from, to) = unsafe { (core::slice::from_raw_parts(from, count), core::slice::from_raw_parts_mut(to, count)) };
    for (to, &from) in to.iter_mut().zip(from) {
        *to = u16::from(from);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot(sums: Vector, values: Vector, weights: Vector) -> Vector {
    _mm256_add_epi32(sums, _mm256_madd_epi16(values, weights))
}

wide! { "avx2,fma" ymm_reg []
    (wide_1 0 p0 a0 b0) (wide_2 1 p1 a1 b1) (wide_3 2 p2 a2 b2) (wide_4 3 p3 a3 b3) (wide_5 4 p4 a4 b4)
    (wide_6 5 p5 a5 b5)
}
