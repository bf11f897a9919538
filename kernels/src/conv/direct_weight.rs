//! Weight gradients of dense and grouped convolutions, directly: each kernel position and pair of channels sums over all
//! output pixels.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::pad::pad;
use super::split_rows;
use super::sweep::images;
use crate::shape::ConvShape;
use crate::simd::{Scratch, with_simd};
use crate::tile::{Ends, Left, Out, Right, multiply, panels};

/// Values of padded input that are worked on at a time: they should stay in a core's second-level cache.
const SOURCE: usize = 1 << 17;
/// Parts of the batch whose gradients are summed apart. Fixed, so that the bits do not depend on the number of threads.
const PARTS: usize = 16;
/// Output pixels of a part, at least, if there are as many: fewer are not worth a gradient of their own.
const PART: usize = 512;
/// Values that all partial gradients together may hold, unless two parts need more.
const PARTS_MEMORY: usize = 1 << 22;

pub(super) fn run(shape: &ConvShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let units = units(shape);
    let pixels = shape.batch * shape.out_positions();
    let parts = PARTS.min(PARTS_MEMORY / dweight.len()).min(pixels / PART).max(2).min(units.len());
    let mut partial = Scratch::lend(parts * dweight.len());
    partial.par_chunks_exact_mut(dweight.len()).enumerate().for_each(|(part, partial)| {
        let units = &units[part * units.len() / parts..(part + 1) * units.len() / parts];
        with_simd(Part { shape, units, x, dy, partial });
    });
    gather(shape, &partial, dweight);
}

/// Sums partial gradients in their order, from `[groups, taps, C / groups, O / groups]` to `[O, C / groups, taps]`.
fn gather(shape: &ConvShape, partial: &[f32], dweight: &mut [f32]) {
    /// Output channels that are read at a time, side by side.
    const BLOCK: usize = 16;
    let (inputs, outputs, taps) = (shape.group_in(), shape.group_out(), shape.kernel[0] * shape.kernel[1]);
    let (len, patch) = (dweight.len(), shape.patch());
    dweight.par_chunks_exact_mut(outputs * patch).enumerate().for_each(|(group, dweight)| {
        dweight.par_chunks_mut(BLOCK * patch).enumerate().for_each(|(block, dweight)| {
            let width = dweight.len() / patch;
            for (row, (tap, c)) in (0..taps).flat_map(|tap| (0..inputs).map(move |c| (tap, c))).enumerate() {
                let at = (group * patch + row) * outputs + block * BLOCK;
                let mut sums = [0.0; BLOCK];
                for part in partial.chunks_exact(len) {
                    sums.iter_mut().zip(&part[at..at + width]).for_each(|(sum, value)| *sum += value);
                }
                for (o, sum) in sums.iter().enumerate().take(width) {
                    dweight[o * patch + c * taps + tap] = *sum;
                }
            }
        });
    });
}

/// What is worked on at a time: some whole images, or some output rows of one.
struct Unit {
    images: Range<usize>,
    rows: Range<usize>,
}

fn units(shape: &ConvShape) -> Vec<Unit> {
    let padded = padded(shape);
    let image = padded[0] * padded[1] * shape.in_channels;
    if image <= SOURCE {
        let count = SOURCE / image;
        let starts = (0..shape.batch).step_by(count);
        return starts.map(|at| Unit { images: at..(at + count).min(shape.batch), rows: 0..shape.out_h() }).collect();
    }
    let strips = split_rows(shape.out_h(), shape.stride[0] * padded[1] * shape.in_channels, SOURCE);
    let unit = |image: usize| strips.iter().map(move |rows| Unit { images: image..image + 1, rows: rows.clone() });
    (0..shape.batch).flat_map(unit).collect()
}

/// Extents of the padded input.
fn padded(shape: &ConvShape) -> [usize; 2] {
    [shape.in_h + 2 * shape.padding[0], shape.in_w + 2 * shape.padding[1]]
}

/// Some units, one after the other.
struct Part<'a> {
    shape: &'a ConvShape,
    units: &'a [Unit],
    x: &'a [f32],
    dy: &'a [f32],
    /// `[groups, taps, C / groups, O / groups]`.
    partial: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, units, x, dy, partial } = self;
        let [input, output] = images(shape);
        let width = padded(shape)[1];
        let reach = shape.dilation[0] * (shape.kernel[0] - 1);
        let mut accumulate = false;
        for unit in units {
            let (from, rows) = (unit.rows.start * shape.stride[0], (unit.rows.len() - 1) * shape.stride[0] + reach + 1);
            let slab = Slab { image: rows * width * input.channels, pitch: width * input.channels };
            let dy = &dy[unit.images.start * output.len()..unit.images.end * output.len()];
            let dy = &dy[unit.rows.start * output.size[1] * output.channels..];
            if shape.padding == [0, 0] {
                let x = &x[unit.images.start * input.len() + from * slab.pitch..];
                add(simd, shape, unit, x, &Slab { image: input.len(), ..slab }, dy, accumulate, partial);
            } else {
                let mut memory = Scratch::lend(unit.images.len() * slab.image);
                for (n, to) in unit.images.clone().zip(memory.chunks_exact_mut(slab.image)) {
                    pad(&input, &x[n * input.len()..][..input.len()], shape.padding, from, width, to);
                }
                add(simd, shape, unit, &memory, &slab, dy, accumulate, partial);
            }
            accumulate = true;
        }
    }
}

/// How padded images lie in memory.
struct Slab {
    /// Values from one image to the next.
    image: usize,
    /// Values from one row to the next.
    pitch: usize,
}

/// Sets or adds the gradient of one unit.
#[allow(clippy::too_many_arguments)] // the operands of one product
#[inline(always)]
fn add<S: Simd>(
    simd: S,
    shape: &ConvShape,
    unit: &Unit,
    x: &[f32],
    slab: &Slab,
    dy: &[f32],
    accumulate: bool,
    partial: &mut [f32],
) {
    let channels = shape.in_channels;
    let (inputs, outputs) = (shape.group_in(), shape.group_out());
    let row = |image: usize, row: usize| image * slab.image + row * shape.stride[0] * slab.pitch;
    let rows: Vec<usize> =
        (0..unit.images.len()).flat_map(|image| (0..unit.rows.len()).map(move |i| row(image, i))).collect();
    // Neighbouring kernel positions of a row read neighbouring pixels: their weights are rows of one product.
    let joined = if shape.groups == 1 && shape.dilation[1] == 1 { shape.kernel[1] } else { 1 };
    let ends = Ends { accumulate, ..Ends::default() };
    for group in 0..shape.groups {
        for (start, width) in panels::<S>(outputs) {
            let right = Right { data: &dy[group * outputs + start..], row: shape.out_channels, width };
            for tap in (0..shape.kernel[0] * shape.kernel[1]).step_by(joined) {
                let (i, j) = (tap / shape.kernel[1], tap % shape.kernel[1]);
                let at = i * shape.dilation[0] * slab.pitch + j * shape.dilation[1] * channels + group * inputs;
                let left = Left {
                    data: &x[at..],
                    row: 1,
                    column: shape.stride[1] * channels,
                    runs: &rows,
                    run: shape.out_w(),
                };
                let at = (group * shape.kernel[0] * shape.kernel[1] + tap) * inputs * outputs + start;
                multiply(simd, joined * inputs, left, right, Out { data: &mut partial[at..], row: outputs }, ends);
            }
        }
    }
}
