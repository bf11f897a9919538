//! Tiles of bytes: widened to 16 bits, whose products are added to 32. They need no shift by 128.

use core::arch::aarch64::*;
use core::ops::Range;

use super::tiles::kit;
use super::{BLOCK, Job, Kit};
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, Shape};
use crate::level::arm::bytes::{ByteEnds as Ends, store_eight};
use crate::level::arm::simple::finish_bytes;
use crate::level::scalar;

pub(in crate::level::arm) const KERNEL: ByteKernel =
    ByteKernel { packed: |shape| KIT.packed(shape), pack, scratch: scalar::none, run };

const ROWS: usize = 1;
const ELEMENT: usize = 1;
const WEIGHT: usize = 2 * BLOCK;
/// Biases and multipliers.
const HEAD: usize = 8 * BLOCK;

kit!("neon" 7);

fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
    let depth = shape.depth();
    let heads =
        |channel| [constants.folded_bias(channel, depth).to_le_bytes(), constants.multiplier(channel).to_le_bytes()];
    let weight = |channel, tap| i16::from(constants.weight(channel, depth, tap)).to_le_bytes();
    KIT.pack(shape, heads, weight, out);
}

/// # Safety
/// As of [`ByteKernel::run`].
unsafe fn run(layer: &ByteLayer<'_>, rows: Range<usize>) {
    let (shape, ends) = (layer.shape, Ends::of(&layer.tail));
    // SAFETY: the caller's word; the rows' bytes are stored before they are looked up and added to.
    unsafe {
        KIT.run(shape, (layer.source, layer.target), layer.packed, &ends, rows.clone());
        rows.for_each(|y| finish_bytes(layer, y, 0, shape.size[1]));
    }
}

/// Sums of a block.
type Sums = [int32x4_t; 2];

/// # Safety
/// Biases of a block lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn start(at: *const u8) -> Sums {
    // SAFETY: the caller's word.
    unsafe { [vld1q_s32(at.cast()), vld1q_s32(at.add(16).cast())] }
}

/// # Safety
/// A tap's weights lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn weight(at: *const u8) -> int16x8_t {
    // SAFETY: the caller's word.
    unsafe { vld1q_s16(at.cast()) }
}

/// A step is one row.
#[inline(always)]
fn rows(_: &Job<'_, Ends>, _: usize, row: *const u8) -> *const u8 {
    row
}

/// # Safety
/// Eight bytes lie `at` bytes behind `row`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn value(row: *const u8, at: usize) -> int16x8_t {
    // SAFETY: the caller's word.
    vreinterpretq_s16_u16(vmovl_u8(unsafe { vld1_u8(row.add(at)) }))
}

#[inline]
#[target_feature(enable = "neon")]
fn dot([a, b]: Sums, weights: int16x8_t, values: int16x8_t) -> Sums {
    [vmlal_s16(a, vget_low_s16(weights), vget_low_s16(values)), vmlal_high_s16(b, weights, values)]
}

/// # Safety
/// `constants` are a block's; there is room for `channels` bytes at `out`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn end(job: &Job<'_, Ends>, constants: *const u8, out: *mut u8, [a, b]: Sums, channels: usize) {
    // SAFETY: the caller's word.
    unsafe {
        let steps = |sums, at| job.ends.steps(sums, vld1q_f32(constants.add(4 * BLOCK + at).cast()));
        store_eight(out, job.ends.eight(steps(a, 0), steps(b, 16)), channels);
    }
}
