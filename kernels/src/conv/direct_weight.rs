//! Weight gradients of dense and grouped convolutions, directly: each kernel position and pair of channels sums over all
//! output pixels.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::slab::{self, Slab};
use super::split_rows;
use crate::pairs::Pairs;
use crate::shape::ConvShape;
use crate::simd::{Scratch, with_simd};
use crate::tile::{Ends, Floats, Left, Multiply, Out, Right, multiply, panels};
use crate::value::{Stored, Value};

/// Values of padded input that are worked on at a time: they should stay in a core's second-level cache.
const SOURCE: usize = 1 << 17;
/// Parts of the batch whose gradients are summed apart. Fixed, so that the bits do not depend on the number of threads.
const PARTS: usize = 16;
/// Output pixels of a part, at least, if there are as many: fewer are not worth a gradient of their own.
const PART: usize = 512;
/// Values that all partial gradients together may hold, unless two parts need more.
const PARTS_MEMORY: usize = 1 << 22;

pub(super) fn run<T: Value>(shape: &ConvShape, x: &[T], dy: &[T], dweight: &mut [f32]) {
    match Pairs::detect().filter(|_| matches!(T::stored(x), Stored::Narrow(_))) {
        Some(pairs) => run_with(pairs, shape, x, dy, dweight),
        None => run_with(Floats, shape, x, dy, dweight),
    }
}

fn run_with<M: Multiply, T: Value>(words: M, shape: &ConvShape, x: &[T], dy: &[T], dweight: &mut [f32]) {
    let units = units(shape);
    let pixels = shape.batch * shape.out_positions();
    let parts = PARTS.min(PARTS_MEMORY / dweight.len()).min(pixels / PART).max(2).min(units.len());
    let mut partial = Scratch::lend(parts * dweight.len());
    partial.par_chunks_exact_mut(dweight.len()).enumerate().for_each(|(part, partial)| {
        let units = &units[part * units.len() / parts..(part + 1) * units.len() / parts];
        with_simd(Part { words, shape, units, x, dy, partial });
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
pub(super) struct Unit {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
}

fn units(shape: &ConvShape) -> Vec<Unit> {
    let padded = slab::padded(shape);
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

/// Some units, one after the other.
struct Part<'a, M, T> {
    words: M,
    shape: &'a ConvShape,
    units: &'a [Unit],
    x: &'a [T],
    dy: &'a [T],
    /// `[groups, taps, C / groups, O / groups]`.
    partial: &'a mut [f32],
}

impl<M: Multiply, T: Value> WithSimd for Part<'_, M, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (i, unit) in self.units.iter().enumerate() {
            let slab = Slab::new::<M, T>(self.shape, unit);
            let (mut inputs, mut grads) = (None, None);
            let x = slab.inputs::<M, T>(self.shape, unit, self.x, &mut inputs);
            let dy = slab::grads::<M, T>(self.shape, unit, self.dy, &mut grads);
            self.add(simd, unit, &slab, x, dy, i > 0);
        }
    }
}

impl<M: Multiply, T> Part<'_, M, T> {
    /// Sets or adds the gradient of one unit.
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S, unit: &Unit, slab: &Slab, x: &[f32], dy: &[f32], accumulate: bool) {
        let (shape, partial) = (self.shape, &mut *self.partial);
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
                        column: slab.step * channels,
                        runs: &rows,
                        run: shape.out_w().div_ceil(M::VALUES),
                    };
                    let at = (group * shape.kernel[0] * shape.kernel[1] + tap) * inputs * outputs + start;
                    let out = Out { data: &mut partial[at..], row: outputs };
                    multiply(simd, self.words, joined * inputs, left, right, out, ends);
                }
            }
        }
    }
}
