//! What is computed element by element: sums of bytes and tables with vectors of our own, the rest as the compiler makes
//! vectors of the plain bodies. And what follows the tiles of a layer.

use core::arch::aarch64::*;

use super::bytes::{ByteEnds, store};
use crate::layer::{ByteLayer, FloatFunction, FloatLayer, FloatTail};
use crate::simple::{Addition, Simple, portable};

pub(super) const TABLE: Simple = Simple { add_u8, table, ..portable::TABLE };

/// Bytes of a vector.
const BYTES: usize = 16;

/// 16 bytes, or the first `count`, where there are fewer.
///
/// # Safety
/// `count` bytes lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(at: *const u8, count: usize) -> uint8x16_t {
    // SAFETY: the caller's word; there is room for fewer than 16.
    unsafe {
        if count >= BYTES {
            return vld1q_u8(at);
        }
        let mut bytes = [0u8; BYTES];
        core::ptr::copy_nonoverlapping(at, bytes.as_mut_ptr(), count);
        vld1q_u8(bytes.as_ptr())
    }
}

/// Bytes as floats.
#[inline]
#[target_feature(enable = "neon")]
fn floats(bytes: uint8x16_t) -> [float32x4_t; 4] {
    let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
    [
        vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
        vcvtq_f32_u32(vmovl_high_u16(low)),
        vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
        vcvtq_f32_u32(vmovl_high_u16(high)),
    ]
}

/// # Safety
/// As of `Simple::add_u8`.
#[target_feature(enable = "neon")]
unsafe fn add_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Addition) {
    let [first, second, offset] = [how.sum.first, how.sum.second, how.sum.offset].map(|x| vdupq_n_f32(x));
    let ends = ByteEnds::new(0, how.low, how.high);
    let sum = |x, y| ends.whole(vfmaq_f32(vfmaq_f32(offset, y, second), x, first));
    let mut at = 0;
    while at < length {
        let count = (length - at).min(BYTES);
        // SAFETY: the caller gives `length` elements of each.
        unsafe {
            let ([x0, x1, x2, x3], [y0, y1, y2, y3]) = (floats(load(a.add(at), count)), floats(load(b.add(at), count)));
            store(out.add(at), ends.bytes([sum(x0, y0), sum(x1, y1), sum(x2, y2), sum(x3, y3)]), count);
        }
        at += BYTES;
    }
}

/// # Safety
/// As of `Simple::table`.
#[target_feature(enable = "neon")]
unsafe fn table(a: *const u8, out: *mut u8, length: usize, table: &[u8; 256]) {
    // SAFETY: a table has four times 64 bytes; the caller gives `length` elements of each.
    unsafe {
        let quarter = |at: usize| vld1q_u8_x4(table.as_ptr().add(64 * at));
        let (first, second, third, fourth) = (quarter(0), quarter(1), quarter(2), quarter(3));
        let mut at = 0;
        while at < length {
            let count = (length - at).min(BYTES);
            let x = load(a.add(at), count);
            // Beyond 63 the first answers 0, and the others keep what is there.
            let found = vqtbl4q_u8(first, x);
            let found = vqtbx4q_u8(found, second, veorq_u8(x, vdupq_n_u8(64)));
            let found = vqtbx4q_u8(found, third, veorq_u8(x, vdupq_n_u8(128)));
            let found = vqtbx4q_u8(found, fourth, veorq_u8(x, vdupq_n_u8(192)));
            store(out.add(at), found, count);
            at += BYTES;
        }
    }
}

/// The table and the residual addition of `count` pixels of a row from `y, x` on.
///
/// # Safety
/// The layer is as `layer.rs` says, and these are pixels of it whose bytes are stored.
pub(super) unsafe fn finish_bytes(layer: &ByteLayer<'_>, y: usize, x: usize, count: usize) {
    let (tail, channels) = (&layer.tail, layer.shape.channels());
    if tail.table.is_none() && tail.residual.is_none() {
        return;
    }
    // Pixels without a gap are computed as one.
    let whole = layer.target.pixel == channels && tail.residual.is_none_or(|residual| residual.other.pixel == channels);
    let (pixels, length) = if whole { (1, count * channels) } else { (count, channels) };
    for x in x..x + pixels {
        // SAFETY: the pixel is the output's, and so is the residual's; element by element one may be written in place.
        unsafe {
            let out = layer.target.pixel(y, x);
            if let Some(values) = tail.table {
                table(out, out, length, values);
            }
            if let Some(residual) = &tail.residual {
                let how = Addition { sum: residual.sum, low: residual.low, high: residual.high };
                let other = residual.other.pixel(y, x);
                let (first, second) =
                    if residual.swapped { (other, out.cast_const()) } else { (out.cast_const(), other) };
                add_u8(first, second, out, length, &how);
            }
        }
    }
}

/// What tiles keep sums to themselves: a clamp, where nothing is added before.
pub(super) fn range(tail: &FloatTail) -> [f32; 2] {
    match tail.function {
        FloatFunction::Clamp { low, high } if tail.residual.is_none() => [low, high],
        FloatFunction::Clamp { .. }
        | FloatFunction::HardSwish
        | FloatFunction::HardSigmoid
        | FloatFunction::Sigmoid
        | FloatFunction::Silu
        | FloatFunction::Gelu
        | FloatFunction::GeluTanh
        | FloatFunction::LeakyRelu { .. } => [f32::NEG_INFINITY, f32::INFINITY],
    }
}

/// What tiles leave to be done to `count` pixels of a row from `y, x` on: the residual addition and the function.
///
/// # Safety
/// The layer is as `layer.rs` says, and these are pixels of it whose sums are stored.
pub(super) unsafe fn finish_floats(layer: &FloatLayer<'_>, y: usize, x: usize, count: usize) {
    let (FloatTail { residual, function }, channels) = (layer.tail, layer.shape.channels());
    if residual.is_none() && matches!(function, FloatFunction::Clamp { .. }) {
        return;
    }
    let whole = layer.target.pixel == channels && residual.is_none_or(|other| other.pixel == channels);
    let (pixels, length) = if whole { (1, count * channels) } else { (count, channels) };
    for x in x..x + pixels {
        // SAFETY: as for bytes.
        unsafe {
            let out = layer.target.pixel(y, x);
            match residual {
                Some(other) => (TABLE.add_f32)(out, other.pixel(y, x), out, length, function),
                None => (TABLE.function_f32)(out, out, length, function),
            }
        }
    }
}
