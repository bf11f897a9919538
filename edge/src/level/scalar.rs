//! Plain Rust for every CPU: canonical weights where they lie, one output after the other.

use core::ops::Range;

use super::{Kernels, Level};
use crate::arithmetic::{requantize, scaled};
use crate::layer::{
    ByteConstants, ByteKernel, ByteLayer, ByteTail, FloatConstants, FloatKernel, FloatLayer, MixedKernel, MixedLayer,
    Runs, Shape, Source, f32_at, i32_at,
};
use crate::simple;

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Scalar,
    dense_u8: BYTES,
    depthwise_u8: BYTES,
    dense_f32: FLOATS,
    depthwise_f32: FLOATS,
    mixed: MIXED,
    simple: simple::portable::TABLE,
};

pub(super) const BYTES: ByteKernel = ByteKernel { packed: bytes_packed, pack: bytes_pack, scratch: none, run: bytes };

pub(super) const MIXED: MixedKernel = MixedKernel { packed: bytes_packed, pack: bytes_pack, run: mixed };

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

/// Calls `take` with the first weight, the first element and the length of each run of a group's kernel, both in elements.
#[inline(always)]
fn runs(shape: &Shape, row: usize, pixel: usize, mut take: impl FnMut(usize, usize, usize)) {
    let Runs { rows, columns, length } = shape.runs();
    let [dy, dx] = shape.dilation;
    for y in 0..rows {
        for x in 0..columns {
            take((y * columns + x) * length, y * dy * row + x * dx * pixel, length);
        }
    }
}

/// # Safety
/// As of [`ByteKernel::run`].
unsafe fn bytes(layer: &ByteLayer<'_>, rows: Range<usize>) {
    let ByteLayer { shape, source, target, packed, weights, tail, .. } = layer;
    // SAFETY: `pack` wrote a pair of four bytes a channel; sources, targets and residuals are good for the shape.
    unsafe {
        let packed = core::slice::from_raw_parts(*packed, 8 * shape.channels());
        sums(shape, *source, (packed, weights), rows, |[y, x, channel], sum, multiplier| {
            let value = requantize(sum, multiplier, tail.zero);
            *target.pixel(y, x).add(channel) = ended(tail, value, y, x, channel);
        });
    }
}

/// # Safety
/// As of [`MixedKernel::run`].
pub(super) unsafe fn mixed(layer: &MixedLayer<'_>, rows: Range<usize>) {
    let MixedLayer { shape, source, target, packed, weights } = layer;
    // SAFETY: as in `bytes`.
    unsafe {
        let packed = core::slice::from_raw_parts(*packed, 8 * shape.channels());
        sums(shape, *source, (packed, weights), rows, |[y, x, channel], sum, multiplier| {
            *target.pixel(y, x).add(channel) = scaled(sum, multiplier);
        });
    }
}

/// Calls `end` with place, sum and multiplier of each output.
///
/// # Safety
/// The source is good for the shape's rows.
#[inline(always)]
unsafe fn sums(
    shape: &Shape,
    source: Source<u8>,
    (packed, weights): (&[u8], &[u8]),
    rows: Range<usize>,
    mut end: impl FnMut([usize; 3], i32, f32),
) {
    let depth = shape.depth();
    for y in rows {
        for x in 0..shape.size[1] {
            // SAFETY: the caller's word.
            let input = unsafe { source.pixel(y * shape.stride[0], x * shape.stride[1]) };
            for channel in 0..shape.channels() {
                let weights = &weights[channel * depth..][..depth];
                let mut sum = i32_at(packed, 2 * channel);
                runs(shape, source.row, source.pixel, |weight, element, length| {
                    // SAFETY: the caller's word.
                    let elements = unsafe {
                        let input = input.add(channel / shape.outputs * shape.inputs);
                        core::slice::from_raw_parts(input.add(element), length)
                    };
                    let products = weights[weight..][..length].iter().zip(elements);
                    let products = products.map(|(&weight, &byte)| i32::from(weight as i8) * i32::from(byte));
                    sum = products.fold(sum, i32::wrapping_add);
                });
                end([y, x, channel], sum, f32_at(packed, 2 * channel + 1));
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

/// # Safety
/// As of [`FloatKernel::run`].
unsafe fn floats(layer: &FloatLayer<'_>, rows: Range<usize>) {
    let shape = layer.shape;
    let (depth, pixel) = (shape.depth(), layer.source.pixel);
    // SAFETY: as in `bytes`.
    unsafe {
        let bias = core::slice::from_raw_parts(layer.packed, 4 * shape.channels());
        for y in rows {
            for x in 0..shape.size[1] {
                let input = layer.source.pixel(y * shape.stride[0], x * shape.stride[1]);
                let output = layer.target.pixel(y, x);
                for channel in 0..shape.channels() {
                    let input = input.add(channel / shape.outputs * shape.inputs);
                    let weights = layer.weights[4 * channel * depth..][..4 * depth].as_chunks::<4>().0;
                    let mut sum = f32_at(bias, channel);
                    runs(shape, layer.source.row, pixel, |weight, element, length| {
                        let elements = core::slice::from_raw_parts(input.add(element), length);
                        for (weight, element) in weights[weight..][..length].iter().zip(elements) {
                            sum += f32::from_le_bytes(*weight) * element;
                        }
                    });
                    if let Some(other) = layer.tail.residual {
                        sum += *other.pixel(y, x).add(channel);
                    }
                    *output.add(channel) = simple::function(layer.tail.function, sum);
                }
            }
        }
    }
}
