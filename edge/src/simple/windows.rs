//! Windows that are moved over images: largest values and means.

use super::{Mean, byte};
use crate::arithmetic;
use crate::layer::{Source, Target};

/// A window that is moved over an image; what it covers outside of the image does not count, or counts as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Its steps.
    pub stride: [usize; 2],
    /// Rows above and columns left of the image where the first window begins.
    pub padding: [usize; 2],
    /// Of a mean that counts padding: rows below and columns right of the image that count.
    pub padding_end: [usize; 2],
    /// Height and width of the image.
    pub input: [usize; 2],
    /// Whether a mean divides by what its window covers of the padding, too.
    pub count_padding: bool,
}

/// Rows or columns that a window covers.
pub(crate) struct Cover {
    /// First of the image.
    pub(crate) start: usize,
    /// One behind the last of the image.
    pub(crate) end: usize,
    /// How many a mean counts.
    pub(crate) counted: usize,
}

impl Window {
    /// What output row (`axis` 0) or column (1) `at` covers.
    #[inline(always)]
    pub(crate) fn cover(&self, axis: usize, at: usize) -> Cover {
        let (padding, size) = (self.padding[axis], self.input[axis]);
        let begin = at * self.stride[axis];
        let close = begin + self.kernel[axis];
        let start = begin.max(padding) - padding;
        let end = (close.max(padding) - padding).min(size);
        let padded = close.min(padding + size + self.padding_end[axis]) - begin;
        let counted = if self.count_padding { padded } else { end - start };
        Cover { start, end, counted }
    }
}

/// Channels that a window keeps at hand while it walks over its pixels.
const LANE: usize = 32;

/// Goes over the windows of an output row, `LANE` channels at a time: `begin`, `take` each pixel's, `end` with the count.
///
/// # Safety
/// As of `Simple::max_u8`.
#[inline(always)]
unsafe fn windows<T: Copy, A: Copy>(
    window: &Window,
    (source, target): (Source<T>, Target<T>),
    (row, width, channels): (usize, usize, usize),
    begin: A,
    take: impl Fn(A, T) -> A,
    end: impl Fn(A, usize, usize) -> T,
) {
    let rows = window.cover(0, row);
    for x in 0..width {
        let columns = window.cover(1, x);
        let mut channel = 0;
        while channel < channels {
            let lane = LANE.min(channels - channel);
            let mut kept = [begin; LANE];
            for y in rows.start..rows.end {
                for x in columns.start..columns.end {
                    // SAFETY: the window's pixels are within the image, `channel + lane` within its channels.
                    unsafe {
                        let pixel = source.pixel(y, x).add(channel);
                        if lane == LANE {
                            for (i, kept) in kept.iter_mut().enumerate() {
                                *kept = take(*kept, *pixel.add(i));
                            }
                        } else {
                            for (i, kept) in kept[..lane].iter_mut().enumerate() {
                                *kept = take(*kept, *pixel.add(i));
                            }
                        }
                    }
                }
            }
            let pixels = (rows.end - rows.start) * (columns.end - columns.start);
            for (i, kept) in kept[..lane].iter().enumerate() {
                // SAFETY: as above, for the output's row.
                unsafe { *target.pixel(0, x).add(channel + i) = end(*kept, pixels, rows.counted * columns.counted) };
            }
            channel += lane;
        }
    }
}

/// # Safety
/// As of `Simple::max_u8`.
#[inline(always)]
pub(crate) unsafe fn max_u8(
    w: &Window,
    source: Source<u8>,
    target: Target<u8>,
    row: usize,
    width: usize,
    channels: usize,
) {
    // SAFETY: the caller's word.
    unsafe { windows(w, (source, target), (row, width, channels), 0, u8::max, |kept, _, _| kept) };
}

/// # Safety
/// As of `Simple::mean_u8`.
#[inline(always)]
pub(crate) unsafe fn mean_u8(
    w: &Window,
    how: &Mean,
    source: Source<u8>,
    target: Target<u8>,
    row: usize,
    width: usize,
    channels: usize,
) {
    let end = |sum: i32, pixels: usize, counted: usize| {
        let multiplier = arithmetic::mean_multiplier(how.scale, how.output_scale, counted);
        let sum = sum.wrapping_sub((pixels as i32).wrapping_mul(i32::from(how.zero)));
        byte(sum as f32 * multiplier, how.output_zero).max(how.low).min(how.high)
    };
    let take = |sum: i32, byte: u8| sum.wrapping_add(i32::from(byte));
    // SAFETY: the caller's word.
    unsafe { windows(w, (source, target), (row, width, channels), 0i32, take, end) };
}

/// # Safety
/// As of `Simple::max_f32`.
#[inline(always)]
pub(crate) unsafe fn max_f32(
    w: &Window,
    source: Source<f32>,
    target: Target<f32>,
    row: usize,
    width: usize,
    channels: usize,
) {
    let take = |kept: f32, x: f32| if x > kept { x } else { kept };
    // SAFETY: the caller's word.
    unsafe { windows(w, (source, target), (row, width, channels), f32::NEG_INFINITY, take, |kept, _, _| kept) };
}

/// # Safety
/// As of `Simple::mean_f32`.
#[inline(always)]
pub(crate) unsafe fn mean_f32(
    w: &Window,
    source: Source<f32>,
    target: Target<f32>,
    row: usize,
    width: usize,
    channels: usize,
) {
    let end = |sum: f32, _: usize, counted: usize| sum / counted as f32;
    // SAFETY: the caller's word.
    unsafe { windows(w, (source, target), (row, width, channels), 0.0, |sum, x| sum + x, end) };
}
