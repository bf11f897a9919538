//! Tiles of bytes with `sdot`: up to 5 pixels by four vectors of channels, or 8 by two.
//!
//! `sdot` multiplies signed bytes: inputs are shifted by 128 when they are loaded, which their top bit's change does, and
//! biases have 128 times the sum of weights more.

use core::arch::aarch64::*;
use core::arch::asm;
use core::ops::Range;

use super::tiles::{line, words};
use super::{Kit, Tile};
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, Shape};
use crate::level::arm::bytes::{ByteEnds as Ends, shifted, store, store_eight, values};
use crate::level::arm::simple::finish_bytes;

pub(in crate::level::arm) const KERNEL: ByteKernel =
    ByteKernel { packed: |shape| KIT.packed(shape), pack, scratch: |shape| KIT.scratch(shape), run };

static KIT: Kit<Ends> = Kit {
    element: 1,
    panels: [16, 8],
    head: 8,
    group: 4,
    word: 4,
    tiles: [
        &[wide_1, wide_2, wide_3, wide_4, wide_5],
        &[narrow_1, narrow_2, narrow_3, narrow_4, narrow_5, narrow_6, narrow_7, narrow_8],
    ],
    lines: [wide_line, narrow_line],
};

fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
    KIT.pack(shape, |channel| shifted(shape, constants, channel), constants.weights, out);
}

/// # Safety
/// As of [`ByteKernel::run`].
unsafe fn run(layer: &ByteLayer<'_>, rows: Range<usize>) {
    // SAFETY: the caller's word; `after` is given pixels whose channels are all stored.
    unsafe {
        let after = |y, x, count| finish_bytes(layer, y, x, count);
        let (images, memory) = ((layer.source, layer.target), (layer.packed, layer.scratch));
        KIT.run(layer.shape, images, memory, &Ends::of(&layer.tail), rows, after);
    }
}

/// # Safety
/// Four sums lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn start(at: *const u8) -> int32x4_t {
    // SAFETY: the caller's word.
    unsafe { vld1q_s32(at.cast()) }
}

/// # Safety
/// 16 bytes lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(at: *const u8) -> int8x16_t {
    // SAFETY: the caller's word.
    unsafe { vld1q_s8(at.cast()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn none(_: usize) -> int32x4_t {
    vdupq_n_s32(0)
}

/// Adds the products of four channels' weights with word `LANE` of a pixel; `core::arch` has no stable name for it.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const LANE: i32>(mut sums: int32x4_t, weights: int8x16_t, values: int8x16_t) -> int32x4_t {
    // SAFETY: an instruction of registers, which the CPU has.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {values:v}.4b[{lane}]",
            sums = inout(vreg) sums, weights = in(vreg) weights, values = in(vreg) values, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Adds sixteen products, four to a sum; likewise.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(in crate::level::arm) fn products(mut sums: int32x4_t, weights: int8x16_t, values: int8x16_t) -> int32x4_t {
    // SAFETY: an instruction of registers, which the CPU has.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {values:v}.16b",
            sums = inout(vreg) sums, weights = in(vreg) weights, values = in(vreg) values,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

use vaddq_s32 as add;

/// # Safety
/// As of [`Tile`], of pixel `at`; the panel has four vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn wide_end(tile: &Tile<'_, Ends>, at: usize, [a, b, c, d]: [int32x4_t; 4]) {
    // SAFETY: `pack` wrote multipliers behind the biases; the target has so many channels.
    unsafe {
        let multipliers = tile.panel.add(64).cast::<f32>();
        let steps = |sums, at| tile.ends.steps(sums, vld1q_f32(multipliers.add(at)));
        let bytes = tile.ends.bytes([steps(a, 0), steps(b, 4), steps(c, 8), steps(d, 12)]);
        store((*tile.places.add(at)).target.add(tile.channel), bytes, tile.channels);
    }
}

/// # Safety
/// As of [`Tile`], of pixel `at`; the panel has two vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn narrow_end(tile: &Tile<'_, Ends>, at: usize, [a, b]: [int32x4_t; 2]) {
    // SAFETY: as above.
    unsafe {
        let multipliers = tile.panel.add(32).cast::<f32>();
        let steps = |sums, at| tile.ends.steps(sums, vld1q_f32(multipliers.add(at)));
        let bytes = tile.ends.eight(steps(a, 0), steps(b, 4));
        store_eight((*tile.places.add(at)).target.add(tile.channel), bytes, tile.channels);
    }
}

words! { "neon,dotprod" wide_end 2 [0 1 2 3] [] wide_1 0 wide_2 1 wide_3 2 wide_4 3 wide_5 4 }
words! { "neon,dotprod" narrow_end 2 [0 1] []
    narrow_1 0 narrow_2 1 narrow_3 2 narrow_4 3 narrow_5 4 narrow_6 5 narrow_7 6 narrow_8 7
}
line! { "neon,dotprod" wide_end 2 [0 1 2 3] wide_line }
line! { "neon,dotprod" narrow_end 2 [0 1] narrow_line }
