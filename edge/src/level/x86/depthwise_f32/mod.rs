//! Convolutions of floats, a channel each.
//!
//! Packed are the biases, `[vectors][lanes]`, and the weights, `[vectors][taps][lanes]`.

mod tiles;

use core::ops::Range;

use super::dense_f32::ends;
use crate::layer::{FloatConstants, FloatFunction, FloatKernel, FloatLayer, Shape};
use crate::level::scalar;
use tiles::{Job, SIZES, Tile, Tiles};

/// What differs between the widths of vectors.
#[derive(Debug)]
struct Kit {
    /// Floats of a vector.
    lanes: usize,
    /// Tiles of every kernel.
    tiles: &'static Tiles,
    /// Functions that are no clamps.
    ///
    /// # Safety
    /// As of `ends::wide::end`; the CPU has vectors of `lanes` floats.
    end: unsafe fn(&[*mut f32], usize, usize, FloatFunction),
}

static WIDE: Kit = Kit { lanes: 16, tiles: &tiles::wide::TILES, end: ends::wide::end };
static NARROW: Kit = Kit { lanes: 8, tiles: &tiles::narrow::TILES, end: ends::narrow::end };

/// With AVX-512.
pub(super) const AVX512: FloatKernel = FloatKernel {
    packed: |shape| packed(&WIDE, shape),
    pack: |shape, constants, out| pack(&WIDE, shape, constants, out),
    scratch: scalar::none,
    run: run_wide,
    rows_together: scalar::one,
};

/// With AVX2.
pub(super) const AVX2: FloatKernel = FloatKernel {
    packed: |shape| packed(&NARROW, shape),
    pack: |shape, constants, out| pack(&NARROW, shape, constants, out),
    scratch: scalar::none,
    run: run_narrow,
    rows_together: scalar::one,
};

/// # Safety
/// As of [`FloatKernel::run`].
unsafe fn run_wide(layer: &FloatLayer<'_>, rows: Range<usize>) {
    // SAFETY: the caller's word.
    unsafe { run(&WIDE, layer, rows) };
}

/// # Safety
/// As of [`FloatKernel::run`].
unsafe fn run_narrow(layer: &FloatLayer<'_>, rows: Range<usize>) {
    // SAFETY: the caller's word.
    unsafe { run(&NARROW, layer, rows) };
}

fn packed(kit: &Kit, shape: &Shape) -> usize {
    let lanes = shape.channels().next_multiple_of(kit.lanes);
    (4 * lanes * (1 + shape.depth())).next_multiple_of(64)
}

fn pack(kit: &Kit, shape: &Shape, constants: FloatConstants<'_>, out: &mut [u8]) {
    let (lanes, taps, channels) = (kit.lanes, shape.depth(), shape.channels());
    let (biases, weights) = out.split_at_mut(4 * channels.next_multiple_of(lanes));
    for (channel, bias) in biases.chunks_exact_mut(4).enumerate() {
        let value = if channel < channels { constants.bias(channel) } else { 0.0 };
        bias.copy_from_slice(&value.to_le_bytes());
    }
    for (at, weight) in weights.chunks_exact_mut(4).enumerate() {
        let (vector, tap, lane) = (at / (taps * lanes), at / lanes % taps, at % lanes);
        let channel = vector * lanes + lane;
        let value = if channel < channels { constants.weight(channel, taps, tap) } else { 0.0 };
        weight.copy_from_slice(&value.to_le_bytes());
    }
}

/// Channels that tiles go down the rows of an image with: what they read of a kernel's rows stays in a part of the first cache.
/// Steps of two pixels read little twice; there it counts more that reads are long.
fn together(shape: &Shape) -> usize {
    const BYTES: usize = 14 << 10;
    let [rows, columns] = shape.kernel;
    if shape.stride[1] > 1 { 256 } else { (BYTES / (4 * rows * (SIZES[0] - 1 + columns))).max(64) }
}

/// # Safety
/// As of [`FloatKernel::run`]; the CPU has the kit's vectors, and `pack` with this kit wrote the constants.
unsafe fn run(kit: &Kit, layer: &FloatLayer<'_>, rows: Range<usize>) {
    let shape = layer.shape;
    let (lanes, taps, channels) = (kit.lanes, shape.depth(), shape.channels());
    let vectors = channels.div_ceil(lanes);
    let side_by_side = shape.dilation[1] == 1;
    let tiles: &[Tile; 3] = match (shape.kernel[1], shape.stride[1]) {
        (3, stride @ (1 | 2)) if side_by_side => &kit.tiles.three[stride - 1],
        (5, stride @ (1 | 2)) if side_by_side => &kit.tiles.five[stride - 1],
        _ => &kit.tiles.any,
    };
    let biases = layer.packed.cast::<f32>();
    // SAFETY: `packed` is as large as `pack` wants it.
    let weights = unsafe { biases.add(vectors * lanes) };
    let mut vector = 0;
    while vector < vectors {
        let here = (vectors - vector).min(together(shape) / lanes);
        let channel = vector * lanes;
        let stored = (channels - channel).min(here * lanes);
        let job = Job {
            // SAFETY: packed are all vectors.
            bias: unsafe { biases.add(channel) },
            // SAFETY: as above.
            weights: unsafe { weights.add(channel * taps) },
            kernel: shape.kernel,
            steps: [shape.dilation[0] * layer.source.row, shape.dilation[1] * layer.source.pixel],
            stride: shape.stride[1] * layer.source.pixel,
            pixel: layer.target.pixel,
            other: layer.tail.residual.map_or(0, |other| other.pixel),
            vectors: here,
            last: stored - (here - 1) * lanes,
            range: ends::range(layer.tail.function),
        };
        let mut x = 0;
        while x < shape.size[1] {
            let left = shape.size[1] - x;
            let size = SIZES.iter().position(|&size| size <= left).unwrap_or(SIZES.len() - 1);
            for y in rows.clone() {
                // SAFETY: these are pixels of the output, and those of the input that they are made of.
                unsafe {
                    let input = layer.source.pixel(y * shape.stride[0], x * shape.stride[1]).add(channel);
                    let output = layer.target.pixel(y, x).add(channel);
                    let other = match &layer.tail.residual {
                        Some(other) => other.pixel(y, x).add(channel),
                        None => core::ptr::null(),
                    };
                    tiles[size](&job, input, output, other);
                    if !matches!(layer.tail.function, FloatFunction::Clamp { .. }) {
                        let mut places = [output; SIZES[0]];
                        for (i, place) in places.iter_mut().enumerate() {
                            *place = output.wrapping_add(i * job.pixel);
                        }
                        (kit.end)(&places[..SIZES[size]], 0, stored, layer.tail.function);
                    }
                }
            }
            x += SIZES[size];
        }
        vector += here;
    }
}
