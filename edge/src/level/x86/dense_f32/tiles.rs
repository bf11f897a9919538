//! Tiles: some pixels by some vectors of channels whose sums stay in registers. Weights are read as vectors, an input element
//! at a time is put in every lane. Sums are written out by macros: arrays that are looped over land on the stack.

use core::arch::asm;
use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

/// Pixels of the largest tile.
pub(in crate::level::x86) const MOST: usize = 14;

/// Spots that there is room for: always [`MOST`] are written, wherever a row of the image ends, and whole lines of memory.
pub(in crate::level::x86) const ROOM: usize = 32;

/// Elements that the weights of a single pixel are asked for ahead: they are read once, page after page, and what the CPU
/// foresees by itself ends with a page.
const AHEAD: usize = 1024;

/// What a tile computes of each of its pixels.
#[derive(Debug, Clone, Copy)]
pub(in crate::level::x86) struct Job {
    /// Weights `[rows][columns][length][vectors][lanes]`.
    pub(in crate::level::x86) weights: *const f32,
    /// Weights that are wanted next are asked for from here on, so many elements for each element of an input.
    pub(in crate::level::x86) ahead: (*const f32, usize),
    /// Bias `[vectors][lanes]`.
    pub(in crate::level::x86) bias: *const f32,
    /// Rows and columns of runs.
    pub(in crate::level::x86) runs: [usize; 2],
    /// First element of a pixel that the first run reads.
    pub(in crate::level::x86) first: usize,
    /// First channel that is stored.
    pub(in crate::level::x86) channel: usize,
    /// Elements from a row of runs, or a column, to the next.
    pub(in crate::level::x86) steps: [usize; 2],
    /// Elements of a run.
    pub(in crate::level::x86) length: usize,
    /// Lanes of the last vector that are stored.
    pub(in crate::level::x86) last: usize,
    /// Least and largest value.
    pub(in crate::level::x86) range: [f32; 2],
    /// Whether another value is added.
    pub(in crate::level::x86) residual: bool,
}

/// Where the pixels of a tile lie; each has its own place, so that tiles go over the ends of rows. There is room to write
/// more of them than a tile has.
#[derive(Debug)]
#[repr(align(64))]
pub(in crate::level::x86) struct Spots {
    /// First element of the input that a pixel is made of.
    pub(in crate::level::x86) inputs: [*mut f32; ROOM],
    /// Channel 0 of the output.
    pub(in crate::level::x86) outputs: [*mut f32; ROOM],
    /// Channel 0 of the value that is added.
    pub(in crate::level::x86) others: [*mut f32; ROOM],
}

/// Computes a tile.
///
/// # Safety
/// All that the job reads and writes is there, at as many spots as the tile has pixels.
pub(in crate::level::x86) type Tile = unsafe fn(&Job, &Spots);

/// A number that the compiler knows nothing of: so inputs stay addressed by one index, where it would carry as many pointers
/// as a tile has pixels from run to run.
#[inline(always)]
fn opaque(mut x: usize) -> usize {
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(reg) x, options(pure, nomem, nostack, preserves_flags)) };
    x
}

/// A tile of `$vectors` (1 or 2) vectors and a pixel a number.
macro_rules! tile {
    ($features:literal $name:ident $count:literal: $($i:literal)+) => {
        /// # Safety
        /// As of [`Tile`].
        #[target_feature(enable = $features)]
        unsafe fn $name(job: &Job, spots: &Spots) {
            const TWO: bool = $count == 2;
            // SAFETY: the caller's word.
            unsafe {
                let first = load(job.bias);
                let second = if TWO { load(job.bias.add(LANES)) } else { first };
                let mut sums = [$({ let _ = $i; [first, second] }),+];
                let inputs = [$(spots.inputs[$i]),+];
                let mut weights = job.weights;
                let (mut ahead, ahead_step) = job.ahead;
                for y in 0..job.runs[0] {
                    for x in 0..job.runs[1] {
                        let mut at = job.first + y * job.steps[0] + x * job.steps[1];
                        for _ in 0..job.length {
                            let first = load(weights);
                            let second = if TWO { load(weights.add(LANES)) } else { first };
                            weights = weights.add($count * LANES);
                            if TWO {
                                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                                ahead = ahead.wrapping_add(ahead_step);
                            }
                            $(
                                let x = all(*inputs[$i].add(at));
                                sums[$i][0] = fma(x, first, sums[$i][0]);
                                if TWO {
                                    sums[$i][1] = fma(x, second, sums[$i][1]);
                                }
                            )+
                            at = opaque(at + 1);
                        }
                    }
                }
                let last = mask(job.last);
                if job.residual {
                    $(
                        let other = spots.others[$i].add(job.channel);
                        if TWO {
                            sums[$i][0] = add(sums[$i][0], load(other));
                            sums[$i][1] = add(sums[$i][1], load_some(other.add(LANES), last));
                        } else {
                            sums[$i][0] = add(sums[$i][0], load_some(other, last));
                        }
                    )+
                }
                if job.range[0] > f32::NEG_INFINITY {
                    let low = all(job.range[0]);
                    $(sums[$i] = [max(low, sums[$i][0]), max(low, sums[$i][1])];)+
                }
                if job.range[1] < f32::INFINITY {
                    let high = all(job.range[1]);
                    $(sums[$i] = [min(high, sums[$i][0]), min(high, sums[$i][1])];)+
                }
                $(
                    let out = spots.outputs[$i].add(job.channel);
                    if TWO {
                        store(out, sums[$i][0]);
                        store_some(out.add(LANES), last, sums[$i][1]);
                    } else {
                        store_some(out, last, sums[$i][0]);
                    }
                )+
            }
        }
    };
}

/// A pixel's product with `$count` vectors of weights; `$part` sums for each vector, as one sum would wait for itself.
macro_rules! line {
    ($features:literal $name:ident $count:literal: $($part:literal)+; $vectors:tt) => {
        /// # Safety
        /// As of [`Tile`], for the first spot alone.
        #[target_feature(enable = $features)]
        unsafe fn $name(job: &Job, spots: &Spots) {
            const PARTS: usize = [$($part),+].len();
            // SAFETY: the caller's word.
            unsafe {
                let mut sums = [$({ let _ = $part; [all(0.0); $count] }),+];
                line!(@start sums, job, $vectors);
                let input = spots.inputs[0];
                let mut weights = job.weights;
                for y in 0..job.runs[0] {
                    for x in 0..job.runs[1] {
                        let run = input.add(job.first + y * job.steps[0] + x * job.steps[1]);
                        let whole = job.length / PARTS * PARTS;
                        for at in (0..whole).step_by(PARTS) {
                            $(line!(@step $part run.add(at + $part), weights, sums, $count, $vectors);)+
                            weights = weights.add(PARTS * $count * LANES);
                        }
                        for at in whole..job.length {
                            line!(@step 0 run.add(at), weights, sums, $count, $vectors);
                            weights = weights.add($count * LANES);
                        }
                    }
                }
                $(if $part > 0 { line!(@sum $part sums, $vectors); })+
                line!(@end sums, job, spots, $count, $vectors);
            }
        }
    };
    (@start $sums:ident, $job:ident, [$($i:literal)+]) => {
        $($sums[0][$i] = load($job.bias.add($i * LANES));)+
    };
    (@step $part:literal $x:expr, $weights:ident, $sums:ident, $count:literal, [$($i:literal)+]) => {
        let x = all(*$x);
        $(_mm_prefetch::<_MM_HINT_T0>($weights.wrapping_add(($part * $count + $i) * LANES + AHEAD).cast());)+
        $($sums[$part][$i] = fma(x, load($weights.add(($part * $count + $i) * LANES)), $sums[$part][$i]);)+
    };
    (@sum $part:literal $sums:ident, [$($i:literal)+]) => {
        $($sums[0][$i] = add($sums[0][$i], $sums[$part][$i]);)+
    };
    (@end $sums:ident, $job:ident, $spots:ident, $count:literal, [$($i:literal)+]) => {
        let last = mask($job.last);
        let (low, high) = (all($job.range[0]), all($job.range[1]));
        $(
            let at = $job.channel + $i * LANES;
            let (other, out) = ($spots.others[0].wrapping_add(at), $spots.outputs[0].add(at));
            if $i + 1 < $count {
                let sum = if $job.residual { add($sums[0][$i], load(other)) } else { $sums[0][$i] };
                store(out, min(high, max(low, sum)));
            } else {
                let sum = if $job.residual { add($sums[0][$i], load_some(other, last)) } else { $sums[0][$i] };
                store_some(out, last, min(high, max(low, sum)));
            }
        )+
    };
}

/// With AVX-512: 28 sums, 2 weights and an input are 31 of 32 registers.
pub(super) mod wide {
    use super::super::vectors::wide::*;
    use super::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, AHEAD, Job, Spots, Tile, opaque};

    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_14_by_2 2: 0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_10_by_2 2: 0 1 2 3 4 5 6 7 8 9);
    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_8_by_2 2: 0 1 2 3 4 5 6 7);
    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_7_by_2 2: 0 1 2 3 4 5 6);
    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_4_by_2 2: 0 1 2 3);
    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_2_by_2 2: 0 1);
    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_12_by_1 1: 0 1 2 3 4 5 6 7 8 9 10 11);
    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_8_by_1 1: 0 1 2 3 4 5 6 7);
    tile!("avx512f,avx512bw,avx512vl,avx512dq,fma" pixels_4_by_1 1: 0 1 2 3);
    line!("avx512f,avx512bw,avx512vl,avx512dq,fma" line_8 8: 0; [0 1 2 3 4 5 6 7]);
    line!("avx512f,avx512bw,avx512vl,avx512dq,fma" line_4 4: 0 1; [0 1 2 3]);
    line!("avx512f,avx512bw,avx512vl,avx512dq,fma" line_2 2: 0 1 2 3; [0 1]);
    line!("avx512f,avx512bw,avx512vl,avx512dq,fma" line_1 1: 0 1 2 3 4 5 6 7; [0]);

    /// `(pixels, tile)` of one vector, then of two, the largest first.
    pub(in super::super) const TILES: [&[(usize, Tile)]; 2] = [
        &[(12, pixels_12_by_1), (8, pixels_8_by_1), (4, pixels_4_by_1)],
        &[
            (14, pixels_14_by_2),
            (10, pixels_10_by_2),
            (8, pixels_8_by_2),
            (7, pixels_7_by_2),
            (4, pixels_4_by_2),
            (2, pixels_2_by_2),
        ],
    ];

    /// Of 1, 2, 4 and 8 vectors.
    pub(in super::super) const LINES: [Tile; 4] = [line_1, line_2, line_4, line_8];
}

/// With AVX2: 12 sums, 2 weights and an input are 15 of 16 registers.
pub(super) mod narrow {
    use super::super::vectors::narrow::*;
    use super::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, AHEAD, Job, Spots, Tile, opaque};

    tile!("avx2,fma" pixels_6_by_2 2: 0 1 2 3 4 5);
    tile!("avx2,fma" pixels_5_by_2 2: 0 1 2 3 4);
    tile!("avx2,fma" pixels_4_by_2 2: 0 1 2 3);
    tile!("avx2,fma" pixels_2_by_2 2: 0 1);
    tile!("avx2,fma" pixels_12_by_1 1: 0 1 2 3 4 5 6 7 8 9 10 11);
    tile!("avx2,fma" pixels_8_by_1 1: 0 1 2 3 4 5 6 7);
    tile!("avx2,fma" pixels_4_by_1 1: 0 1 2 3);
    line!("avx2,fma" line_8 8: 0; [0 1 2 3 4 5 6 7]);
    line!("avx2,fma" line_4 4: 0 1; [0 1 2 3]);
    line!("avx2,fma" line_2 2: 0 1 2 3; [0 1]);
    line!("avx2,fma" line_1 1: 0 1 2 3 4 5 6 7; [0]);

    /// `(pixels, tile)` of one vector, then of two, the largest first.
    pub(in super::super) const TILES: [&[(usize, Tile)]; 2] = [
        &[(12, pixels_12_by_1), (8, pixels_8_by_1), (4, pixels_4_by_1)],
        &[(6, pixels_6_by_2), (5, pixels_5_by_2), (4, pixels_4_by_2), (2, pixels_2_by_2)],
    ];

    /// Of 1, 2, 4 and 8 vectors.
    pub(in super::super) const LINES: [Tile; 4] = [line_1, line_2, line_4, line_8];
}
