//! The strips of depthwise layers, compiled once for each kind of vector. A level gives `column`, which loads
//! and interleaves up to four rows of a column, `products` and, for several sums with the same column, `stepped` and `slid`,
//! `settled`, `quad`, `ended` and `store`.
//!
//! A strip keeps the sums of outputs that are not complete in registers and goes over the input's columns once. Sums are
//! named, not looped over, or they would lie in memory.

macro_rules! tiles {
    ($features:literal, $groups:tt, $two:tt, $five:tt, $parity:literal, $later:literal) => {
        /// Whether `three` and `five` have words in the order of parity.
        const PARITY: bool = $parity;

        /// Whether there are registers for sums that wait until the next pixel's are there.
        const LATER: bool = $later;

        #[inline(always)]
        fn advance(at: [*const u8; 4], by: usize) -> [*const u8; 4] {
            let [a, b, c, d] = at;
            [a.wrapping_add(by), b.wrapping_add(by), c.wrapping_add(by), d.wrapping_add(by)]
        }

        /// The same; nothing is read before it that comes after it, so that no more is in registers than is needed.
        #[inline(always)]
        fn next(at: [*const u8; 4], by: usize) -> [*const u8; 4] {
            // SAFETY: no instruction.
            unsafe { core::arch::asm!("", options(nostack, preserves_flags)) };
            advance(at, by)
        }

        #[inline(always)]
        fn advance_mut(at: [*mut u8; 4], by: usize) -> [*mut u8; 4] {
            let [a, b, c, d] = at;
            [a.wrapping_add(by), b.wrapping_add(by), c.wrapping_add(by), d.wrapping_add(by)]
        }

        /// Kernels of 3 x 3, one output row a group.
        ///
        /// # Safety
        /// As of [`Walk`], of a layer of `Kind::Three` with strides of `STEP` pixels.
        #[target_feature(enable = $features)]
        unsafe fn three<const G: usize, const STEP: usize, const PLAIN: bool>(walk: &Walk<'_>) {
            let offsets = walk.offsets[0];
            let bias = walk.block;
            let weights = bias.wrapping_add(2 * QUAD);
            let [w0, w1, w2] = [weights, weights.wrapping_add(COLUMN), weights.wrapping_add(2 * COLUMN)];
            let end = End::new(walk);
            let end = core::hint::black_box(&end);
            for strip in 0..walk.strips {
                let (mut at, mut out) = walk.strip::<G, 1>(strip);
                // SAFETY: the walk's constants and pixels are there.
                unsafe {
                    let v = column::<G, 3, PARITY>(at, &offsets);
                    let mut b = settled(products(quad(bias), v, w0));
                    if STEP == 1 {
                        at = next(at, walk.pixel);
                        let v = column::<G, 3, PARITY>(at, &offsets);
                        let mut a = settled(products(b, v, w1));
                        b = settled(products(quad(bias), v, w0));
                        for _ in 0..walk.shape.size[1] {
                            at = advance(at, walk.pixel);
                            let v = column::<G, 3, PARITY>(at, &offsets);
                            let done;
                            (done, a, b) = slid([a, b], v, bias, [w2, w1, w0]);
                            store::<G>(ended::<PLAIN, false, PARITY>(done, walk.block, end), out, walk.channels);
                            out = advance_mut(out, walk.out_pixel);
                        }
                    } else {
                        let mut done = b;
                        for x in 0..=walk.shape.size[1] {
                            let before = done;
                            if !LATER && x > 0 {
                                store::<G>(ended::<PLAIN, false, PARITY>(before, walk.block, end), out, walk.channels);
                                out = advance_mut(out, walk.out_pixel);
                            }
                            if x < walk.shape.size[1] {
                                let v = column::<G, 3, PARITY>(next(at, walk.pixel), &offsets);
                                let a = settled(products(b, v, w1));
                                at = advance(at, 2 * walk.pixel);
                                let v = column::<G, 3, PARITY>(at, &offsets);
                                (done, b) = stepped(a, v, bias, [w2, w0]);
                            }
                            // One pixel later, so that the sums are there.
                            if LATER && x > 0 {
                                store::<G>(ended::<PLAIN, false, PARITY>(before, walk.block, end), out, walk.channels);
                                out = advance_mut(out, walk.out_pixel);
                            }
                        }
                    }
                }
            }
        }

        /// Any kernel, one output row a group, each output's columns interleaved anew.
        ///
        /// # Safety
        /// As of [`Walk`].
        #[target_feature(enable = $features)]
        unsafe fn any<const G: usize>(walk: &Walk<'_>) {
            let shape = walk.shape;
            let end = End::new(walk);
            let end = core::hint::black_box(&end);
            // Weights shifted by a row lie between the others.
            let between = if walk.shifted { 2 * COLUMN } else { COLUMN };
            for (at, out, x) in (0..walk.strips).flat_map(|strip| {
                    let (at, out) = walk.strip::<G, 1>(strip);
                    (0..shape.size[1]).map(move |x| (at, out, x))
            }) {
                // SAFETY: the walk's constants and pixels are there.
                unsafe {
                    let from = advance(at, x * shape.stride[1] * walk.pixel);
                    let mut weights = walk.block.add(2 * QUAD);
                    let mut sums = quad(walk.block);
                    for offsets in walk.offsets {
                        let mut at = from;
                        for _ in 0..shape.kernel[1] {
                            sums = products(sums, column::<G, 4, false>(at, offsets), weights);
                            weights = weights.wrapping_add(between);
                            at = advance(at, shape.dilation[1] * walk.pixel);
                        }
                    }
                    let out = advance_mut(out, x * walk.out_pixel);
                    store::<G>(ended::<false, true, false>(sums, walk.block, end), out, walk.channels);
                }
            }
        }

        const fn strips<const G: usize>() -> Strips {
            Strips {
                three: [tiles!(@one $two), [three::<G, 2, false>, three::<G, 2, true>]],
                three_two: tiles!(@two $two),
                five: tiles!(@five $five),
                any: any::<G>,
            }
        }

        tiles!(@strips $groups);
        tiles!(@two_rows $features, $two);
        tiles!(@five_wide $features, $five);
    };
    (@strips [$($groups:literal),*]) => {
        pub(super) static STRIPS: [Strips; [$($groups),*].len()] = [$(strips::<$groups>()),*];
    };
    (@two true) => {
        [three_two::<G, false>, three_two::<G, true>]
    };
    (@two false) => {
        [any::<G>; 2]
    };
    (@one true) => {
        [any::<G>; 2]
    };
    (@one false) => {
        [three::<G, 1, false>, three::<G, 1, true>]
    };
    (@two_rows $features:literal, false) => {};
    (@two_rows $features:literal, true) => {
        /// Kernels of 3 x 3, two output rows a group.
        ///
        /// # Safety
        /// As of [`Walk`], of a layer of `Kind::ThreeTwo`, with at least two rows.
        #[target_feature(enable = $features)]
        unsafe fn three_two<const G: usize, const PLAIN: bool>(walk: &Walk<'_>) {
            let offsets = walk.offsets[0];
            let bias = walk.block;
            let weights = bias.wrapping_add(2 * QUAD);
            let w = |x: usize, row: usize| weights.wrapping_add((2 * x + row) * COLUMN);
            let end = End::new(walk);
            let end = core::hint::black_box(&end);
            for strip in 0..walk.strips {
                let (mut at, mut out) = walk.strip::<G, 2>(strip);
                // SAFETY: the walk's constants and pixels are there.
                unsafe {
                    let v = column::<G, 4, false>(at, &offsets);
                    let mut b0 = products(quad(bias), v, w(0, 0));
                    let mut b1 = products(quad(bias), v, w(0, 1));
                    at = advance(at, walk.pixel);
                    let v = column::<G, 4, false>(at, &offsets);
                    let mut a0 = products(b0, v, w(1, 0));
                    let mut a1 = products(b1, v, w(1, 1));
                    b0 = products(quad(bias), v, w(0, 0));
                    b1 = products(quad(bias), v, w(0, 1));
                    let (mut done0, mut done1) = (a0, a1);
                    for x in 0..=walk.shape.size[1] {
                        let v = if x < walk.shape.size[1] {
                            at = next(at, walk.pixel);
                            column::<G, 4, false>(at, &offsets)
                        } else {
                            done0
                        };
                        if x > 0 {
                            store::<G>(ended::<PLAIN, false, false>(done0, walk.block, end), out, walk.channels);
                            let below = advance_mut(out, walk.out_row);
                            store::<G>(ended::<PLAIN, false, false>(done1, walk.block, end), below, walk.channels);
                            out = advance_mut(out, walk.out_pixel);
                        }
                        if x < walk.shape.size[1] {
                            done0 = products(a0, v, w(2, 0));
                            done1 = products(a1, v, w(2, 1));
                            a0 = products(b0, v, w(1, 0));
                            a1 = products(b1, v, w(1, 1));
                            b0 = products(quad(bias), v, w(0, 0));
                            b1 = products(quad(bias), v, w(0, 1));
                        }
                    }
                }
            }
        }
    };
    (@five false) => {
        [any::<G>; 2]
    };
    (@five halves) => {
        [five::<G, 1>, five::<G, 2>]
    };
    (@five true) => {
        if G < 4 { [five::<G, 1>, five::<G, 2>] } else { [any::<G>; 2] }
    };
    (@five_wide $features:literal, false) => {};
    (@five_wide $features:literal, halves) => {};
    (@five_wide $features:literal, true) => {
        /// Kernels of 5 x 5, one output row a group.
        ///
        /// # Safety
        /// As of [`Walk`], of a layer of `Kind::Five` with strides of `STEP` pixels.
        #[target_feature(enable = $features)]
        unsafe fn five<const G: usize, const STEP: usize>(walk: &Walk<'_>) {
            let (first, second) = (walk.offsets[0], walk.offsets[1]);
            let bias = walk.block;
            let weights = bias.wrapping_add(2 * QUAD);
            let w = |four: usize, x: usize| weights.wrapping_add((5 * four + x) * COLUMN);
            let end = End::new(walk);
            let end = core::hint::black_box(&end);
            for strip in 0..walk.strips {
                let (mut at, mut out) = walk.strip::<G, 1>(strip);
                // SAFETY: the walk's constants and pixels are there.
                unsafe {
                    // The sums of outputs whose columns up to the last one's are in.
                    let v = column::<G, 4, PARITY>(at, &first);
                    let u = column::<G, 1, PARITY>(at, &second);
                    let mut d = products(products(quad(bias), v, w(0, 0)), u, w(1, 0));
                    at = next(at, walk.pixel);
                    let v = column::<G, 4, PARITY>(at, &first);
                    let u = column::<G, 1, PARITY>(at, &second);
                    let mut c = products(products(d, v, w(0, 1)), u, w(1, 1));
                    if STEP == 1 {
                        d = products(products(quad(bias), v, w(0, 0)), u, w(1, 0));
                        at = next(at, walk.pixel);
                        let v = column::<G, 4, PARITY>(at, &first);
                        let u = column::<G, 1, PARITY>(at, &second);
                        let mut b = products(products(c, v, w(0, 2)), u, w(1, 2));
                        c = products(products(d, v, w(0, 1)), u, w(1, 1));
                        d = products(products(quad(bias), v, w(0, 0)), u, w(1, 0));
                        at = next(at, walk.pixel);
                        let v = column::<G, 4, PARITY>(at, &first);
                        let u = column::<G, 1, PARITY>(at, &second);
                        let mut a = products(products(b, v, w(0, 3)), u, w(1, 3));
                        b = products(products(c, v, w(0, 2)), u, w(1, 2));
                        c = products(products(d, v, w(0, 1)), u, w(1, 1));
                        d = products(products(quad(bias), v, w(0, 0)), u, w(1, 0));
                        let mut done = a;
                        for x in 0..=walk.shape.size[1] {
                            let before = done;
                            if x < walk.shape.size[1] {
                                at = next(at, walk.pixel);
                                let v = column::<G, 4, PARITY>(at, &first);
                                done = products(a, v, w(0, 4));
                                a = products(b, v, w(0, 3));
                                b = products(c, v, w(0, 2));
                                c = products(d, v, w(0, 1));
                                d = products(quad(bias), v, w(0, 0));
                            }
                            // One pixel later, so that the sums are there.
                            if x > 0 {
                                store::<G>(ended::<false, false, PARITY>(before, walk.block, end), out, walk.channels);
                                out = advance_mut(out, walk.out_pixel);
                            }
                            if x < walk.shape.size[1] {
                                let u = column::<G, 1, PARITY>(at, &second);
                                done = products(done, u, w(1, 4));
                                a = products(a, u, w(1, 3));
                                b = products(b, u, w(1, 2));
                                c = products(c, u, w(1, 1));
                                d = products(d, u, w(1, 0));
                            }
                        }
                    } else {
                        // `c` has two columns, the next even one begins `d`.
                        at = next(at, walk.pixel);
                        let v = column::<G, 4, PARITY>(at, &first);
                        let u = column::<G, 1, PARITY>(at, &second);
                        c = products(products(c, v, w(0, 2)), u, w(1, 2));
                        d = products(products(quad(bias), v, w(0, 0)), u, w(1, 0));
                        let mut done = c;
                        for x in 0..=walk.shape.size[1] {
                            let before = done;
                            if x < walk.shape.size[1] {
                                let odd = next(at, walk.pixel);
                                let v = column::<G, 4, PARITY>(odd, &first);
                                let a = products(c, v, w(0, 3));
                                let b = products(d, v, w(0, 1));
                                let u = column::<G, 1, PARITY>(odd, &second);
                                done = products(a, u, w(1, 3));
                                c = products(b, u, w(1, 1));
                            }
                            if x > 0 {
                                store::<G>(ended::<false, false, PARITY>(before, walk.block, end), out, walk.channels);
                                out = advance_mut(out, walk.out_pixel);
                            }
                            if x < walk.shape.size[1] {
                                at = advance(at, 2 * walk.pixel);
                                let v = column::<G, 4, PARITY>(at, &first);
                                done = products(done, v, w(0, 4));
                                c = products(c, v, w(0, 2));
                                d = products(quad(bias), v, w(0, 0));
                                let u = column::<G, 1, PARITY>(at, &second);
                                done = products(done, u, w(1, 4));
                                c = products(c, u, w(1, 2));
                                d = products(d, u, w(1, 0));
                            }
                        }
                    }
                }
            }
        }
    };
}
pub(super) use tiles;
