//! Tiles of floats: up to 5 pixels by four vectors of channels, or 8 by two.

use core::arch::aarch64::*;
use core::ops::Range;

use super::tiles::{line, words};
use super::{Kit, Tile};
use crate::layer::{FloatConstants, FloatKernel, FloatLayer, Shape, Source, Target};
use crate::level::arm::bytes::store_floats;
use crate::level::arm::simple::{finish_floats, range};
use crate::level::scalar;

pub(in crate::level::arm) const KERNEL: FloatKernel = FloatKernel {
    packed: |shape| KIT.packed(shape),
    pack,
    scratch: |shape| KIT.scratch(shape),
    run,
    rows_together: scalar::one,
};

/// Least and largest value.
type Ends = [f32; 2];

static KIT: Kit<Ends> = Kit {
    element: 4,
    panels: [16, 8],
    head: 4,
    group: 4,
    word: 4,
    tiles: [
        &[wide_1, wide_2, wide_3, wide_4, wide_5],
        &[narrow_1, narrow_2, narrow_3, narrow_4, narrow_5, narrow_6, narrow_7, narrow_8],
    ],
    lines: [wide_line, narrow_line],
};

fn pack(shape: &Shape, constants: FloatConstants<'_>, out: &mut [u8]) {
    KIT.pack(shape, |channel| [constants.bias(channel).to_le_bytes()], constants.weights, out);
}

/// # Safety
/// As of [`FloatKernel::run`].
unsafe fn run(layer: &FloatLayer<'_>, rows: Range<usize>) {
    let (source, target) = (layer.source, layer.target);
    let source = Source { at: source.at.cast::<u8>(), row: 4 * source.row, pixel: 4 * source.pixel };
    let target = Target { at: target.at.cast::<u8>(), row: 4 * target.row, pixel: 4 * target.pixel };
    // SAFETY: the caller's word; `after` is given pixels whose channels are all stored.
    unsafe {
        let after = |y, x, count| finish_floats(layer, y, x, count);
        KIT.run(layer.shape, (source, target), (layer.packed, layer.scratch), &range(&layer.tail), rows, after);
    }
}

/// # Safety
/// Four floats lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(at: *const u8) -> float32x4_t {
    // SAFETY: the caller's word.
    unsafe { vld1q_f32(at.cast()) }
}

use load as start;
use load as values;

#[inline]
#[target_feature(enable = "neon")]
fn none(_: usize) -> float32x4_t {
    vdupq_n_f32(0.0)
}

#[inline]
#[target_feature(enable = "neon")]
fn dot<const LANE: i32>(sums: float32x4_t, weights: float32x4_t, values: float32x4_t) -> float32x4_t {
    vfmaq_laneq_f32::<LANE>(sums, weights, values)
}

use vaddq_f32 as add;

/// # Safety
/// As of [`Tile`], of pixel `at`; the panel has four vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn wide_end(tile: &Tile<'_, Ends>, at: usize, [a, b, c, d]: [float32x4_t; 4]) {
    let [a, b, c, d] = [kept(tile, a), kept(tile, b), kept(tile, c), kept(tile, d)];
    // SAFETY: the target has so many channels, more than 8.
    unsafe {
        let out = (*tile.places.add(at)).target.add(tile.channel).cast::<f32>();
        vst1q_f32(out, a);
        vst1q_f32(out.add(4), b);
        if tile.channels == 16 {
            vst1q_f32(out.add(8), c);
            vst1q_f32(out.add(12), d);
        } else {
            store_floats(out.add(8), c, (tile.channels - 8).min(4));
            if tile.channels > 12 {
                store_floats(out.add(12), d, tile.channels - 12);
            }
        }
    }
}

/// # Safety
/// As of [`Tile`], of pixel `at`; the panel has two vectors.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn narrow_end(tile: &Tile<'_, Ends>, at: usize, [a, b]: [float32x4_t; 2]) {
    let [a, b] = [kept(tile, a), kept(tile, b)];
    // SAFETY: the target has so many channels.
    unsafe {
        let out = (*tile.places.add(at)).target.add(tile.channel).cast::<f32>();
        store_floats(out, a, tile.channels.min(4));
        if tile.channels > 4 {
            store_floats(out.add(4), b, tile.channels - 4);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn kept(tile: &Tile<'_, Ends>, x: float32x4_t) -> float32x4_t {
    let [low, high] = *tile.ends;
    vminq_f32(vmaxq_f32(x, vdupq_n_f32(low)), vdupq_n_f32(high))
}

words! { "neon" wide_end 1 [0 1 2 3] [] wide_1 0 wide_2 1 wide_3 2 wide_4 3 wide_5 4 }
words! { "neon" narrow_end 1 [0 1] []
    narrow_1 0 narrow_2 1 narrow_3 2 narrow_4 3 narrow_5 4 narrow_6 5 narrow_7 6 narrow_8 7
}
line! { "neon" wide_end 1 [0 1 2 3] wide_line }
line! { "neon" narrow_end 1 [0 1] narrow_line }
