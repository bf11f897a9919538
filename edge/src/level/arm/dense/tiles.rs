//! The tiles of a kind of number, written out by macros: sums in arrays that are looped over end up on the stack.

/// Tiles of some vectors of channels that multiply a word of weights, four bytes a channel, by a word of a pixel. One for
/// each number of pixels up to all that are listed.
///
/// A module has what these macros name: `Ends`, `load` for weights, `values` for 16 bytes of a pixel, and `dot`.
macro_rules! words {
    ($features:literal $end:ident $heads:literal $vectors:tt [$($done:literal)*]) => {};
    ($features:literal $end:ident $heads:literal $vectors:tt [$($done:literal)*] $name:ident $i:literal $($rest:tt)*) => {
        words!(@tile $features $end $heads $vectors $name [$($done)* $i]);
        words!($features $end $heads $vectors [$($done)* $i] $($rest)*);
    };
    (@tile $features:literal $end:ident $heads:literal [$($v:literal)+] $name:ident $pixels:tt) => {
        /// # Safety
        /// As of [`Tile`], for a panel of so many vectors and so many pixels.
        #[target_feature(enable = $features)]
        unsafe fn $name(tile: &Tile<'_, Ends>) {
            const VECTORS: usize = [$($v),+].len();
            // SAFETY: the panel is as `pack` wrote it; every pixel has all runs, and 16 bytes behind them may be read.
            unsafe {
                let start = [$(start(tile.panel.add(16 * $v))),+];
                let mut weights = tile.panel.add(16 * $heads * VECTORS);
                words!(@begin tile start sums sources $pixels);
                for y in 0..tile.runs[0] {
                    for x in 0..tile.runs[1] {
                        let mut at = y * tile.steps[0] + x * tile.steps[1];
                        for _ in 0..tile.whole {
                            let values = words!(@values sources at $pixels);
                            words!(@word 0 sums values weights [$($v)+] $pixels);
                            words!(@word 1 sums values weights [$($v)+] $pixels);
                            words!(@word 2 sums values weights [$($v)+] $pixels);
                            words!(@word 3 sums values weights [$($v)+] $pixels);
                            weights = weights.add(64 * VECTORS);
                            at += 16;
                        }
                        if tile.rest > 0 {
                            let values = words!(@values sources at $pixels);
                            words!(@word 0 sums values weights [$($v)+] $pixels);
                            if tile.rest > 1 {
                                words!(@word 1 sums values weights [$($v)+] $pixels);
                            }
                            if tile.rest > 2 {
                                words!(@word 2 sums values weights [$($v)+] $pixels);
                            }
                            weights = weights.add(16 * VECTORS * tile.rest);
                        }
                    }
                }
                words!(@end $end tile sums $pixels);
            }
        }
    };
    (@begin $tile:ident $start:ident $sums:ident $sources:ident [$($i:literal)+]) => {
        let mut $sums = [$({ let _ = $i; $start }),+];
        let $sources = [$((*$tile.places.add($i)).source),+];
    };
    (@values $sources:ident $at:ident [$($i:literal)+]) => {
        [$(values($sources[$i].add($at))),+]
    };
    (@word $lane:literal $sums:ident $values:ident $weights:ident $vectors:tt [$($i:literal)+]) => {
        let word = words!(@weights $lane $weights $vectors);
        $(words!(@pixel $lane $sums $values word $i $vectors);)+
    };
    (@weights $lane:literal $weights:ident [$($v:literal)+]) => {
        [$(load($weights.add(16 * ($lane * VECTORS + $v)))),+]
    };
    (@pixel $lane:literal $sums:ident $values:ident $word:ident $i:literal [$($v:literal)+]) => {
        $($sums[$i][$v] = dot::<$lane>($sums[$i][$v], $word[$v], $values[$i]);)+
    };
    (@end $end:ident $tile:ident $sums:ident [$($i:literal)+]) => {
        $($end($tile, $i, $sums[$i]);)+
    };
}
pub(super) use words;

/// The tile of a single pixel: with four sums a vector, one for each word of 16 bytes, since each waits for the one before.
macro_rules! line {
    ($features:literal $end:ident $heads:literal [$($v:literal)+] $name:ident) => {
        /// # Safety
        /// As of [`Tile`], for a panel of so many vectors and one pixel.
        #[target_feature(enable = $features)]
        unsafe fn $name(tile: &Tile<'_, Ends>) {
            const VECTORS: usize = [$($v),+].len();
            // SAFETY: as for the other tiles.
            unsafe {
                let mut first = [$(start(tile.panel.add(16 * $v))),+];
                let (mut second, mut third, mut fourth) =
                    ([$(none($v)),+], [$(none($v)),+], [$(none($v)),+]);
                let mut weights = tile.panel.add(16 * $heads * VECTORS);
                let source = (*tile.places).source;
                for y in 0..tile.runs[0] {
                    for x in 0..tile.runs[1] {
                        let mut at = y * tile.steps[0] + x * tile.steps[1];
                        for _ in 0..tile.whole {
                            let x = values(source.add(at));
                            $(first[$v] = dot::<0>(first[$v], load(weights.add(16 * $v)), x);)+
                            $(second[$v] = dot::<1>(second[$v], load(weights.add(16 * (VECTORS + $v))), x);)+
                            $(third[$v] = dot::<2>(third[$v], load(weights.add(16 * (2 * VECTORS + $v))), x);)+
                            $(fourth[$v] = dot::<3>(fourth[$v], load(weights.add(16 * (3 * VECTORS + $v))), x);)+
                            weights = weights.add(64 * VECTORS);
                            at += 16;
                        }
                        if tile.rest > 0 {
                            let x = values(source.add(at));
                            $(first[$v] = dot::<0>(first[$v], load(weights.add(16 * $v)), x);)+
                            if tile.rest > 1 {
                                $(second[$v] = dot::<1>(second[$v], load(weights.add(16 * (VECTORS + $v))), x);)+
                            }
                            if tile.rest > 2 {
                                $(third[$v] = dot::<2>(third[$v], load(weights.add(16 * (2 * VECTORS + $v))), x);)+
                            }
                            weights = weights.add(16 * VECTORS * tile.rest);
                        }
                    }
                }
                $end(tile, 0, [$(add(add(first[$v], second[$v]), add(third[$v], fourth[$v]))),+]);
            }
        }
    };
}
pub(super) use line;
