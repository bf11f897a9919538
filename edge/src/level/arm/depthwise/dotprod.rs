//! Tiles of bytes with `sdot`: four rows of bytes are interleaved, so that one instruction multiplies and adds a column of up to
//! four taps of four channels. Inputs are shifted by 128 as in dense tiles.

use core::arch::aarch64::*;
use core::ops::Range;

use super::bytes;
use super::tiles::kit;
use super::{BLOCK, Job, Kit, STEPS};
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, Shape};
use crate::level::arm::bytes::{ByteEnds as Ends, shifted};
use crate::level::arm::dense::dotprod::products;
use crate::level::arm::simple::finish_bytes;
use crate::level::scalar;

pub(in crate::level::arm) const KERNEL: ByteKernel = ByteKernel { packed, pack, scratch: scalar::none, run };

const ROWS: usize = 4;
const ELEMENT: usize = 1;
const WEIGHT: usize = ROWS * BLOCK;
/// Biases and multipliers.
const HEAD: usize = 8 * BLOCK;

kit!("neon,dotprod" 4);

/// Whether steps of four rows are worth it, and there are not too many.
fn wanted(shape: &Shape) -> bool {
    (3..=ROWS * STEPS).contains(&shape.kernel[0])
}

fn packed(shape: &Shape) -> usize {
    if wanted(shape) { KIT.packed(shape) } else { (bytes::KERNEL.packed)(shape) }
}

fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
    if !wanted(shape) {
        return (bytes::KERNEL.pack)(shape, constants, out);
    }
    let [high, wide] = shape.kernel;
    let weight = |channel, column| {
        let (step, x) = (column / wide, column % wide);
        [0, 1, 2, 3].map(|row| {
            let y = ROWS * step + row;
            if y < high { constants.weight(channel, shape.depth(), y * wide + x) as u8 } else { 0 }
        })
    };
    KIT.pack(shape, |channel| shifted(shape, constants, channel), weight, out);
}

/// # Safety
/// As of [`ByteKernel::run`].
unsafe fn run(layer: &ByteLayer<'_>, rows: Range<usize>) {
    let (shape, ends) = (layer.shape, Ends::of(&layer.tail));
    // SAFETY: the caller's word; the rows' bytes are stored before they are looked up and added to.
    unsafe {
        if !wanted(shape) {
            return (bytes::KERNEL.run)(layer, rows);
        }
        KIT.run(shape, (layer.source, layer.target), layer.packed, &ends, rows.clone());
        rows.for_each(|y| finish_bytes(layer, y, 0, shape.size[1]));
    }
}

use bytes::{end, start};

/// # Safety
/// A column's weights lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn weight(at: *const u8) -> [int8x16_t; 2] {
    // SAFETY: the caller's word.
    unsafe { [vld1q_s8(at.cast()), vld1q_s8(at.add(16).cast())] }
}

/// The four rows of a step.
#[inline(always)]
fn rows(job: &Job<'_, Ends>, step: usize, row: *const u8) -> [*const u8; 4] {
    let [b, c, d] = job.rows[step % STEPS];
    [row, row.wrapping_add(b), row.wrapping_add(c), row.wrapping_add(d)]
}

/// A column of four rows, channel by channel, less 128.
///
/// # Safety
/// Eight bytes lie `at` bytes behind each of the rows.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn value([a, b, c, d]: [*const u8; 4], at: usize) -> [int8x16_t; 2] {
    // SAFETY: the caller's word.
    let [a, b, c, d] = unsafe { [vld1_u8(a.add(at)), vld1_u8(b.add(at)), vld1_u8(c.add(at)), vld1_u8(d.add(at))] };
    let pairs = |a, b| {
        let (a, b) = (vcombine_u8(a, a), vcombine_u8(b, b));
        vreinterpretq_s16_u8(veorq_u8(vzip1q_u8(a, b), vdupq_n_u8(128)))
    };
    let (ab, cd) = (pairs(a, b), pairs(c, d));
    [vreinterpretq_s8_s16(vzip1q_s16(ab, cd)), vreinterpretq_s8_s16(vzip2q_s16(ab, cd))]
}

/// Adds a column's products.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(sums: [int32x4_t; 2], weights: [int8x16_t; 2], values: [int8x16_t; 2]) -> [int32x4_t; 2] {
    [products(sums[0], weights[0], values[0]), products(sums[1], weights[1], values[1])]
}
