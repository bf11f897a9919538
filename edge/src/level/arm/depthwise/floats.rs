//! Tiles of floats.

use core::arch::aarch64::*;
use core::ops::Range;

use super::tiles::kit;
use super::{BLOCK, Job, Kit};
use crate::layer::{FloatConstants, FloatKernel, FloatLayer, Shape, Source, Target};
use crate::level::arm::bytes::store_floats;
use crate::level::arm::simple::{finish_floats, range};
use crate::level::scalar;

pub(in crate::level::arm) const KERNEL: FloatKernel =
    FloatKernel { packed: |shape| KIT.packed(shape), pack, scratch: scalar::none, run, rows_together: scalar::one };

const ROWS: usize = 1;
const ELEMENT: usize = 4;
const WEIGHT: usize = 4 * BLOCK;
/// Biases.
const HEAD: usize = 4 * BLOCK;

/// Least and largest value.
type Ends = [f32; 2];

kit!("neon" 7);

fn pack(shape: &Shape, constants: FloatConstants<'_>, out: &mut [u8]) {
    let weight = |channel, tap| constants.weight(channel, shape.depth(), tap).to_le_bytes();
    KIT.pack(shape, |channel| [constants.bias(channel).to_le_bytes()], weight, out);
}

/// # Safety
/// As of [`FloatKernel::run`].
unsafe fn run(layer: &FloatLayer<'_>, rows: Range<usize>) {
    let (source, target) = (layer.source, layer.target);
    let source = Source { at: source.at.cast::<u8>(), row: 4 * source.row, pixel: 4 * source.pixel };
    let target = Target { at: target.at.cast::<u8>(), row: 4 * target.row, pixel: 4 * target.pixel };
    // SAFETY: the caller's word; the rows' sums are stored before they are added to.
    unsafe {
        KIT.run(layer.shape, (source, target), layer.packed, &range(&layer.tail), rows.clone());
        rows.for_each(|y| finish_floats(layer, y, 0, layer.shape.size[1]));
    }
}

/// Numbers of a block.
type Block = [float32x4_t; 2];

/// # Safety
/// A block's numbers lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn start(at: *const u8) -> Block {
    // SAFETY: the caller's word.
    unsafe { [vld1q_f32(at.cast()), vld1q_f32(at.add(16).cast())] }
}

use start as weight;

/// A step is one row.
#[inline(always)]
fn rows(_: &Job<'_, Ends>, _: usize, row: *const u8) -> *const u8 {
    row
}

/// # Safety
/// A block's numbers lie `at` bytes behind `row`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn value(row: *const u8, at: usize) -> Block {
    // SAFETY: the caller's word.
    unsafe { start(row.add(at)) }
}

#[inline]
#[target_feature(enable = "neon")]
fn dot(sums: Block, weights: Block, values: Block) -> Block {
    [vfmaq_f32(sums[0], weights[0], values[0]), vfmaq_f32(sums[1], weights[1], values[1])]
}

/// # Safety
/// There is room for `channels` floats at `out`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn end(job: &Job<'_, Ends>, _: *const u8, out: *mut u8, [a, b]: Block, channels: usize) {
    let [low, high] = job.ends.map(|limit| vdupq_n_f32(limit));
    let kept = |x| vminq_f32(vmaxq_f32(x, low), high);
    let out = out.cast::<f32>();
    // SAFETY: the caller's word.
    unsafe {
        if channels == BLOCK {
            vst1q_f32(out, kept(a));
            vst1q_f32(out.add(4), kept(b));
        } else {
            store_floats(out, kept(a), channels.min(4));
            if channels > 4 {
                store_floats(out.add(4), kept(b), channels - 4);
            }
        }
    }
}
