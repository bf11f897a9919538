//! What the tests share: seeded values, and convolution written as its definition, in `f64`.
#![allow(dead_code)] // every test binary uses its part

use attar_kernels::ConvShape;

/// Values in [-1, 1) from a counter, splitmix64.
pub(crate) fn values(seed: u64, len: usize) -> Vec<f32> {
    (1..=len as u64)
        .map(|i| {
            let mut z = seed.wrapping_mul(0xd1b5_4a32_d192_ed03).wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// `[N, C, H, W]`, as PyTorch's fixtures are, to `[N, H, W, C]`. `extents` are `[n, c, h, w]`.
pub(crate) fn channels_last<T: Copy>(values: &[T], [n, c, h, w]: [usize; 4]) -> Vec<T> {
    assert_eq!(values.len(), n * c * h * w, "values of [{n}, {c}, {h}, {w}]");
    let pixels = (0..n).flat_map(|i| (0..h * w).map(move |pixel| i * c * h * w + pixel));
    pixels.flat_map(|first| (0..c).map(move |channel| values[first + channel * h * w])).collect()
}

/// The reverse of [`channels_last`]: `[N, H, W, C]` to `[N, C, H, W]`. `extents` are `[n, c, h, w]`, too.
pub(crate) fn channels_first<T: Copy>(values: &[T], [n, c, h, w]: [usize; 4]) -> Vec<T> {
    channels_last(values, [n, h * w, c, 1])
}

/// Calls `term(input, weight, output)` with the indices of every product of a convolution.
pub(crate) fn for_products(shape: &ConvShape, mut term: impl FnMut(usize, usize, usize)) {
    let ConvShape { batch, in_channels, in_h, in_w, out_channels, kernel, stride, padding, dilation, groups } = *shape;
    let (out_h, out_w) = (shape.out_h(), shape.out_w());
    let (group_in, group_out) = (in_channels / groups, out_channels / groups);
    for n in 0..batch {
        for o in 0..out_channels {
            for c in 0..group_in {
                for (i, j) in (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j))) {
                    for (row, column) in (0..out_h).flat_map(|row| (0..out_w).map(move |column| (row, column))) {
                        let y = (row * stride[0] + i * dilation[0]).checked_sub(padding[0]).filter(|&y| y < in_h);
                        let x = (column * stride[1] + j * dilation[1]).checked_sub(padding[1]).filter(|&x| x < in_w);
                        if let (Some(y), Some(x)) = (y, x) {
                            let channel = o / group_out * group_in + c;
                            let input = ((n * in_h + y) * in_w + x) * in_channels + channel;
                            let weight = ((o * group_in + c) * kernel[0] + i) * kernel[1] + j;
                            term(input, weight, ((n * out_h + row) * out_w + column) * out_channels + o);
                        }
                    }
                }
            }
        }
    }
}

/// Fails unless `got` is `want` up to `tolerance` times the largest wanted value (at least 1).
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let largest = want.iter().fold(1.0, |largest: f64, &w| largest.max(f64::from(w.abs())));
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - f64::from(want)).abs();
        // Written so that NaN fails.
        assert!(error <= tolerance * largest, "{what}[{i}]: {got}, expected {want} (largest {largest})");
    }
}
