//! Unfolding images into matrices (im2col) and folding gradients back (col2im), a few output rows at a time.

use std::ops::Range;

use crate::shape::ConvShape;
use crate::simd::vectorised;

/// One row of an unfolded matrix: the values that one tap of one channel sees.
struct Tap {
    channel: usize,
    /// Offset of the tap in the window, dilation included.
    row: usize,
    column: usize,
}

fn taps(shape: &ConvShape) -> impl Iterator<Item = Tap> + use<> {
    let ConvShape { kernel: [kh, kw], dilation: [dh, dw], .. } = *shape;
    (0..shape.group_in()).flat_map(move |channel| {
        (0..kh).flat_map(move |i| (0..kw).map(move |j| Tap { channel, row: i * dh, column: j * dw }))
    })
}

/// The output columns for which the tap at `column` lies inside of the image, and the input column of the first.
fn inside(shape: &ConvShape, column: usize) -> (Range<usize>, usize) {
    let (stride, padding) = (shape.stride[1], shape.padding[1]);
    let first = padding.saturating_sub(column).div_ceil(stride);
    let end = (shape.in_w + padding).saturating_sub(column).div_ceil(stride).min(shape.out_w());
    (first.min(end)..end, (first * stride + column).saturating_sub(padding))
}

/// The input row that output row `out_row` sees through a tap at `row`, if it is inside of the image.
fn input_row(shape: &ConvShape, out_row: usize, row: usize) -> Option<usize> {
    (out_row * shape.stride[0] + row).checked_sub(shape.padding[0]).filter(|&row| row < shape.in_h)
}

/// Unfolds the output rows `rows` of one image of one group: `x [C / groups, H, W]` to `to [patch, rows * out_w]`.
pub(super) fn unfold(shape: &ConvShape, x: &[f32], rows: Range<usize>, to: &mut [f32]) {
    let positions = rows.len() * shape.out_w();
    for (tap, to) in taps(shape).zip(to.chunks_exact_mut(positions)) {
        let image = &x[tap.channel * shape.in_positions()..][..shape.in_positions()];
        if shape.stride == [1, 1] && shape.out_w() == shape.in_w {
            unfold_shifted(shape, image, &tap, rows.clone(), to);
        } else {
            unfold_rows(shape, image, &tap, rows.clone(), to);
        }
    }
}

fn unfold_rows(shape: &ConvShape, image: &[f32], tap: &Tap, rows: Range<usize>, to: &mut [f32]) {
    let (columns, first) = inside(shape, tap.column);
    for (out_row, to) in rows.zip(to.chunks_exact_mut(shape.out_w())) {
        let Some(row) = input_row(shape, out_row, tap.row) else {
            to.fill(0.0);
            continue;
        };
        to[..columns.start].fill(0.0);
        to[columns.end..].fill(0.0);
        if columns.is_empty() {
            continue;
        }
        let from = &image[row * shape.in_w..][first..shape.in_w];
        let to = &mut to[columns.clone()];
        match shape.stride[1] {
            1 => to.copy_from_slice(&from[..columns.len()]),
            stride => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, &from)| *to = from),
        }
    }
}

/// Stride 1 and output rows as long as input rows: all rows are one shifted copy, with zeros where it wrapped around.
fn unfold_shifted(shape: &ConvShape, image: &[f32], tap: &Tap, rows: Range<usize>, to: &mut [f32]) {
    let width = shape.in_w;
    let valid = valid_rows(shape, tap, &rows);
    to[..(valid.start - rows.start) * width].fill(0.0);
    to[(valid.end - rows.start) * width..].fill(0.0);
    if valid.is_empty() {
        return;
    }
    let to = &mut to[(valid.start - rows.start) * width..(valid.end - rows.start) * width];
    // Where `to[0]` comes from: this many values into the image, or before it.
    let start = ((valid.start + tap.row - shape.padding[0]) * width + tap.column) as isize - shape.padding[1] as isize;
    let skip = start.min(0).unsigned_abs().min(to.len());
    let from = &image[start.max(0).unsigned_abs().min(image.len())..];
    let length = (to.len() - skip).min(from.len());
    to[skip..skip + length].copy_from_slice(&from[..length]);
    let (columns, _) = inside(shape, tap.column);
    if columns.len() < width {
        for row in to.chunks_exact_mut(width) {
            row[..columns.start].fill(0.0);
            row[columns.end..].fill(0.0);
        }
    }
}

/// The output rows among `rows` that see the image through `tap`, for stride 1.
fn valid_rows(shape: &ConvShape, tap: &Tap, rows: &Range<usize>) -> Range<usize> {
    let start = shape.padding[0].saturating_sub(tap.row).clamp(rows.start, rows.end);
    let end = (shape.in_h + shape.padding[0]).saturating_sub(tap.row).clamp(start, rows.end);
    start..end
}

/// Adds the unfolded gradients `from [patch, rows * out_w]` to where they came from in `dx [C / groups, H, W]`.
pub(super) fn fold(shape: &ConvShape, from: &[f32], rows: Range<usize>, dx: &mut [f32]) {
    let positions = rows.len() * shape.out_w();
    for (tap, from) in taps(shape).zip(from.chunks_exact(positions)) {
        let image = &mut dx[tap.channel * shape.in_positions()..][..shape.in_positions()];
        let (columns, first) = inside(shape, tap.column);
        if columns.is_empty() {
            continue;
        }
        for (out_row, from) in rows.clone().zip(from.chunks_exact(shape.out_w())) {
            let Some(row) = input_row(shape, out_row, tap.row) else { continue };
            let to = &mut image[row * shape.in_w..][first..shape.in_w];
            vectorised(|| add_strided(&from[columns.clone()], to, shape.stride[1]));
        }
    }
}

#[inline(always)]
fn add_strided(from: &[f32], to: &mut [f32], stride: usize) {
    match stride {
        1 => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
        2 => to.iter_mut().step_by(2).zip(from).for_each(|(to, from)| *to += from),
        _ => to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to += from),
    }
}
