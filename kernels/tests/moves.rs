//! What moves values and computes nothing, against its definition, bit for bit, for images of both types; and that each
//! gradient is the adjoint.
#![allow(clippy::unwrap_used)] // in what the tests share, too

mod common;

use attar_kernels::{
    NormShape, PadShape, Value, concat_channels, convert, pad_image, pad_image_backward, shuffle_channels,
    slice_channels, slice_channels_backward,
};
use common::values;
use half::bf16;

/// Values of either type, and memory that nobody has written.
fn made<T: Value>(seed: u64, len: usize) -> Vec<T> {
    let mut stored = unwritten(len);
    convert(&values(seed, len), &mut stored);
    stored
}

fn unwritten<T: Value>(len: usize) -> Vec<T> {
    vec![T::rounded(f32::NAN); len]
}

#[track_caller]
fn assert_equal<T: Value>(what: &str, got: &[T], want: &[f32]) {
    let got: Vec<f32> = got.iter().map(|value| value.float()).collect();
    assert!(got == want, "{what}"); // false where a NaN is left
}

fn floats<T: Value>(values: &[T]) -> Vec<f32> {
    values.iter().map(|value| value.float()).collect()
}

/// Batch, channels and positions, small and over several tasks.
const SHAPES: [[usize; 3]; 4] = [[1, 1, 1], [2, 7, 30], [3, 24, 1], [2, 96, 400]];

fn channels<T: Value>() {
    for [batch, channels, positions] in SHAPES {
        let shape = NormShape { batch, channels, positions }.checked().unwrap();
        let what = format!("{shape:?}");
        let rows = batch * positions;
        // Parts of every width, one of them alone.
        let widths = if channels == 1 { vec![1] } else { vec![channels / 3, 1, channels - channels / 3 - 1] };
        let parts: Vec<Vec<T>> = widths.iter().enumerate().map(|(i, width)| made(i as u64, rows * width)).collect();
        let mut y = unwritten::<T>(shape.len());
        concat_channels(rows, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut y);
        let want = (0..rows).flat_map(|row| {
            let parts = parts.iter().zip(&widths);
            parts.flat_map(move |(part, width)| floats(&part[row * width..][..*width])).collect::<Vec<_>>()
        });
        assert_equal(&what, &y, &want.collect::<Vec<_>>());
        let mut start = 0;
        for (part, width) in parts.iter().zip(&widths) {
            let mut slice = unwritten::<T>(part.len());
            slice_channels(&shape, start, &y, &mut slice);
            assert_equal(&what, &slice, &floats(part));
            let mut dx = unwritten::<T>(shape.len());
            slice_channels_backward(&shape, start, part, &mut dx);
            let inside = |i: &usize| (start..start + width).contains(&(i % channels));
            let want = (0..shape.len()).map(|i| if inside(&i) { y[i].float() } else { 0.0 });
            assert_equal(&what, &dx, &want.collect::<Vec<_>>());
            start += width;
        }
    }
}

fn shuffles<T: Value>() {
    for (channels, groups) in
        [(1, 1), (24, 2), (24, 12), (24, 3), (24, 8), (24, 4), (24, 6), (24, 24), (35, 7), (240, 3)]
    {
        let shape = NormShape { batch: 2, channels, positions: 171 }.checked().unwrap();
        let (x, mut y, mut back) = (made::<T>(5, shape.len()), unwritten::<T>(shape.len()), unwritten(shape.len()));
        shuffle_channels(&shape, groups, &x, &mut y);
        let from =
            |i: usize| i / channels * channels + i % channels % groups * (channels / groups) + i % channels / groups;
        let want: Vec<f32> = (0..shape.len()).map(|i| x[from(i)].float()).collect();
        assert_equal(&format!("{groups} of {channels}"), &y, &want);
        shuffle_channels(&shape, channels / groups, &y, &mut back);
        assert_equal(&format!("{groups} of {channels}, undone"), &back, &floats(&x));
    }
}

fn padding<T: Value>() {
    for (image, [top, left, bottom, right]) in [
        ([1, 1, 1, 1], [0, 0, 0, 0]),
        ([2, 3, 5, 6], [1, 0, 2, 3]),
        ([2, 3, 5, 6], [0, 2, 0, 0]),
        ([1, 40, 33, 31], [3, 1, 0, 1]),
    ] {
        let [batch, channels, in_h, in_w] = image;
        let shape = PadShape { batch, channels, in_h, in_w, top, left, bottom, right }.checked().unwrap();
        let (x, mut y) = (made::<T>(6, shape.input_len()), unwritten::<T>(shape.output_len()));
        pad_image(&shape, &x, &mut y);
        let mut want = Vec::new();
        for i in 0..shape.output_len() {
            let (pixel, channel) = (i / channels, i % channels);
            let (column, row) = (pixel % shape.out_w(), pixel / shape.out_w() % shape.out_h());
            let n = pixel / shape.out_w() / shape.out_h();
            let at = row.checked_sub(top).filter(|r| *r < in_h).zip(column.checked_sub(left).filter(|c| *c < in_w));
            want.push(
                at.map_or(0.0, |(row, column)| x[((n * in_h + row) * in_w + column) * channels + channel].float()),
            );
        }
        assert_equal(&format!("{shape:?}"), &y, &want);
        let mut dx = unwritten::<T>(x.len());
        pad_image_backward(&shape, &y, &mut dx);
        assert_equal(&format!("{shape:?}, cut off again"), &dx, &floats(&x));
    }
}

#[test]
fn channels_are_joined_cut_and_put_back() {
    channels::<f32>();
    channels::<bf16>();
}

#[test]
fn shuffles_are_transpositions_and_undo_themselves() {
    shuffles::<f32>();
    shuffles::<bf16>();
}

#[test]
fn zeros_lie_around_and_are_cut_off_again() {
    padding::<f32>();
    padding::<bf16>();
}

#[test]
#[should_panic(expected = "a slice of")]
fn a_slice_that_does_not_fit_panics() {
    let shape = NormShape { batch: 2, channels: 5, positions: 3 };
    slice_channels(&shape, 1, &[0.0f32; 30], &mut [0.0; 13]);
}
