//! Tiles of bytes without `sdot`: up to 4 pixels by 4 channels.
//!
//! Sixteen products of a channel are made at a time, eight and eight, added in pairs to 16 bits, and these to 32. Inputs are
//! signed, less 128 (see `dotprod.rs`). A pair of products fits 16 bits, unless both are -128 times -128; where a layer has
//! such a pair of weights, each half is added to 32 bits for itself.

use core::arch::aarch64::*;
use core::ops::Range;

use super::{Kit, Tile};
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, Shape};
use crate::level::arm::bytes::{ByteEnds as Ends, shifted, store_four, values};
use crate::level::arm::simple::finish_bytes;

pub(in crate::level::arm) const KERNEL: ByteKernel =
    ByteKernel { packed: |shape| PAIRS.packed(shape), pack, scratch: |shape| PAIRS.scratch(shape), run };

/// Products in pairs.
static PAIRS: Kit<Ends> = Kit {
    element: 1,
    panels: [4, 4],
    head: 8,
    group: 16,
    word: 8,
    tiles: [pairs::TILES; 2],
    lines: [pairs::TILES[0]; 2],
};

/// Products for themselves.
static SINGLES: Kit<Ends> = Kit { tiles: [singles::TILES; 2], lines: [singles::TILES[0]; 2], ..PAIRS };

fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
    PAIRS.pack(shape, |channel| shifted(shape, constants, channel), constants.weights, out);
    out[0] = u8::from(fits(shape, constants.weights));
}

/// Whether no two weights whose products are added to 16 bits are -128.
fn fits(shape: &Shape, weights: &[u8]) -> bool {
    let least = |weight: Option<&u8>| weight == Some(&(i8::MIN as u8));
    let mut steps = weights.chunks_exact(shape.runs().length).flat_map(|run| run.chunks(16));
    steps.all(|step| (0..8).all(|at| !(least(step.get(at)) && least(step.get(at + 8)))))
}

/// # Safety
/// As of [`ByteKernel::run`].
unsafe fn run(layer: &ByteLayer<'_>, rows: Range<usize>) {
    // SAFETY: the caller's word; `pack` wrote a header; `after` is given pixels whose channels are all stored.
    unsafe {
        let kit = if *layer.packed == 0 { &SINGLES } else { &PAIRS };
        let after = |y, x, count| finish_bytes(layer, y, x, count);
        let (images, memory) = ((layer.source, layer.target), (layer.packed, layer.scratch));
        kit.run(layer.shape, images, memory, &Ends::of(&layer.tail), rows, after);
    }
}

/// Eight bytes of a pixel, less 128.
///
/// # Safety
/// 8 bytes lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn half(at: *const u8) -> int8x8_t {
    // SAFETY: the caller's word.
    veor_s8(unsafe { vld1_s8(at.cast()) }, vdup_n_s8(i8::MIN))
}

/// # Safety
/// As of [`Tile`], of pixel `at`. Each vector holds the parts of a channel's sum.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn end(tile: &Tile<'_, Ends>, at: usize, [a, b, c, d]: [int32x4_t; 4]) {
    let sums = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
    // SAFETY: `pack` wrote multipliers behind the biases; the target has so many channels.
    unsafe {
        let sums = vaddq_s32(sums, vld1q_s32(tile.panel.cast()));
        let steps = tile.ends.steps(sums, vld1q_f32(tile.panel.add(16).cast()));
        let bytes = tile.ends.eight(steps, steps);
        store_four((*tile.places.add(at)).target.add(tile.channel), bytes, tile.channels);
    }
}

/// Adds sixteen products, in pairs.
#[inline]
#[target_feature(enable = "neon")]
fn in_pairs(sums: int32x4_t, weights: int8x16_t, values: int8x16_t) -> int32x4_t {
    let products = vmull_s8(vget_low_s8(weights), vget_low_s8(values));
    vpadalq_s16(sums, vmlal_high_s8(products, weights, values))
}

/// Adds sixteen products.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::level::arm) fn one_by_one(sums: int32x4_t, weights: int8x16_t, values: int8x16_t) -> int32x4_t {
    let sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(weights), vget_low_s8(values)));
    vpadalq_s16(sums, vmull_high_s8(weights, values))
}

/// Tiles of a way to add products: one for each number of pixels up to all that are listed.
macro_rules! tiles {
    ($module:ident $dot:ident $($name:ident $i:literal)+) => {
        mod $module {
            use super::super::Function;
            use super::*;

            pub(super) static TILES: &[Function<Ends>] = &[$($name),+];

            tiles! { @each $dot [] $($name $i)+ }
        }
    };
    (@each $dot:ident [$($done:literal)*]) => {};
    (@each $dot:ident [$($done:literal)*] $name:ident $i:literal $($rest:tt)*) => {
        tiles! { @tile $dot $name $($done)* $i }
        tiles! { @each $dot [$($done)* $i] $($rest)* }
    };
    (@tile $dot:ident $name:ident $($i:literal)+) => {
        /// # Safety
        /// As of [`Tile`], for so many pixels.
        #[target_feature(enable = "neon")]
        unsafe fn $name(tile: &Tile<'_, Ends>) {
            // SAFETY: the panel is as `pack` wrote it; every pixel has all runs, and 16 bytes behind them may be read.
            unsafe {
                let mut weights = tile.panel.add(32).cast::<i8>();
                let mut sums = [$({ let _ = $i; [vdupq_n_s32(0); 4] }),+];
                let sources = [$((*tile.places.add($i)).source),+];
                for y in 0..tile.runs[0] {
                    for x in 0..tile.runs[1] {
                        let mut at = y * tile.steps[0] + x * tile.steps[1];
                        for _ in 0..tile.whole {
                            let x = [$(values(sources[$i].add(at))),+];
                            let w = vld1q_s8(weights);
                            $(sums[$i][0] = $dot(sums[$i][0], w, x[$i]);)+
                            let w = vld1q_s8(weights.add(16));
                            $(sums[$i][1] = $dot(sums[$i][1], w, x[$i]);)+
                            let w = vld1q_s8(weights.add(32));
                            $(sums[$i][2] = $dot(sums[$i][2], w, x[$i]);)+
                            let w = vld1q_s8(weights.add(48));
                            $(sums[$i][3] = $dot(sums[$i][3], w, x[$i]);)+
                            weights = weights.add(64);
                            at += 16;
                        }
                        if tile.rest > 0 {
                            let x = [$(half(sources[$i].add(at))),+];
                            let w = vld1_s8(weights);
                            $(sums[$i][0] = vpadalq_s16(sums[$i][0], vmull_s8(w, x[$i]));)+
                            let w = vld1_s8(weights.add(8));
                            $(sums[$i][1] = vpadalq_s16(sums[$i][1], vmull_s8(w, x[$i]));)+
                            let w = vld1_s8(weights.add(16));
                            $(sums[$i][2] = vpadalq_s16(sums[$i][2], vmull_s8(w, x[$i]));)+
                            let w = vld1_s8(weights.add(24));
                            $(sums[$i][3] = vpadalq_s16(sums[$i][3], vmull_s8(w, x[$i]));)+
                            weights = weights.add(32);
                        }
                    }
                }
                $(end(tile, $i, sums[$i]);)+
            }
        }
    };
}

tiles! { pairs in_pairs pixels_1 0 pixels_2 1 pixels_3 2 pixels_4 3 }
tiles! { singles one_by_one pixels_1 0 pixels_2 1 pixels_3 2 pixels_4 3 }
