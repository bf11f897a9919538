//! Numbers of a block's channels and what becomes of sums, compiled for each width of vectors, whose instructions a level names.

macro_rules! tail {
    ($features:literal) => {
        /// Four vectors that hold a number for each channel of a block.
        #[derive(Clone, Copy)]
        struct Quad(V, V, V, V);

        /// Bytes of a number a channel.
        const QUAD: usize = 4 * size_of::<V>();

        /// # Safety
        /// A block's numbers, four aligned vectors as `pack` wrote them, lie at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn quad(at: *const u8) -> Quad {
            let at = at.cast::<V>();
            // SAFETY: the caller's word; constants are aligned.
            unsafe { Quad(*at, *at.add(1), *at.add(2), *at.add(3)) }
        }

        /// What the tail adds and keeps to.
        struct End {
            zero: V,
            low: V,
            high: V,
        }

        impl End {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(walk: &Walk<'_>) -> Self {
                Self { zero: all16(walk.zero.into()), low: all8(walk.low as i8), high: all8(walk.high as i8) }
            }
        }

        /// Four sums times their multipliers, rounded. Beyond an `i32` the least one comes out, which is why large ones are
        /// cut first where there may be any.
        #[inline]
        #[target_feature(enable = $features)]
        fn rounded<const CAREFUL: bool>(sums: V, multipliers: V) -> V {
            let x = mulf(to_floats(sums), as_floats(multipliers));
            // The second operand is the answer where it is no number.
            let x = if CAREFUL { minf(all(1e9), x) } else { x };
            to_words(x)
        }

        /// Sums as bytes, in the order of channels.
        ///
        /// # Safety
        /// `block` is that of a walk: biases, and behind them multipliers.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn ended<const PLAIN: bool, const CAREFUL: bool, const PARITY: bool>(
            sums: Quad,
            block: *const u8,
            end: &End,
        ) -> V {
            // SAFETY: the caller's word.
            let multipliers = unsafe { quad(block.add(QUAD)) };
            let a = rounded::<CAREFUL>(sums.0, multipliers.0);
            let b = rounded::<CAREFUL>(sums.1, multipliers.1);
            let c = rounded::<CAREFUL>(sums.2, multipliers.2);
            let d = rounded::<CAREFUL>(sums.3, multipliers.3);
            let (ab, cd) = (pack32(a, b), pack32(c, d));
            let (ab, cd) = if PLAIN { (ab, cd) } else { (adds16(ab, end.zero), adds16(cd, end.zero)) };
            let bytes = pack16(ab, cd);
            let bytes = if PARITY { even_and_odd(bytes) } else { bytes };
            if PLAIN {
                return bytes;
            }
            min8(max8(bytes, end.low), end.high)
        }
    };
}
pub(super) use tail;

/// Products of bytes by one instruction, `dot`.
macro_rules! dots {
    ($features:literal) => {
        /// Bytes of the weights of a column.
        const COLUMN: usize = QUAD;

        /// Adds the products of four taps.
        ///
        /// # Safety
        /// A column's weights, as `pack` wrote them, lie at `weights`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn products(sums: Quad, words: Quad, weights: *const u8) -> Quad {
            // SAFETY: the caller's word.
            let weights = unsafe { quad(weights) };
            Quad(
                dot(sums.0, words.0, weights.0),
                dot(sums.1, words.1, weights.1),
                dot(sums.2, words.2, weights.2),
                dot(sums.3, words.3, weights.3),
            )
        }

        #[inline(always)]
        fn settled(sums: Quad) -> Quad {
            sums
        }

        /// The products of a column with weights of two of the kernel's columns: those that end `sums`, and those that begin.
        ///
        /// # Safety
        /// Biases and weights, as `pack` wrote them, lie where they are said to.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn stepped(sums: Quad, words: Quad, bias: *const u8, weights: [*const u8; 2]) -> (Quad, Quad) {
            // SAFETY: the caller's word.
            unsafe { (products(sums, words, weights[0]), products(quad(bias), words, weights[1])) }
        }

        /// The products of a column with weights of three of the kernel's columns: those that end the first sums, those that
        /// go on with the second, and those that begin.
        ///
        /// # Safety
        /// As of `stepped`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn slid(sums: [Quad; 2], words: Quad, bias: *const u8, weights: [*const u8; 3]) -> (Quad, Quad, Quad) {
            let [first, second] = sums;
            // SAFETY: the caller's word.
            unsafe {
                let done = products(first, words, weights[0]);
                (done, products(second, words, weights[1]), products(quad(bias), words, weights[2]))
            }
        }
    };
}
pub(super) use dots;
