//! Plain Rust for every CPU: canonical weights where they lie, one output after the other.

use core::ops::Range;

use super::{Kernels, Level};
use crate::arithmetic::requantize;
use crate::layer::{
    ByteConstants, ByteKernel, ByteLayer, ByteTail, FloatConstants, FloatKernel, FloatLayer, Runs, Shape, f32_at,
    i32_at,
};
use crate::simple;

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Scalar,
    dense_u8: BYTES,
    depthwise_u8: BYTES,
    dense_f32: FLOATS,
    depthwise_f32: FLOATS,
    simple: simple::portable::TABLE,
};

pub(super) const BYTES: ByteKernel = ByteKernel { packed: bytes_packed, pack: bytes_pack, scratch: none, run: bytes };

pub(super) const FLOATS: FloatKernel =
    FloatKernel { packed: floats_packed, pack: floats_pack, scratch: none, run: floats, rows_together: one };

pub(super) fn none(_: &Shape) -> usize {
    0
}

pub(super) fn one(_: &Shape) -> usize {
    1
}

/// A folded bias and a multiplier a channel.
fn bytes_packed(shape: &Shape) -> usize {
    (8 * shape.channels()).next_multiple_of(64)
}

fn bytes_pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
    for channel in 0..shape.channels() {
        let pair = &mut out[8 * channel..][..8];
        pair[..4].copy_from_slice(&constants.folded_bias(channel, shape.depth()).to_le_bytes());
        pair[4..].copy_from_slice(&constants.multiplier(channel).to_le_bytes());
    }
}

fn floats_packed(shape: &Shape) -> usize {
    (4 * shape.channels()).next_multiple_of(64)
}

fn floats_pack(shape: &Shape, constants: FloatConstants<'_>, out: &mut [u8]) {
    for channel in 0..shape.channels() {
        out[4 * channel..][..4].copy_from_slice(&constants.bias(channel).to_le_bytes());
    }
}

/// Offset in the input, in elements, of each element of a kernel, in the order of its weights.
fn taps(shape: &Shape, row: usize, pixel: usize) -> impl Iterator<Item = usize> {
    let Runs { rows, columns, length } = shape.runs();
    let [dy, dx] = shape.dilation;
    (0..rows)
        .flat_map(move |y| (0..columns).map(move |x| y * dy * row + x * dx * pixel))
        .flat_map(move |start| (0..length).map(move |at| start + at))
}

unsafe fn bytes(layer: &ByteLayer<'_>, rows: Range<usize>) {
    let shape = layer.shape;
    let depth = shape.depth();
    // SAFETY: `pack` wrote a pair of four bytes a channel; sources, targets and residuals are good for the shape.
    unsafe {
        let packed = core::slice::from_raw_parts(layer.packed, 8 * shape.channels());
        for y in rows {
            for x in 0..shape.size[1] {
                let input = layer.source.pixel(y * shape.stride[0], x * shape.stride[1]);
                let output = layer.target.pixel(y, x);
                for channel in 0..shape.channels() {
                    let group = channel / shape.outputs * shape.inputs;
                    let weights = &layer.weights[channel * depth..][..depth];
                    let taps = taps(shape, layer.source.row, layer.source.pixel);
                    let products = weights
                        .iter()
                        .zip(taps)
                        .map(|(&weight, tap)| i32::from(weight as i8) * i32::from(*input.add(group + tap)));
                    let sum = products.fold(i32_at(packed, 2 * channel), i32::wrapping_add);
                    let value = requantize(sum, f32_at(packed, 2 * channel + 1), layer.tail.zero);
                    *output.add(channel) = ended(&layer.tail, value, y, x, channel);
                }
            }
        }
    }
}

/// The tail behind requantisation.
///
/// # Safety
/// The residual, if there is one, has this pixel and channel.
#[inline(always)]
pub(super) unsafe fn ended(tail: &ByteTail<'_>, value: u8, y: usize, x: usize, channel: usize) -> u8 {
    let value = value.max(tail.low).min(tail.high);
    let value = tail.table.map_or(value, |table| table[usize::from(value)]);
    let Some(residual) = tail.residual else { return value };
    // SAFETY: the caller's word.
    let other = unsafe { *residual.other.pixel(y, x).add(channel) };
    let sum = if residual.swapped { residual.sum.of(other, value) } else { residual.sum.of(value, other) };
    sum.max(residual.low).min(residual.high)
}

unsafe fn floats(layer: &FloatLayer<'_>, rows: Range<usize>) {
    let shape = layer.shape;
    let depth = shape.depth();
    // SAFETY: as in `bytes`.
    unsafe {
        let bias = core::slice::from_raw_parts(layer.packed, 4 * shape.channels());
        for y in rows {
            for x in 0..shape.size[1] {
                let input = layer.source.pixel(y * shape.stride[0], x * shape.stride[1]);
                let output = layer.target.pixel(y, x);
                for channel in 0..shape.channels() {
                    let group = channel / shape.outputs * shape.inputs;
                    let taps = taps(shape, layer.source.row, layer.source.pixel).enumerate();
                    let mut sum = f32_at(bias, channel);
                    for (at, tap) in taps {
                        sum += f32_at(layer.weights, channel * depth + at) * *input.add(group + tap);
                    }
                    if let Some(other) = layer.tail.residual {
                        sum += *other.pixel(y, x).add(channel);
                    }
                    *output.add(channel) = simple::function(layer.tail.function, sum);
                }
            }
        }
    }
}
