//! Pooling over windows and over whole images, forward and backward.

use rayon::prelude::*;
use std::ops::Range;

use crate::shape::{NormShape, PoolShape};
use crate::simd::{vectorised, with_scratch};
use crate::sums::add_rows;
use crate::value::{Value, convert_all};

/// Input values that one task handles, at least.
const TASK: usize = 1 << 13;
/// Pixels that are added up in `f32` before their sum moves on to `f64`.
const RUN: usize = 32;

/// [`crate::max_pool2d`].
pub(crate) fn max_pool2d<T: Value>(shape: &PoolShape, x: &[T], y: &mut [T], argmax: &mut [u32]) {
    assert_fits(shape, x, y);
    assert_eq!(argmax.len(), y.len(), "argmax of {shape:?}");
    let (image, row) = (shape.in_h * shape.in_w * shape.channels, shape.out_w() * shape.channels);
    y.par_chunks_exact_mut(row)
        .zip(argmax.par_chunks_exact_mut(row))
        .with_min_len(outputs_of_a_task(shape).div_ceil(row))
        .enumerate()
        .for_each(|(i, (y, argmax))| {
            let (n, rows) = (i / shape.out_h(), window(shape, 0, i % shape.out_h()));
            let x = &x[n * image..][..image];
            let pixels = y.chunks_exact_mut(shape.channels).zip(argmax.chunks_exact_mut(shape.channels));
            for (column, (y, argmax)) in pixels.enumerate() {
                let pixels = pixels_of(shape, rows.clone(), window(shape, 1, column));
                vectorised(
                    #[inline(always)]
                    || largest(x, pixels, y, argmax),
                );
            }
        });
}

#[inline(always)]
fn largest<T: Value>(x: &[T], pixels: impl Iterator<Item = usize>, y: &mut [T], argmax: &mut [u32]) {
    let channels = y.len();
    let mut first = true;
    for pixel in pixels {
        let x = &x[pixel * channels..][..channels];
        let at = pixel as u32; // `PoolShape::checked` refuses images with more than `u32::MAX` pixels
        if std::mem::take(&mut first) {
            y.copy_from_slice(x);
            argmax.fill(at);
            continue;
        }
        for ((best, best_at), &x) in y.iter_mut().zip(argmax.iter_mut()).zip(x) {
            let wins = x.float() > best.float() || x.float().is_nan();
            *best_at = if wins { at } else { *best_at };
            *best = if wins { x } else { *best };
        }
    }
}

/// [`crate::max_pool2d_backward`].
pub(crate) fn max_pool2d_backward<T: Value>(shape: &PoolShape, dy: &[T], argmax: &[u32], dx: &mut [T]) {
    assert_eq!(argmax.len(), dy.len(), "argmax of {shape:?}");
    for_images(shape, dy, dx, |from, dy, dx| {
        let channels = shape.channels;
        for (dy, at) in dy.chunks_exact(channels).zip(argmax[from..].chunks_exact(channels)) {
            for (channel, (&dy, &at)) in dy.iter().zip(at).enumerate() {
                dx[at as usize * channels + channel] += dy.float();
            }
        }
    });
}

/// [`crate::avg_pool2d`].
pub(crate) fn avg_pool2d<T: Value>(shape: &PoolShape, x: &[T], y: &mut [T]) {
    assert_fits(shape, x, y);
    let (image, row) = (shape.in_h * shape.in_w * shape.channels, shape.out_w() * shape.channels);
    let rows = y.par_chunks_exact_mut(row).with_min_len(outputs_of_a_task(shape).div_ceil(row));
    rows.enumerate().for_each(|(i, y)| {
        let (n, row) = (i / shape.out_h(), i % shape.out_h());
        let (rows, counted_rows) = (window(shape, 0, row), counted(shape, 0, row));
        let x = &x[n * image..][..image];
        with_scratch(shape.channels, |sums| {
            for (column, y) in y.chunks_exact_mut(shape.channels).enumerate() {
                let area = (counted_rows * counted(shape, 1, column)) as f32;
                let pixels = pixels_of(shape, rows.clone(), window(shape, 1, column));
                vectorised(
                    #[inline(always)]
                    || mean(x, pixels, area, sums, y),
                );
            }
        });
    });
}

#[inline(always)]
fn mean<T: Value>(x: &[T], pixels: impl Iterator<Item = usize>, area: f32, sums: &mut [f32], y: &mut [T]) {
    sums.fill(0.0);
    for pixel in pixels {
        add_rows(&x[pixel * y.len()..][..y.len()], sums);
    }
    y.iter_mut().zip(sums).for_each(|(y, sum)| *y = T::rounded(*sum / area));
}

/// [`crate::avg_pool2d_backward`].
pub(crate) fn avg_pool2d_backward<T: Value>(shape: &PoolShape, dy: &[T], dx: &mut [T]) {
    for_images(shape, dy, dx, |_, dy, dx| {
        let mut dy = dy.chunks_exact(shape.channels);
        for row in 0..shape.out_h() {
            for column in 0..shape.out_w() {
                let Some(dy) = dy.next() else { return };
                let area = (counted(shape, 0, row) * counted(shape, 1, column)) as f32;
                let pixels = pixels_of(shape, window(shape, 0, row), window(shape, 1, column));
                vectorised(
                    #[inline(always)]
                    || spread(dy, area, pixels, dx),
                );
            }
        }
    });
}

#[inline(always)]
fn spread<T: Value>(dy: &[T], area: f32, pixels: impl Iterator<Item = usize>, dx: &mut [f32]) {
    for pixel in pixels {
        dx[pixel * dy.len()..].iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy.float() / area);
    }
}

/// [`crate::global_avg_pool`].
pub(crate) fn global_avg_pool<T: Value>(shape: &NormShape, x: &[T], y: &mut [f32]) {
    assert_fits_global(shape, x, y);
    let NormShape { channels, positions, .. } = *shape;
    let images = x.par_chunks_exact(positions * channels).with_min_len(TASK.div_ceil(positions * channels));
    images.zip(y.par_chunks_exact_mut(channels)).for_each(|(x, y)| {
        let mut totals = vec![0.0f64; channels];
        with_scratch(channels, |sums| {
            vectorised(
                #[inline(always)]
                || add_image(x, sums, &mut totals),
            );
        });
        y.iter_mut().zip(totals).for_each(|(y, total)| *y = (total / positions as f64) as f32);
    });
}

#[inline(always)]
fn add_image<T: Value>(x: &[T], sums: &mut [f32], totals: &mut [f64]) {
    for run in x.chunks(RUN * sums.len()) {
        sums.fill(0.0);
        add_rows(run, sums);
        totals.iter_mut().zip(sums.iter()).for_each(|(total, &sum)| *total += f64::from(sum));
    }
}

/// [`crate::global_avg_pool_backward`].
pub(crate) fn global_avg_pool_backward<T: Value>(shape: &NormShape, dy: &[f32], dx: &mut [T]) {
    assert_fits_global(shape, dx, dy);
    let NormShape { channels, positions, .. } = *shape;
    let images = dx.par_chunks_exact_mut(positions * channels).with_min_len(TASK.div_ceil(positions * channels));
    images.zip(dy.par_chunks_exact(channels)).for_each(|(dx, dy)| {
        let (first, others) = dx.split_at_mut(channels);
        first.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = T::rounded(dy / positions as f32));
        others.chunks_exact_mut(channels).for_each(|dx| dx.copy_from_slice(first));
    });
}

/// Where window `i` lies along an axis, cut to the image.
fn window(shape: &PoolShape, axis: usize, i: usize) -> Range<usize> {
    let size = if axis == 0 { shape.in_h } else { shape.in_w };
    let start = i * shape.stride[axis]; // in the padded image
    start.saturating_sub(shape.padding[axis])..(start + shape.kernel[axis] - shape.padding[axis]).min(size)
}

/// How many positions of window `i` a mean counts along an axis.
fn counted(shape: &PoolShape, axis: usize, i: usize) -> usize {
    if !shape.count_include_pad {
        return window(shape, axis, i).len();
    }
    let size = if axis == 0 { shape.in_h } else { shape.in_w };
    let start = i * shape.stride[axis]; // in the padded image
    shape.kernel[axis].min(size + shape.padding[axis] + shape.padding_end[axis] - start)
}

/// The pixels of a window, row by row.
#[inline(always)]
fn pixels_of(shape: &PoolShape, rows: Range<usize>, columns: Range<usize>) -> impl Iterator<Item = usize> + use<> {
    let width = shape.in_w;
    rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
}

/// Calls `work(start of dy, dy, sums)` for every image, with sums that are zero, and rounds them to `dx`.
fn for_images<T: Value>(shape: &PoolShape, dy: &[T], dx: &mut [T], work: impl Fn(usize, &[T], &mut [f32]) + Sync) {
    assert_fits(shape, dx, dy);
    let inputs = shape.in_h * shape.in_w * shape.channels;
    let outputs = shape.out_h() * shape.out_w() * shape.channels;
    let images = dx.par_chunks_exact_mut(inputs).zip(dy.par_chunks_exact(outputs));
    images.with_min_len(TASK.div_ceil(inputs)).enumerate().for_each(|(n, (dx, dy))| match T::as_floats_mut(dx) {
        Some(dx) => {
            dx.fill(0.0);
            work(n * outputs, dy, dx);
        }
        None => with_scratch(inputs, |sums| {
            sums.fill(0.0);
            work(n * outputs, dy, sums);
            vectorised(
                #[inline(always)]
                || convert_all(sums, dx),
            );
        }),
    });
}

/// Outputs that take about as many inputs as a task should handle.
fn outputs_of_a_task(shape: &PoolShape) -> usize {
    TASK.div_ceil(shape.stride[0] * shape.stride[1])
}

fn assert_fits<T>(shape: &PoolShape, x: &[T], y: &[T]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(y.len(), shape.output_len(), "output of {shape:?}");
}

fn assert_fits_global<T>(shape: &NormShape, x: &[T], y: &[f32]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.len(), "images of {shape:?}");
    assert_eq!(y.len(), shape.batch * shape.channels, "means of {shape:?}");
}
