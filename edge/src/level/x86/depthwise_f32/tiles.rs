//! Tiles: some pixels of a row by a vector of channels at a time. The weights of a kernel row stay in registers, and an input
//! serves all the pixels that it is a tap of. Sums are written out by macros, as in the tiles of dense layers.

/// What a tile computes, vector after vector of channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Bias `[vectors][lanes]`.
    pub(super) bias: *const f32,
    /// Weights `[vectors][taps][lanes]`.
    pub(super) weights: *const f32,
    /// Rows and columns of the kernel.
    pub(super) kernel: [usize; 2],
    /// Elements from a tap to the one below it and to the one right of it.
    pub(super) steps: [usize; 2],
    /// Elements from the input of a pixel to that of the next.
    pub(super) stride: usize,
    /// Elements from a pixel of the output to the next.
    pub(super) pixel: usize,
    /// The same of the value that is added.
    pub(super) other: usize,
    /// Vectors.
    pub(super) vectors: usize,
    /// Lanes of the last vector that are stored.
    pub(super) last: usize,
    /// Least and largest value.
    pub(super) range: [f32; 2],
}

/// Computes a tile of the first pixel's input, output and, unless it is null, other value.
///
/// # Safety
/// All that the job reads and writes is there; of inputs, whole vectors.
pub(super) type Tile = unsafe fn(&Job, *const f32, *mut f32, *const f32);

/// A tile of a pixel a number. But for `any` the kernel's columns are `$tap`s and its stride is `$stride`.
macro_rules! tile {
    ($features:literal $name:ident $stride:tt $taps:tt: $($i:literal)+) => {
        /// # Safety
        /// As of `Tile`.
        #[target_feature(enable = $features)]
        unsafe fn $name(job: &Job, mut input: *const f32, mut output: *mut f32, mut other: *const f32) {
            let (mut bias, mut weights) = (job.bias, job.weights);
            // SAFETY: the caller's word.
            unsafe {
                for vector in 1..=job.vectors {
                    let first = load(bias);
                    let mut sums = [$({ let _ = $i; first }),+];
                    let mut row = input;
                    for _ in 0..job.kernel[0] {
                        tile!(@row $stride $taps job, row, weights, sums, $($i)+);
                        row = row.wrapping_add(job.steps[0]);
                    }
                    if vector < job.vectors {
                        if !other.is_null() {
                            $(sums[$i] = add(sums[$i], load(other.add($i * job.other)));)+
                            other = other.add(LANES);
                        }
                        tile!(@range job, sums, $($i)+);
                        $(store(output.add($i * job.pixel), sums[$i]);)+
                    } else {
                        let last = mask(job.last);
                        if !other.is_null() {
                            $(sums[$i] = add(sums[$i], load_some(other.add($i * job.other), last));)+
                        }
                        tile!(@range job, sums, $($i)+);
                        $(store_some(output.add($i * job.pixel), last, sums[$i]);)+
                        return;
                    }
                    input = input.add(LANES);
                    output = output.add(LANES);
                    bias = bias.add(LANES);
                }
            }
        }
    };
    // Any kernel: a tap at a time.
    (@row any [] $job:ident, $row:ident, $weights:ident, $sums:ident, $($i:literal)+) => {
        let mut tap = $row;
        for _ in 0..$job.kernel[1] {
            let weight = load($weights);
            $($sums[$i] = fma(weight, load(tap.add($i * $job.stride)), $sums[$i]);)+
            $weights = $weights.add(LANES);
            tap = tap.add($job.steps[1]);
        }
    };
    // A kernel row at a time.
    (@row $stride:tt [$($tap:literal)+] $job:ident, $row:ident, $weights:ident, $sums:ident, $($i:literal)+) => {
        let row_weights = [$(load($weights.add($tap * LANES))),+];
        $weights = $weights.add(row_weights.len() * LANES);
        tile!(@pixels $stride [$($tap)+] $job, $row, row_weights, $sums, $($i)+);
    };
    (@pixels $stride:tt $taps:tt $job:ident, $row:ident, $weights:ident, $sums:ident, $($i:literal)+) => {
        $(tile!(@pixel $stride $taps $job, $row, $weights, $sums, $i);)+
    };
    (@pixel $stride:tt [$($tap:literal)+] $job:ident, $row:ident, $weights:ident, $sums:ident, $i:literal) => {
        $(
            let x = load($row.add(($i * $stride + $tap) * $job.steps[1]));
            $sums[$i] = fma($weights[$tap], x, $sums[$i]);
        )+
    };
    (@range $job:ident, $sums:ident, $($i:literal)+) => {
        if $job.range[0] > f32::NEG_INFINITY {
            let low = all($job.range[0]);
            $($sums[$i] = max(low, $sums[$i]);)+
        }
        if $job.range[1] < f32::INFINITY {
            let high = all($job.range[1]);
            $($sums[$i] = min(high, $sums[$i]);)+
        }
    };
}

/// Pixels of the tiles of a kernel.
pub(super) const SIZES: [usize; 3] = [7, 3, 1];

/// Tiles of every kernel, the largest first.
#[derive(Debug)]
pub(super) struct Tiles {
    /// Of kernels with 3 columns, side by side, and strides of 1 and 2.
    pub(super) three: [[Tile; 3]; 2],
    /// Of kernels with 5 columns.
    pub(super) five: [[Tile; 3]; 2],
    /// Of any kernel.
    pub(super) any: [Tile; 3],
}

macro_rules! tiles {
    ($vectors:ident $features:literal) => {
        use super::super::super::dense_f32::vectors::$vectors::*;
        use super::{Job, Tiles};

        tile!($features three_1_by_7 1 [0 1 2]: 0 1 2 3 4 5 6);
        tile!($features three_1_by_3 1 [0 1 2]: 0 1 2);
        tile!($features three_1_by_1 1 [0 1 2]: 0);
        tile!($features three_2_by_7 2 [0 1 2]: 0 1 2 3 4 5 6);
        tile!($features three_2_by_3 2 [0 1 2]: 0 1 2);
        tile!($features three_2_by_1 2 [0 1 2]: 0);
        tile!($features five_1_by_7 1 [0 1 2 3 4]: 0 1 2 3 4 5 6);
        tile!($features five_1_by_3 1 [0 1 2 3 4]: 0 1 2);
        tile!($features five_1_by_1 1 [0 1 2 3 4]: 0);
        tile!($features five_2_by_7 2 [0 1 2 3 4]: 0 1 2 3 4 5 6);
        tile!($features five_2_by_3 2 [0 1 2 3 4]: 0 1 2);
        tile!($features five_2_by_1 2 [0 1 2 3 4]: 0);
        tile!($features any_by_7 any []: 0 1 2 3 4 5 6);
        tile!($features any_by_3 any []: 0 1 2);
        tile!($features any_by_1 any []: 0);

        pub(in super::super) static TILES: Tiles = Tiles {
            three: [[three_1_by_7, three_1_by_3, three_1_by_1], [three_2_by_7, three_2_by_3, three_2_by_1]],
            five: [[five_1_by_7, five_1_by_3, five_1_by_1], [five_2_by_7, five_2_by_3, five_2_by_1]],
            any: [any_by_7, any_by_3, any_by_1],
        };
    };
}

/// With AVX-512.
pub(super) mod wide {
    tiles!(wide "avx512f,avx512bw,avx512vl,avx512dq,fma");
}

/// With AVX2.
pub(super) mod narrow {
    tiles!(narrow "avx2,fma");
}
