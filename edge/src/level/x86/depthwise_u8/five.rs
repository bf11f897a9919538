//! Kernels of 5 x 5 where there are 16 registers: half of a block's channels at a time, two vectors of sums for each of the
//! outputs that a column takes part in, which the registers hold.
//!
//! A vector has 8 channels of two places: of two rows where a block has few channels, else the 8 that lie 16 further. A level
//! gives `Words`, what it multiplies of a vector of words, `words`, which makes them, and `taps`, which adds the products.

/// Products of the column at a place: sums, those that they go on from, and the kernel's column. All of a vector's, then those of
/// the other, or the words of both would be in registers.
macro_rules! go {
    ([$groups:ident, $at:ident, $walk:ident, $weights:ident] $($sums:ident = $from:expr, $x:literal;)+) => {{
        let (four, fifth) = half_column::<$groups>($at, $walk.offsets);
        $at = $at.map(|at| at.wrapping_add($walk.pixel));
        let first = words(four.0);
        $(
            $sums.0 = taps($from.0, first, fifth.0, $weights, $x, 0);
            here!($sums.0);
        )+
        // Nothing of the other's before.
        let (mut four, mut fifth) = (four.1, fifth.1);
        here!(four, fifth);
        let second = words(four);
        $(
            $sums.1 = taps($from.1, second, fifth, $weights, $x, 1);
            here!($sums.1);
        )+
    }};
}
pub(super) use go;

macro_rules! five {
    ($features:literal) => {
        /// Two of the four vectors of a block.
        #[derive(Clone, Copy)]
        struct Pair(V, V);

        /// The words of a column for half of a block: its first four rows, to be widened, and its fifth, whose words have 16 bits of
        /// it, and what has weights of 0 in the others.
        ///
        /// # Safety
        /// 16 bytes lie at each of the offsets of five rows behind both places; with one group, the second is 16 behind the first.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn half_column<const G: usize>(at: [*const u8; 2], offsets: &[[usize; 4]]) -> (Pair, Pair) {
            // SAFETY: the caller's word.
            unsafe {
                let load = |offset: usize| {
                    if G == 1 {
                        return _mm256_loadu_si256(at[0].add(offset).cast());
                    }
                    let low = _mm_loadu_si128(at[0].add(offset).cast());
                    _mm256_set_m128i(_mm_loadu_si128(at[1].add(offset).cast()), low)
                };
                let ab = _mm256_unpacklo_epi8(load(offsets[0][0]), load(offsets[0][1]));
                let cd = _mm256_unpacklo_epi8(load(offsets[0][2]), load(offsets[0][3]));
                let e = _mm256_unpacklo_epi8(load(offsets[1][0]), _mm256_setzero_si256());
                (
                    Pair(_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd)),
                    Pair(_mm256_unpacklo_epi16(e, e), _mm256_unpackhi_epi16(e, e)),
                )
            }
        }

        /// Two vectors of sums as bytes: in each half of the vector, those of one place.
        ///
        /// # Safety
        /// Two vectors of multipliers lie at `multipliers`, aligned.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn bytes_of(sums: Pair, multipliers: *const V, end: &End) -> V {
            // SAFETY: the caller's word.
            let (first, second) = unsafe { (*multipliers, *multipliers.add(1)) };
            let words = pack32(rounded::<false>(sums.0, first), rounded::<false>(sums.1, second));
            let words = adds16(words, end.zero);
            min8(max8(pack16(words, words), end.low), end.high)
        }

        /// What one call of [`half_row`] computes: 8 channels, or fewer, of two places.
        struct Half {
            /// The first taps of the first outputs.
            at: [*const u8; 2],
            /// The first outputs.
            out: [*mut u8; 2],
            /// How many of the channels each has.
            channels: [usize; 2],
            /// Which of the block's halves.
            number: usize,
        }

        /// One output row a group.
        ///
        /// # Safety
        /// As of [`Walk`], of a layer of `Kind::Five` with strides of `STEP` pixels.
        #[target_feature(enable = $features)]
        unsafe fn five<const G: usize, const STEP: usize>(walk: &Walk<'_>) {
            for strip in 0..walk.strips {
                let (mut at, mut out) = walk.strip::<G, 1>(strip);
                let mut channels = [walk.channels.min(16), walk.channels];
                if G == 1 {
                    (at[1], out[1]) = (at[0].wrapping_add(16), out[0].wrapping_add(16));
                    channels[1] -= 16;
                }
                for number in 0..2 {
                    let first = 8 * number;
                    let half = Half {
                        at: [at[0].wrapping_add(first), at[1].wrapping_add(first)],
                        out: [out[0].wrapping_add(first), out[1].wrapping_add(first)],
                        channels: channels.map(|channels| channels.saturating_sub(first).min(8)),
                        number,
                    };
                    // SAFETY: the caller's word; behind a block's channels a vector may be read.
                    unsafe { half_row::<G, STEP>(walk, &half) };
                }
            }
        }

        /// A row of half of a block's channels.
        ///
        /// # Safety
        /// As of [`five`]; places and channels are of the walk.
        #[inline(never)]
        #[target_feature(enable = $features)]
        unsafe fn half_row<const G: usize, const STEP: usize>(walk: &Walk<'_>, half: &Half) {
            let Half { mut at, mut out, channels, number } = *half;
            // Of each four vectors that hold one number a channel, two; the weights of a column have twice as many.
            let bias = walk.block.wrapping_add(number * QUAD / 2).cast::<V>();
            let multipliers = bias.wrapping_byte_add(QUAD);
            let weights = walk.block.wrapping_add(2 * QUAD + number * COLUMN / 2);
            let end = End::new(walk);
            let end = core::hint::black_box(&end);
            macro_rules! bias {
                () => {
                    Pair(*bias, *bias.add(1))
                };
            }
            // SAFETY: the walk's constants and pixels are there.
            unsafe {
                // Outputs whose columns up to the last one's are in. What they begin with is overwritten before it is stored.
                let none = Pair(all16(0), all16(0));
                let (mut done, mut a, mut b, mut c, mut d) = (none, none, none, none, none);
                if STEP == 1 {
                    for _ in 0..2 {
                        go!([G, at, walk, weights] c = d, 1; d = bias!(), 0;);
                    }
                    for _ in 0..2 {
                        go!([G, at, walk, weights] a = b, 3; b = c, 2; c = d, 1; d = bias!(), 0;);
                    }
                } else {
                    go!([G, at, walk, weights] d = bias!(), 0;);
                    go!([G, at, walk, weights] c = d, 1;);
                    go!([G, at, walk, weights] c = c, 2; d = bias!(), 0;);
                }
                for _ in 0..walk.shape.size[1] {
                    if STEP == 1 {
                        go!([G, at, walk, weights] done = a, 4; a = b, 3; b = c, 2; c = d, 1; d = bias!(), 0;);
                    } else {
                        go!([G, at, walk, weights] c = c, 3; d = d, 1;);
                        go!([G, at, walk, weights] done = c, 4; c = d, 2; d = bias!(), 0;);
                    }
                    let bytes = bytes_of(done, multipliers, end);
                    let (first, second) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
                    if channels == [8, 8] {
                        _mm_storel_epi64(out[0].cast(), first);
                        _mm_storel_epi64(out[1].cast(), second);
                    } else {
                        store_some(first, out[0], channels[0]);
                        store_some(second, out[1], channels[1]);
                    }
                    out = out.map(|out| out.wrapping_add(walk.out_pixel));
                }
            }
        }
    };
}
pub(super) use five;
