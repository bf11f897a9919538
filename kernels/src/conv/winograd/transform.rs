//! The transforms between pixels and points, for all channels of a tile at once: `Bᵀ d B`, `Aᵀ m A`, `A dy Aᵀ`, `G g Gᵀ` and
//! `Gᵀ u G` of Lavin and Gray (2016), §4.3, with points 0, ±1, ±2 and infinity.
#![allow(clippy::needless_range_loop)] // iterators over arrays of vectors are not always unrolled, and that costs much
#![allow(unsafe_code)] // vector loads and stores through pointers, each checked against its slice before

use std::ops::Range;

use pulp::Simd;

use super::{CHANNELS, POINTS, TILE, Tiling};
use crate::conv::Tail;
use crate::tile::activated;
use crate::value::Value;

/// Pixels that a tile reads along each axis.
const WINDOW: usize = 6;

/// Writes `Bᵀ d B` of a tile: value `c` of point `p` goes to `v[p * point + c - channels.start]`. Pixels outside of the
/// image are zero.
#[inline(always)]
pub(super) fn input<S: Simd, T: Value>(
    simd: S,
    tiling: &Tiling<T>,
    x: &[T],
    tile: usize,
    channels: Range<usize>,
    v: &mut [f32],
    point: usize,
) {
    let (image, first) = tiling.place(tile);
    let ([height, width], all) = (tiling.input.size, tiling.input.channels);
    let x = &x[image * tiling.input.len()..][..tiling.input.len()];
    assert!((POINTS - 1) * point + channels.len() <= v.len() && channels.end <= all, "points of a tile");
    // Where each pixel's channels begin; pixels outside of the image read from a row of zeros.
    let mut pixels = [tiling.zeros.as_ptr(); POINTS];
    for i in 0..WINDOW {
        let row = (first[0] + i).wrapping_sub(tiling.padding[0]);
        for j in 0..WINDOW {
            let column = (first[1] + j).wrapping_sub(tiling.padding[1]);
            if row < height && column < width {
                pixels[i * WINDOW + j] = x[(row * width + column) * all..].as_ptr();
            }
        }
    }
    for (at, c) in channels.step_by(S::F32_LANES).enumerate() {
        let mut half = [[simd.splat_f32s(0.0); WINDOW]; WINDOW];
        for j in 0..WINDOW {
            let mut values = [simd.splat_f32s(0.0); WINDOW];
            for i in 0..WINDOW {
                // SAFETY: at each pointer lie the `all` channels of a pixel, or as many zeros, and `c + LANES <= all`:
                // channels come in multiples of `CHANNELS`, which is a multiple of the lanes.
                values[i] = unsafe { T::load(simd, pixels[i * WINDOW + j].add(c)) };
            }
            half[j] = evaluate(simd, values);
        }
        for i in 0..WINDOW {
            let values = evaluate(simd, across(simd, &half, i));
            for (j, value) in values.into_iter().enumerate() {
                // SAFETY: at most `(POINTS - 1) * point + channels.len()`, which was checked.
                unsafe {
                    let to = v.as_mut_ptr().add((i * WINDOW + j) * point + at * S::F32_LANES);
                    to.cast::<S::f32s>().write_unaligned(value);
                }
            }
        }
    }
}

/// `LANES` values from `at`.
///
/// # Safety
/// They must be there.
#[inline(always)]
unsafe fn load<S: Simd, T: Value>(simd: S, from: &[T], at: usize) -> S::f32s {
    // SAFETY: passed on from the caller.
    unsafe { T::load(simd, from.as_ptr().add(at)) }
}

/// Element `i` of every column. (`array::map` would not be inlined.)
#[inline(always)]
fn across<S: Simd, const N: usize, const M: usize>(simd: S, columns: &[[S::f32s; N]; M], i: usize) -> [S::f32s; M] {
    let mut row = [simd.splat_f32s(0.0); M];
    for j in 0..M {
        row[j] = columns[j][i];
    }
    row
}

/// `factor x + y`.
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f32, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.mul_add_f32s(simd.splat_f32s(factor), x, y)
}

#[inline(always)]
fn add<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.add_f32s(a, b)
}

#[inline(always)]
fn sub<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.sub_f32s(a, b)
}

/// `Bᵀ d`.
#[inline(always)]
fn evaluate<S: Simd>(simd: S, d: [S::f32s; WINDOW]) -> [S::f32s; WINDOW] {
    let (even, odd) = (times(simd, -4.0, d[2], d[4]), times(simd, -4.0, d[1], d[3]));
    let (even2, odd2) = (sub(simd, d[4], d[2]), sub(simd, d[3], d[1]));
    [
        times(simd, 4.0, d[0], times(simd, -5.0, d[2], d[4])),
        add(simd, even, odd),
        sub(simd, even, odd),
        times(simd, 2.0, odd2, even2),
        times(simd, -2.0, odd2, even2),
        times(simd, 4.0, d[1], times(simd, -5.0, d[3], d[5])),
    ]
}

/// Writes the output pixels `Aᵀ m A` of a tile, with its tail, to `y`, whose first value is value `begin` of the batch's
/// output. Value `c` of point `p` lies at `m[p * point + c]`.
#[allow(clippy::too_many_arguments)] // the operands of one transform
#[inline(always)]
pub(super) fn output<S: Simd, T: Value>(
    simd: S,
    tiling: &Tiling<T>,
    m: &[f32],
    point: usize,
    tail: Tail<'_, T>,
    tile: usize,
    begin: usize,
    y: &mut [T],
) {
    let (image, first) = tiling.place(tile);
    let ([height, width], channels) = (tiling.output.size, tiling.output.channels);
    let at = image * tiling.output.len() + (first[0] * width + first[1]) * channels - begin;
    let [rows, columns] = [TILE.min(height - first[0]), TILE.min(width - first[1])];
    let end = at + ((rows - 1) * width + columns) * channels;
    assert!((POINTS - 1) * point + channels <= m.len() && end <= y.len(), "pixels of a tile");
    assert!(tail.bias.is_none_or(|bias| bias.len() >= channels), "bias of a tile");
    assert!(tail.residual.is_none_or(|residual| end <= residual.len()), "residual of a tile");
    for c in (0..channels).step_by(S::F32_LANES) {
        // SAFETY: all offsets were checked above; `c + LANES <= channels`, as in `input`.
        unsafe {
            let mut half = [[simd.splat_f32s(0.0); TILE]; WINDOW];
            for j in 0..WINDOW {
                let mut values = [simd.splat_f32s(0.0); WINDOW];
                for i in 0..WINDOW {
                    values[i] = load(simd, m, (i * WINDOW + j) * point + c);
                }
                half[j] = interpolate(simd, values);
            }
            let bias = tail.bias.map_or(simd.splat_f32s(0.0), |bias| load(simd, bias, c));
            for i in 0..TILE {
                if i >= rows {
                    break;
                }
                let pixels = interpolate(simd, across(simd, &half, i));
                for j in 0..TILE {
                    if j >= columns {
                        break;
                    }
                    let at = at + (i * width + j) * channels + c;
                    let mut pixel = simd.add_f32s(pixels[j], bias);
                    if let Some(residual) = tail.residual {
                        pixel = simd.add_f32s(pixel, load(simd, residual, at));
                    }
                    let pixel = activated(simd, tail.activation, pixel);
                    T::store(simd, y.as_mut_ptr().add(at), pixel);
                }
            }
        }
    }
}

/// `Aᵀ m`.
#[inline(always)]
fn interpolate<S: Simd>(simd: S, m: [S::f32s; WINDOW]) -> [S::f32s; TILE] {
    let (sum, sum2) = (add(simd, m[1], m[2]), add(simd, m[3], m[4]));
    let (difference, difference2) = (sub(simd, m[1], m[2]), sub(simd, m[3], m[4]));
    [
        add(simd, add(simd, m[0], sum), sum2),
        times(simd, 2.0, difference2, difference),
        times(simd, 4.0, sum2, sum),
        add(simd, times(simd, 8.0, difference2, difference), m[5]),
    ]
}

/// Writes `A dy Aᵀ` of a tile: value `c` of point `p` goes to `v[p * point + c - channels.start]`. Pixels outside of the image are zero.
#[inline(always)]
pub(super) fn output_grad<S: Simd, T: Value>(
    simd: S,
    tiling: &Tiling<T>,
    dy: &[T],
    tile: usize,
    channels: Range<usize>,
    v: &mut [f32],
    point: usize,
) {
    let (image, first) = tiling.place(tile);
    let ([height, width], all) = (tiling.output.size, tiling.output.channels);
    let dy = &dy[image * tiling.output.len()..][..tiling.output.len()];
    assert!((POINTS - 1) * point + channels.len() <= v.len() && channels.end <= all, "points of a tile");
    for (at, c) in channels.step_by(S::F32_LANES).enumerate() {
        let mut half = [[simd.splat_f32s(0.0); WINDOW]; TILE];
        for j in 0..TILE {
            let mut pixels = [simd.splat_f32s(0.0); TILE];
            for i in 0..TILE {
                let (row, column) = (first[0] + i, first[1] + j);
                if row < height && column < width {
                    // SAFETY: the pixel lies in the image, and `c + LANES <= all`, as in `input`.
                    pixels[i] = unsafe { load(simd, dy, (row * width + column) * all + c) };
                }
            }
            half[j] = spread(simd, pixels);
        }
        for i in 0..WINDOW {
            let values = spread(simd, across(simd, &half, i));
            for (j, value) in values.into_iter().enumerate() {
                // SAFETY: at most `(POINTS - 1) * point + channels.len()`, which was checked.
                unsafe {
                    let to = v.as_mut_ptr().add((i * WINDOW + j) * point + at * S::F32_LANES);
                    to.cast::<S::f32s>().write_unaligned(value);
                }
            }
        }
    }
}

/// `A y`.
#[inline(always)]
fn spread<S: Simd>(simd: S, y: [S::f32s; TILE]) -> [S::f32s; WINDOW] {
    let (even, odd) = (add(simd, y[0], y[2]), add(simd, y[1], y[3]));
    let (even2, odd2) = (times(simd, 4.0, y[2], y[0]), times(simd, 4.0, y[3], y[1]));
    [
        y[0],
        add(simd, even, odd),
        sub(simd, even, odd),
        times(simd, 2.0, odd2, even2),
        times(simd, -2.0, odd2, even2),
        y[3],
    ]
}

/// `G`.
const KERNEL: [[f32; 3]; WINDOW] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// `G g Gᵀ` of the kernels of several channel pairs.
#[inline(always)]
pub(super) fn weight(g: &[[f32; CHANNELS]; 9]) -> [[f32; CHANNELS]; POINTS] {
    let mut half = [[0.0; CHANNELS]; 3 * WINDOW];
    for (i, row) in KERNEL.iter().enumerate() {
        for j in 0..3 {
            for (k, factor) in row.iter().enumerate() {
                for lane in 0..CHANNELS {
                    half[i * 3 + j][lane] += factor * g[k * 3 + j][lane];
                }
            }
        }
    }
    let mut u = [[0.0; CHANNELS]; POINTS];
    for i in 0..WINDOW {
        for (j, row) in KERNEL.iter().enumerate() {
            for (k, factor) in row.iter().enumerate() {
                for lane in 0..CHANNELS {
                    u[i * WINDOW + j][lane] += factor * half[i * 3 + k][lane];
                }
            }
        }
    }
    u
}

/// `Gᵀ u G` of several channel pairs.
#[inline(always)]
pub(super) fn weight_grad(u: &[[f32; CHANNELS]; POINTS]) -> [[f32; CHANNELS]; 9] {
    let mut half = [[0.0; CHANNELS]; 3 * WINDOW];
    for (i, row) in KERNEL.iter().enumerate() {
        for (k, factor) in row.iter().enumerate() {
            for j in 0..WINDOW {
                for lane in 0..CHANNELS {
                    half[k * WINDOW + j][lane] += factor * u[i * WINDOW + j][lane];
                }
            }
        }
    }
    let mut g = [[0.0; CHANNELS]; 9];
    for i in 0..3 {
        for (j, row) in KERNEL.iter().enumerate() {
            for (k, factor) in row.iter().enumerate() {
                for lane in 0..CHANNELS {
                    g[i * 3 + k][lane] += factor * half[i * WINDOW + j][lane];
                }
            }
        }
    }
    g
}
