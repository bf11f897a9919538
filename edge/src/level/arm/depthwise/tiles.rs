//! The tiles of a kind of number: some pixels of a row by a block of channels. The weights of a kernel row stay in registers,
//! and an input serves all the pixels that it is a tap of. Sums are written out by macros, as in dense tiles.
//!
//! A module has what these macros name: `Ends`, `HEAD` and `WEIGHT` (bytes of a block's head and of a tap's weights), `start`,
//! `weight`, `value`, `dot`, `end`.

/// A tile of a pixel a number. But for `any` the kernel's columns are `$tap`s and its stride is `$stride`.
macro_rules! tile {
    ($name:ident $stride:tt $taps:tt: $($i:literal)+) => {
        /// # Safety
        /// As of [`Tile`].
        #[target_feature(enable = "neon")]
        unsafe fn $name(job: &Job<'_, Ends>, mut input: *const u8, mut output: *mut u8) {
            let mut constants = job.constants;
            // SAFETY: the caller's word.
            unsafe {
                for block in 1..=job.blocks {
                    let first = start(constants);
                    let mut sums = [$({ let _ = $i; first }),+];
                    let mut weights = constants.add(HEAD);
                    let mut row = input;
                    for _ in 0..job.kernel[0] {
                        tile!(@row $stride $taps job, row, weights, sums, $($i)+);
                        row = row.wrapping_add(job.steps[0]);
                    }
                    let channels = if block < job.blocks { BLOCK } else { job.last };
                    $(end(job, constants, output.add($i * job.pixel), sums[$i], channels);)+
                    constants = weights;
                    input = input.wrapping_add(ELEMENT * BLOCK);
                    output = output.wrapping_add(ELEMENT * BLOCK);
                }
            }
        }
    };
    // Any kernel: a tap at a time.
    (@row any [] $job:ident, $row:ident, $weights:ident, $sums:ident, $($i:literal)+) => {
        let mut tap = $row;
        for _ in 0..$job.kernel[1] {
            let weights = weight($weights);
            $($sums[$i] = dot($sums[$i], weights, value(tap.add($i * $job.stride)));)+
            $weights = $weights.add(WEIGHT);
            tap = tap.wrapping_add($job.steps[1]);
        }
    };
    // A kernel row at a time.
    (@row $stride:tt [$($tap:literal)+] $job:ident, $row:ident, $weights:ident, $sums:ident, $($i:literal)+) => {
        let row_weights = [$(weight($weights.add($tap * WEIGHT))),+];
        $weights = $weights.add(row_weights.len() * WEIGHT);
        tile!(@pixels $stride [$($tap)+] $job, $row, row_weights, $sums, $($i)+);
    };
    (@pixels $stride:tt $taps:tt $job:ident, $row:ident, $weights:ident, $sums:ident, $($i:literal)+) => {
        $(tile!(@pixel $stride $taps $job, $row, $weights, $sums, $i);)+
    };
    (@pixel $stride:tt [$($tap:literal)+] $job:ident, $row:ident, $weights:ident, $sums:ident, $i:literal) => {
        $($sums[$i] = dot($sums[$i], $weights[$tap], value($row.add(($i * $stride + $tap) * $job.steps[1])));)+
    };
}
pub(super) use tile;

/// The tiles of all kernels, and the kit of them.
macro_rules! kit {
    () => {
        crate::level::arm::depthwise::tiles::kit! { @tiles
            three_1 1 [0 1 2] three_2 2 [0 1 2] five_1 1 [0 1 2 3 4] five_2 2 [0 1 2 3 4] any any []
        }

        static KIT: Kit<Ends> = Kit {
            element: ELEMENT,
            weight: WEIGHT / BLOCK,
            head: HEAD,
            three: [three_1::TILES, three_2::TILES],
            five: [five_1::TILES, five_2::TILES],
            any: any::TILES,
        };
    };
    (@tiles $($module:ident $stride:tt $taps:tt)+) => {
        $(
            mod $module {
                use super::*;
                use crate::level::arm::depthwise::{Tile, tiles::tile};

                tile!(by_7 $stride $taps: 0 1 2 3 4 5 6);
                tile!(by_3 $stride $taps: 0 1 2);
                tile!(by_1 $stride $taps: 0);

                pub(super) const TILES: [Tile<Ends>; 3] = [by_7, by_3, by_1];
            }
        )+
    };
}
pub(super) use kit;
