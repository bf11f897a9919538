//! The tiles of all levels, written out by macros: a sum a name, since sums in arrays end up on the stack.
//!
//! A level's module has what these macros name: `Vector`, `load`, `load_floats`, `word`, `dot`, `bounded`, `steps`, `pair`,
//! `bytes`, `pixels`, `first`, `second`, `store` and `keep`; for single pixels
//! `zero` and `sum`; for pairs of words `pair_of_words`, `added` and `narrow_tail`.

/// The level's entry points.
macro_rules! entries {
    () => {
        pub(in crate::level::x86) const KERNEL: ByteKernel = ByteKernel { packed, pack, scratch, run };

        fn packed(shape: &Shape) -> usize {
            TILES.layout.bytes(shape)
        }

        fn scratch(shape: &Shape) -> usize {
            TILES.scratch(shape)
        }

        fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
            TILES.layout.pack(shape, constants, out);
        }

        /// # Safety
        /// As of [`ByteKernel::run`].
        unsafe fn run(layer: &ByteLayer<'_>, rows: Range<usize>) {
            // SAFETY: the caller's word.
            unsafe { TILES.run(layer, rows) };
        }
    };
}
pub(super) use entries;

/// Tiles of two vectors: one for each number of pixels up to all that are listed.
///
/// The empty instruction that takes two sums and is said to touch memory keeps the words that follow from being loaded
/// before: else the compiler loads all of them first, and the sums have no room in registers.
macro_rules! wide {
    ($features:literal $class:ident [$($done:tt)*]) => {};
    ($features:literal $class:ident [$($done:tt)*] ($name:ident $i:literal $p:ident $a:ident $b:ident) $($rest:tt)*) => {
        crate::level::x86::dense_u8::tile::wide!(@tile $features $class $name $($done)* $i $p $a $b);
        crate::level::x86::dense_u8::tile::wide!($features $class [$($done)* $i $p $a $b] $($rest)*);
    };
    (@tile $features:literal $class:ident $name:ident $($i:literal $p:ident $a:ident $b:ident)*) => {
        /// # Safety
        /// As of [`Tile`], for a panel of `Kind::Wide` and so many pixels.
        #[target_feature(enable = $features)]
        unsafe fn $name(tile: &Tile<'_>) {
            // SAFETY: the panel is as `pack` wrote it; every pixel has all runs, and a word behind them may be read.
            unsafe {
                let panel = tile.panel.cast::<Vector>();
                let (first, second) = (load(panel), load(panel.add(1)));
                $(let $p = (*tile.places.add($i)).source;)*
                $(let (mut $a, mut $b) = (first, second);)*
                let mut weights = panel.add(2 * HEAD);
                let mut ahead = tile.ahead;
                for &at in tile.words {
                    _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                    ahead = ahead.wrapping_add(64);
                    let (first, second) = (load(weights), load(weights.add(1)));
                    $(
                        let values = word($p.add(at));
                        $a = dot($a, values, first);
                        $b = dot($b, values, second);
                        core::arch::asm!(
                            "/* {0} {1} */", inout($class) $a, inout($class) $b, options(nostack, preserves_flags)
                        );
                    )*
                    weights = weights.add(2);
                }
                if tile.careful {
                    let (first, second) = (load(panel.add(4)), load(panel.add(5)));
                    $($a = bounded($a, first);)*
                    $($b = bounded($b, second);)*
                }
                let multipliers = (load_floats(panel.add(2)), load_floats(panel.add(3)));
                crate::level::x86::dense_u8::tile::wide!(@tail tile multipliers; $($i $a $b)*);
            }
        }
    };
    (@tail $tile:ident $m:ident;) => {};
    (@tail $tile:ident $m:ident; $i:literal $a:ident $b:ident) => {
        let one = pair(steps($a, $m.0), steps($b, $m.1));
        let bytes = pixels(bytes(one, one, $tile.ends), $tile.ends);
        if $tile.stage.is_null() {
            store((*$tile.places.add($i)).target.add($tile.channel), first(bytes), $tile.channels);
        } else {
            keep($tile.stage.cast::<Vector>().add($i / 2), bytes);
        }
    };
    (@tail $tile:ident $m:ident; $i:literal $a:ident $b:ident $j:literal $c:ident $d:ident $($rest:tt)*) => {
        let one = pair(steps($a, $m.0), steps($b, $m.1));
        let two = pair(steps($c, $m.0), steps($d, $m.1));
        let bytes = pixels(bytes(one, two, $tile.ends), $tile.ends);
        if $tile.stage.is_null() {
            store((*$tile.places.add($i)).target.add($tile.channel), first(bytes), $tile.channels);
            store((*$tile.places.add($j)).target.add($tile.channel), second(bytes), $tile.channels);
        } else {
            keep($tile.stage.cast::<Vector>().add($i / 2), bytes);
        }
        crate::level::x86::dense_u8::tile::wide!(@tail $tile $m; $($rest)*);
    };
}
pub(super) use wide;

/// The tile of a single pixel: with four sums a vector, since each waits for the one before.
macro_rules! single {
    ($features:literal $name:ident) => {
        /// # Safety
        /// As of [`Tile`], for a panel of `Kind::Wide` and one pixel.
        #[target_feature(enable = $features)]
        unsafe fn $name(tile: &Tile<'_>) {
            // SAFETY: as for the other tiles.
            unsafe {
                let panel = tile.panel.cast::<Vector>();
                let (mut a, mut b) = (load(panel), load(panel.add(1)));
                let (mut c, mut d, mut e, mut f, mut g, mut h) = (zero(), zero(), zero(), zero(), zero(), zero());
                let pixel = (*tile.places).source;
                let mut weights = panel.add(2 * HEAD);
                let (fours, rest) = tile.words.as_chunks();
                for &[at_0, at_1, at_2, at_3] in fours {
                    let values = word(pixel.add(at_0));
                    (a, b) = (dot(a, values, load(weights)), dot(b, values, load(weights.add(1))));
                    let values = word(pixel.add(at_1));
                    (c, d) = (dot(c, values, load(weights.add(2))), dot(d, values, load(weights.add(3))));
                    let values = word(pixel.add(at_2));
                    (e, f) = (dot(e, values, load(weights.add(4))), dot(f, values, load(weights.add(5))));
                    let values = word(pixel.add(at_3));
                    (g, h) = (dot(g, values, load(weights.add(6))), dot(h, values, load(weights.add(7))));
                    weights = weights.add(8);
                }
                for &at in rest {
                    let values = word(pixel.add(at));
                    (a, b) = (dot(a, values, load(weights)), dot(b, values, load(weights.add(1))));
                    weights = weights.add(2);
                }
                (a, b) = (sum(sum(a, c), sum(e, g)), sum(sum(b, d), sum(f, h)));
                if tile.careful {
                    (a, b) = (bounded(a, load(panel.add(4))), bounded(b, load(panel.add(5))));
                }
                let multipliers = (load_floats(panel.add(2)), load_floats(panel.add(3)));
                crate::level::x86::dense_u8::tile::wide!(@tail tile multipliers; 0 a b);
            }
        }
    };
}
pub(super) use single;

/// Tiles of one vector that read pairs of words. For the empty instruction see `wide`.
macro_rules! quad {
    ($features:literal $class:ident [$($done:tt)*]) => {};
    ($features:literal $class:ident [$($done:tt)*] ($name:ident $i:literal $p:ident $a:ident $b:ident) $($rest:tt)*) => {
        crate::level::x86::dense_u8::tile::quad!(@tile $features $class $name $($done)* $i $p $a $b);
        crate::level::x86::dense_u8::tile::quad!($features $class [$($done)* $i $p $a $b] $($rest)*);
    };
    (@tile $features:literal $class:ident $name:ident $($i:literal $p:ident $a:ident $b:ident)*) => {
        /// # Safety
        /// As of [`Tile`], for a panel of `Kind::Quad` and so many pixels.
        #[target_feature(enable = $features)]
        unsafe fn $name(tile: &Tile<'_>) {
            // SAFETY: the panel is as `pack` wrote it; every pixel has all runs, and two words behind them may be read.
            unsafe {
                let panel = tile.panel.cast::<Vector>();
                let (first, second) = (load(panel), load(panel.add(1)));
                $(let $p = (*tile.places.add($i)).source;)*
                $(let (mut $a, mut $b) = (first, second);)*
                let mut weights = panel.add(QUAD_HEAD);
                for &at in tile.words {
                    let (first, second) = (load(weights), load(weights.add(1)));
                    $(
                        let values = pair_of_words($p.add(at));
                        $a = dot($a, values, first);
                        $b = dot($b, values, second);
                        core::arch::asm!(
                            "/* {0} {1} */", inout($class) $a, inout($class) $b, options(nostack, preserves_flags)
                        );
                    )*
                    weights = weights.add(2);
                }
                $(let mut $a = added($a, $b);)*
                if tile.careful {
                    let first = load(panel.add(3));
                    $($a = bounded($a, first);)*
                }
                let m = load_floats(panel.add(2));
                narrow_tail!(tile m; $($i $a)*);
            }
        }
    };
}
pub(super) use quad;
