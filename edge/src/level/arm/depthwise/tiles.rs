//! The tiles of a kind of number: some pixels of a row by a block of channels. The weights of a kernel row stay in registers,
//! and an input serves all the pixels that it is a tap of. Sums are written out by macros, as in dense tiles.
//!
//! A module has what these macros name: `Ends`, `ROWS`, `HEAD` and `WEIGHT` (as of `Kit`), `rows` (where a step's rows are),
//! `value` (a number so far behind their beginnings), `start`, `weight`, `dot` and `end`.

/// A tile of a pixel a number. But for `any` the kernel's columns are `$tap`s and its stride is `$stride`.
macro_rules! tile {
    ($features:literal $name:ident $stride:tt $taps:tt: $($i:literal)+) => {
        /// # Safety
        /// As of [`Tile`].
        #[target_feature(enable = $features)]
        unsafe fn $name(job: &Job<'_, Ends>, mut input: *const u8, mut output: *mut u8) {
            let mut constants = job.constants;
            // SAFETY: the caller's word.
            unsafe {
                for block in 1..=job.blocks {
                    let first = start(constants);
                    let mut sums = [$({ let _ = $i; first }),+];
                    let mut weights = constants.add(HEAD);
                    let mut row = input;
                    for step in 0..job.kernel[0] {
                        let rows = rows(job, step, row);
                        tile!(@row $stride $taps job, rows, weights, sums, $($i)+);
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
    (@row any [] $job:ident, $rows:ident, $weights:ident, $sums:ident, $($i:literal)+) => {
        for tap in 0..$job.kernel[1] {
            let weights = weight($weights);
            $($sums[$i] = dot($sums[$i], weights, value($rows, tap * $job.steps[1] + $i * $job.stride));)+
            $weights = $weights.add(WEIGHT);
        }
    };
    // A kernel row at a time: column by column of the input, of which each serves some pixels.
    (@row $stride:tt [$($tap:literal)+] $job:ident, $rows:ident, $weights:ident, $sums:ident, $($i:literal)+) => {
        let row_weights = [$(weight($weights.add($tap * WEIGHT))),+];
        $weights = $weights.add(row_weights.len() * WEIGHT);
        const COLUMNS: usize = ([$($i),+].len() - 1) * $stride + [$($tap),+].len();
        tile!(@columns [0 1 2 3 4 5 6 7 8 9 10] $stride [$($tap)+] $job, $rows, row_weights, $sums, [$($i)+]);
    };
    (@columns [$($c:literal)+] $stride:tt $taps:tt $job:ident, $rows:ident, $weights:ident, $sums:ident, $pixels:tt) => {
        $(
            if $c < COLUMNS {
                let values = value($rows, $job.columns[$c]);
                tile!(@column $c $stride $taps values, $weights, $sums, $pixels);
            }
        )+
    };
    (@column $c:literal $stride:tt $taps:tt $values:ident, $weights:ident, $sums:ident, [$($i:literal)+]) => {
        $(tile!(@pixel $c $stride $taps $values, $weights, $sums, $i);)+
    };
    (@pixel $c:literal $stride:tt [$($tap:literal)+] $values:ident, $weights:ident, $sums:ident, $i:literal) => {
        $(
            if $i * $stride + $tap == $c {
                $sums[$i] = dot($sums[$i], $weights[$tap], $values);
            }
        )+
    };
}
pub(super) use tile;

/// The tiles of all kernels, and the kit of them; those of single steps have 7 pixels or 4.
macro_rules! kit {
    ($features:literal $most:tt) => {
        crate::level::arm::depthwise::tiles::kit! { @tiles $features
            three_1 $most 1 [0 1 2] three_2 4 2 [0 1 2] five_1 $most 1 [0 1 2 3 4] five_2 3 2 [0 1 2 3 4] any $most any []
        }

        static KIT: Kit<Ends> = Kit {
            element: ELEMENT,
            rows: ROWS,
            weight: WEIGHT,
            head: HEAD,
            three: [three_1::TILES, three_2::TILES],
            five: [five_1::TILES, five_2::TILES],
            any: any::TILES,
        };
    };
    (@tiles $features:literal $($module:ident $most:tt $stride:tt $taps:tt)+) => {
        $(
            mod $module {
                use super::*;
                use crate::level::arm::depthwise::Tiles;
                use crate::level::arm::depthwise::tiles::{kit, tile};

                kit! { @most $features $most $stride $taps }
            }
        )+
    };
    (@most $features:literal 3 $stride:tt $taps:tt) => {
        tile!($features by_3 $stride $taps: 0 1 2);
        tile!($features by_2 $stride $taps: 0 1);
        tile!($features by_1 $stride $taps: 0);

        pub(super) const TILES: Tiles<Ends> = Tiles { sizes: [3, 2, 1], functions: [by_3, by_2, by_1] };
    };
    (@most $features:literal 4 $stride:tt $taps:tt) => {
        tile!($features by_4 $stride $taps: 0 1 2 3);
        tile!($features by_2 $stride $taps: 0 1);
        tile!($features by_1 $stride $taps: 0);

        pub(super) const TILES: Tiles<Ends> = Tiles { sizes: [4, 2, 1], functions: [by_4, by_2, by_1] };
    };
    (@most $features:literal 7 $stride:tt $taps:tt) => {
        tile!($features by_7 $stride $taps: 0 1 2 3 4 5 6);
        tile!($features by_3 $stride $taps: 0 1 2);
        tile!($features by_1 $stride $taps: 0);

        pub(super) const TILES: Tiles<Ends> = Tiles { sizes: [7, 3, 1], functions: [by_7, by_3, by_1] };
    };
}
pub(super) use kit;
