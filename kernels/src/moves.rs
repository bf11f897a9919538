//! Values moved and nothing computed: channels behind each other, a run of them, dealt out anew; zeros around an image.

use rayon::prelude::*;

use crate::shape::{NormShape, PadShape};
use crate::simd::vectorised;
use crate::value::Value;

/// Values that one task handles, at least.
const TASK: usize = 1 << 14;

/// [`crate::concat_channels`].
pub(crate) fn concat_channels<T: Value>(rows: usize, parts: &[&[T]], y: &mut [T]) {
    let widths: Vec<usize> = parts.iter().map(|part| part.len() / rows.max(1)).collect();
    let width: usize = widths.iter().sum();
    assert!(rows * width > 0, "{rows} rows of {width} channels");
    assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), rows * width, "parts of {rows} rows");
    assert_eq!(y.len(), rows * width, "y of {rows} rows of {width} channels");
    let pixels = TASK.div_ceil(width);
    y.par_chunks_mut(pixels * width).enumerate().for_each(|(task, y)| {
        for (row, y) in y.chunks_exact_mut(width).enumerate() {
            let (row, mut rest) = (task * pixels + row, y);
            for (part, &width) in parts.iter().zip(&widths) {
                let (here, behind) = rest.split_at_mut(width);
                here.copy_from_slice(&part[row * width..][..width]);
                rest = behind;
            }
        }
    });
}

/// [`crate::slice_channels`].
pub(crate) fn slice_channels<T: Value>(shape: &NormShape, start: usize, x: &[T], y: &mut [T]) {
    let width = assert_slice(shape, start, x, y);
    let pixels = TASK.div_ceil(width);
    let tasks = y.par_chunks_mut(pixels * width).zip(x.par_chunks(pixels * shape.channels));
    tasks.for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(shape.channels)) {
            y.copy_from_slice(&x[start..start + width]);
        }
    });
}

/// [`crate::slice_channels_backward`].
pub(crate) fn slice_channels_backward<T: Value>(shape: &NormShape, start: usize, dy: &[T], dx: &mut [T]) {
    let width = assert_slice(shape, start, dx, dy);
    let pixels = TASK.div_ceil(shape.channels);
    let tasks = dx.par_chunks_mut(pixels * shape.channels).zip(dy.par_chunks(pixels * width));
    tasks.for_each(|(dx, dy)| {
        for (dx, dy) in dx.chunks_exact_mut(shape.channels).zip(dy.chunks_exact(width)) {
            dx[..start].fill(T::default());
            dx[start..start + width].copy_from_slice(dy);
            dx[start + width..].fill(T::default());
        }
    });
}

/// Channels of a slice, once it is known to fit.
fn assert_slice<T>(shape: &NormShape, start: usize, whole: &[T], slice: &[T]) -> usize {
    shape.assert_valid();
    let rows = shape.batch * shape.positions;
    let width = slice.len() / rows;
    assert_eq!(whole.len(), shape.len(), "all channels of {shape:?}");
    assert!(width > 0 && slice.len() == rows * width, "a slice of {shape:?}");
    assert!(start <= shape.channels && width <= shape.channels - start, "{width} channels from {start} of {shape:?}");
    width
}

/// [`crate::shuffle_channels`].
pub(crate) fn shuffle_channels<T: Value>(shape: &NormShape, groups: usize, x: &[T], y: &mut [T]) {
    shape.assert_valid();
    let channels = shape.channels;
    assert!(groups > 0 && channels.is_multiple_of(groups), "{groups} groups of {shape:?}");
    assert_eq!((x.len(), y.len()), (shape.len(), shape.len()), "x and y of {shape:?}");
    let pixels = TASK.div_ceil(channels);
    let tasks = y.par_chunks_mut(pixels * channels).zip(x.par_chunks(pixels * channels));
    tasks.for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || match (groups, channels / groups) {
                // What networks have, in loops of a known length. Dealing `groups` piles is picking up `channels / groups`.
                (2, _) => pick_up::<T, 2>(channels, x, y),
                (3, _) => pick_up::<T, 3>(channels, x, y),
                (4, _) => pick_up::<T, 4>(channels, x, y),
                (8, _) => pick_up::<T, 8>(channels, x, y),
                (_, 2) => deal::<T, 2>(channels, x, y),
                (_, 3) => deal::<T, 3>(channels, x, y),
                (_, 4) => deal::<T, 4>(channels, x, y),
                (_, 8) => deal::<T, 8>(channels, x, y),
                (_, each) => transpose(groups, each, x, y),
            },
        );
    });
}

/// `G` piles lie behind each other in `x`; one of each comes next in `y`.
#[inline(always)]
fn pick_up<T: Value, const G: usize>(channels: usize, x: &[T], y: &mut [T]) {
    let each = channels / G;
    for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
        let piles: [&[T]; G] = std::array::from_fn(|g| &x[g * each..][..each]);
        for (i, y) in y.as_chunks_mut::<G>().0.iter_mut().enumerate() {
            *y = std::array::from_fn(|g| piles[g][i]);
        }
    }
}

/// The reverse: `x` is dealt to `G` piles, which lie behind each other in `y`.
#[inline(always)]
fn deal<T: Value, const G: usize>(channels: usize, x: &[T], y: &mut [T]) {
    let each = channels / G;
    for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
        for (g, pile) in y.chunks_exact_mut(each).enumerate() {
            pile.iter_mut().zip(x.as_chunks::<G>().0).for_each(|(y, x)| *y = x[g]);
        }
    }
}

#[inline(always)]
fn transpose<T: Value>(groups: usize, each: usize, x: &[T], y: &mut [T]) {
    for (y, x) in y.chunks_exact_mut(groups * each).zip(x.chunks_exact(groups * each)) {
        for (i, y) in y.chunks_exact_mut(groups).enumerate() {
            y.iter_mut().enumerate().for_each(|(g, y)| *y = x[g * each + i]);
        }
    }
}

/// [`crate::pad_image`].
pub(crate) fn pad_image<T: Value>(shape: &PadShape, x: &[T], y: &mut [T]) {
    assert_padded(shape, x, y);
    let row = shape.in_w * shape.channels;
    let (padded, left) = (shape.out_w() * shape.channels, shape.left * shape.channels);
    let rows = y.par_chunks_exact_mut(padded).with_min_len(TASK.div_ceil(padded));
    rows.enumerate().for_each(|(i, y)| {
        let (n, at) = (i / shape.out_h(), i % shape.out_h());
        match at.checked_sub(shape.top).filter(|at| *at < shape.in_h) {
            Some(at) => {
                y[..left].fill(T::default());
                y[left..left + row].copy_from_slice(&x[(n * shape.in_h + at) * row..][..row]);
                y[left + row..].fill(T::default());
            }
            None => y.fill(T::default()),
        }
    });
}

/// [`crate::pad_image_backward`].
pub(crate) fn pad_image_backward<T: Value>(shape: &PadShape, dy: &[T], dx: &mut [T]) {
    assert_padded(shape, dx, dy);
    let row = shape.in_w * shape.channels;
    let (padded, left) = (shape.out_w() * shape.channels, shape.left * shape.channels);
    let rows = dx.par_chunks_exact_mut(row).with_min_len(TASK.div_ceil(row));
    rows.enumerate().for_each(|(i, dx)| {
        let (n, at) = (i / shape.in_h, i % shape.in_h);
        let start = (n * shape.out_h() + shape.top + at) * padded + left;
        dx.copy_from_slice(&dy[start..start + row]);
    });
}

fn assert_padded<T>(shape: &PadShape, inner: &[T], outer: &[T]) {
    shape.assert_valid();
    assert_eq!(inner.len(), shape.input_len(), "the image of {shape:?}");
    assert_eq!(outer.len(), shape.output_len(), "the padded image of {shape:?}");
}
