//! Layers of bytes whose answers are floats: products with weights where they lie in the plan, four channels at a time, a
//! row of the output by four channels after the other. Of the last layer of a classifier every weight is needed once: it is
//! read in order, and nothing of it is kept a second time.

use core::arch::aarch64::*;
use core::ops::Range;

use super::bytes::{shifted, values};
use super::dense::{dotprod, neon};
use crate::arithmetic::scaled;
use crate::layer::{ByteConstants, MixedKernel, MixedLayer, Runs, Shape, f32_at, i32_at};
use crate::level::scalar;

pub(super) const NEON: MixedKernel = MixedKernel { packed: scalar::MIXED.packed, pack, run: singles::run };
pub(super) const NEON_DOTPROD: MixedKernel = MixedKernel { run: fours::run, ..NEON };

/// Bytes of a step.
const STEP: usize = 16;

/// Whether runs are long enough for vectors.
fn wanted(shape: &Shape) -> bool {
    shape.runs().length >= STEP
}

/// A bias and a multiplier a channel, as the plain level has them or, for vectors, for bytes less 128.
fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
    if !wanted(shape) {
        return (scalar::MIXED.pack)(shape, constants, out);
    }
    for (channel, pair) in out.chunks_exact_mut(8).enumerate().take(shape.channels()) {
        pair.copy_from_slice(shifted(shape, constants, channel).as_flattened());
    }
}

/// The first `count` weights, fewer than 16, and zeros, without a byte behind them.
///
/// # Safety
/// `count` bytes lie at `at`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn some(at: *const u8, count: usize) -> int8x16_t {
    let mut all = [0u8; STEP];
    // SAFETY: the caller's word; there are fewer than 16.
    unsafe {
        all.as_mut_ptr().copy_from_nonoverlapping(at, count);
        vld1q_s8(all.as_ptr().cast())
    }
}

/// A level's loop over what its `dot` multiplies.
macro_rules! mixed {
    ($module:ident $features:literal $dot:path) => {
        mod $module {
            use super::*;

            /// # Safety
            /// As of [`MixedKernel::run`].
            pub(super) unsafe fn run(layer: &MixedLayer<'_>, rows: Range<usize>) {
                // SAFETY: the caller's word.
                unsafe { if wanted(layer.shape) { all(layer, rows) } else { scalar::mixed(layer, rows) } };
            }

            /// # Safety
            /// As of [`MixedKernel::run`]; `pack` has shifted the biases.
            #[target_feature(enable = $features)]
            unsafe fn all(layer: &MixedLayer<'_>, rows: Range<usize>) {
                let shape = layer.shape;
                let depth = shape.depth();
                // SAFETY: `pack` wrote a pair of four bytes a channel; every channel has its weights; the source has all runs
                // and 64 bytes behind them, the target the pixels and channels.
                unsafe {
                    let packed = core::slice::from_raw_parts(layer.packed, 8 * shape.channels());
                    for (y, group) in rows.flat_map(|y| (0..shape.groups).map(move |group| (y, group))) {
                        for first in (0..shape.outputs).step_by(4) {
                            let channels = (shape.outputs - first).min(4);
                            let first = group * shape.outputs + first;
                            // Of fewer than four channels the last is computed again.
                            let weights = [0, 1, 2, 3]
                                .map(|i| layer.weights[(first + i.min(channels - 1)) * depth..][..depth].as_ptr());
                            for x in 0..shape.size[1] {
                                let source = layer.source.pixel(y * shape.stride[0], x * shape.stride[1]);
                                let sums = sums(layer, source.add(group * shape.inputs), weights);
                                let target = layer.target.pixel(y, x).add(first);
                                for (i, sum) in sums.into_iter().enumerate().take(channels) {
                                    let bias = i32_at(packed, 2 * (first + i));
                                    let multiplier = f32_at(packed, 2 * (first + i) + 1);
                                    *target.add(i) = scaled(bias.wrapping_add(sum), multiplier);
                                }
                            }
                        }
                    }
                }
            }

            /// Sums of a pixel's products, its bytes less 128, with the weights of four channels.
            ///
            /// # Safety
            /// The runs lie at `source` and may be read 16 bytes beyond; there are as many weights at each of `at`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn sums(layer: &MixedLayer<'_>, source: *const u8, mut at: [*const u8; 4]) -> [i32; 4] {
                let Runs { rows, columns, length } = layer.shape.runs();
                let [down, right] = layer.shape.dilation;
                let (mut a, mut b, mut c, mut d) = (vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0));
                // SAFETY: the caller's word.
                unsafe {
                    for row in 0..rows {
                        for column in 0..columns {
                            let mut from =
                                source.add(row * down * layer.source.row + column * right * layer.source.pixel);
                            for _ in 0..length / STEP {
                                let x = values(from);
                                a = $dot(a, vld1q_s8(at[0].cast()), x);
                                b = $dot(b, vld1q_s8(at[1].cast()), x);
                                c = $dot(c, vld1q_s8(at[2].cast()), x);
                                d = $dot(d, vld1q_s8(at[3].cast()), x);
                                from = from.add(STEP);
                                at = at.map(|at| at.add(STEP));
                            }
                            let rest = length % STEP;
                            if rest > 0 {
                                let x = values(from);
                                a = $dot(a, some(at[0], rest), x);
                                b = $dot(b, some(at[1], rest), x);
                                c = $dot(c, some(at[2], rest), x);
                                d = $dot(d, some(at[3], rest), x);
                                at = at.map(|at| at.add(rest));
                            }
                        }
                    }
                    let mut sums = [0; 4];
                    vst1q_s32(sums.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)));
                    sums
                }
            }
        }
    };
}

mixed! { singles "neon" neon::one_by_one }
mixed! { fours "neon,dotprod" dotprod::products }
