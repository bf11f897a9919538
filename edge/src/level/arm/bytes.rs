//! Bytes less 128 and what that makes of biases, sums as bytes, bytes and floats stored.

use core::arch::aarch64::*;

use crate::layer::{ByteConstants, ByteTail, Shape};

/// What sums of a layer are kept to.
#[derive(Clone, Copy)]
pub(super) struct ByteEnds {
    /// Zero point of the output.
    zero: i16,
    /// The least byte's distance from the zero point.
    least: f32,
    /// Largest byte.
    high: u8,
}

impl ByteEnds {
    pub(super) fn new(zero: u8, low: u8, high: u8) -> Self {
        Self { zero: zero.into(), least: f32::from(low) - f32::from(zero), high }
    }

    pub(super) fn of(tail: &ByteTail<'_>) -> Self {
        Self::new(tail.zero, tail.low, tail.high)
    }

    /// Floats as whole numbers, ties to even. What is no number is the least one; beyond an `i32` the conversion saturates.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn whole(&self, x: float32x4_t) -> int32x4_t {
        vcvtnq_s32_f32(vmaxnmq_f32(x, vdupq_n_f32(self.least)))
    }

    /// `f32(sum) * multiplier` as whole numbers.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn steps(&self, sums: int32x4_t, multipliers: float32x4_t) -> int32x4_t {
        self.whole(vmulq_f32(vcvtq_f32_s32(sums), multipliers))
    }

    /// Eight whole numbers as 16 bits, the zero point added.
    #[inline]
    #[target_feature(enable = "neon")]
    fn half(&self, a: int32x4_t, b: int32x4_t) -> int16x8_t {
        vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), vdupq_n_s16(self.zero))
    }

    /// Sixteen whole numbers as bytes.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn bytes(&self, [a, b, c, d]: [int32x4_t; 4]) -> uint8x16_t {
        let bytes = vqmovun_high_s16(vqmovun_s16(self.half(a, b)), self.half(c, d));
        vminq_u8(bytes, vdupq_n_u8(self.high))
    }

    /// Eight whole numbers as bytes.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn eight(&self, a: int32x4_t, b: int32x4_t) -> uint8x8_t {
        vmin_u8(vqmovun_s16(self.half(a, b)), vdup_n_u8(self.high))
    }
}

/// Bytes of a pixel, less 128.
///
/// # Safety
/// 16 bytes lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn values(at: *const u8) -> int8x16_t {
    // SAFETY: the caller's word.
    veorq_s8(unsafe { vld1q_s8(at.cast()) }, vdupq_n_s8(i8::MIN))
}

/// Writes the first `count` bytes, 1 to 16.
///
/// # Safety
/// There is room for them at `out`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn store(out: *mut u8, bytes: uint8x16_t, count: usize) {
    // SAFETY: the caller's word.
    unsafe {
        if count == 16 {
            vst1q_u8(out, bytes);
        } else if count > 8 {
            vst1_u8(out, vget_low_u8(bytes));
            store_eight(out.add(8), vget_high_u8(bytes), count - 8);
        } else {
            store_eight(out, vget_low_u8(bytes), count);
        }
    }
}

/// Writes the first `count` bytes, 1 to 8.
///
/// # Safety
/// There is room for them at `out`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn store_eight(out: *mut u8, bytes: uint8x8_t, count: usize) {
    // SAFETY: the caller's word.
    unsafe { if count == 8 { vst1_u8(out, bytes) } else { store_some(out, bytes, count) } };
}

/// Writes the first `count` bytes, fewer than 8.
///
/// # Safety
/// There is room for them at `out`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_some(mut out: *mut u8, bytes: uint8x8_t, count: usize) {
    let mut word = vget_lane_u64::<0>(vreinterpret_u64_u8(bytes));
    // SAFETY: the caller's word.
    unsafe {
        if count & 4 != 0 {
            out.cast::<u32>().write_unaligned(word as u32);
            (out, word) = (out.add(4), word >> 32);
        }
        if count & 2 != 0 {
            out.cast::<u16>().write_unaligned(word as u16);
            (out, word) = (out.add(2), word >> 16);
        }
        if count & 1 != 0 {
            out.write(word as u8);
        }
    }
}

/// Writes the first `count` floats, 1 to 4.
///
/// # Safety
/// There is room for them at `out`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn store_floats(out: *mut f32, x: float32x4_t, count: usize) {
    // SAFETY: the caller's word.
    unsafe {
        match count {
            1 => vst1q_lane_f32::<0>(out, x),
            2 => vst1_f32(out, vget_low_f32(x)),
            3 => {
                vst1_f32(out, vget_low_f32(x));
                vst1q_lane_f32::<2>(out.add(2), x);
            }
            _ => vst1q_f32(out, x),
        }
    }
}

/// Writes the first `count` bytes, 1 to 4.
///
/// # Safety
/// There is room for them at `out`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn store_four(out: *mut u8, bytes: uint8x8_t, count: usize) {
    // SAFETY: the caller's word.
    unsafe {
        if count == 4 {
            vst1_lane_u32::<0>(out.cast(), vreinterpret_u32_u8(bytes));
        } else {
            store_some(out, bytes, count);
        }
    }
}

/// A channel's bias, with which tiles multiply bytes less 128, and its multiplier.
pub(super) fn shifted(shape: &Shape, constants: ByteConstants<'_>, channel: usize) -> [[u8; 4]; 2] {
    let depth = shape.depth();
    let sum: i32 = (0..depth).map(|at| i32::from(constants.weight(channel, depth, at))).sum();
    let bias = constants.folded_bias(channel, depth).wrapping_add(sum.wrapping_mul(128));
    [bias.to_le_bytes(), constants.multiplier(channel).to_le_bytes()]
}
