//! Sums, products, windows and roundings of bytes, compiled for each width of vectors, whose instructions `simple.rs` names.

macro_rules! bytes {
    ($features:literal) => {
        use crate::layer::{Source, Target};
        use crate::simple::{Addition, Mean, Multiplication, Window};

        /// # Safety
        /// A vector's bytes lie at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load(at: *const u8) -> I {
            // SAFETY: the caller's word.
            unsafe { load_vector(at.cast()) }
        }

        /// # Safety
        /// There is room for a vector at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn store(at: *mut u8, bytes: I) {
            // SAFETY: the caller's word.
            unsafe { store_vector(at.cast(), bytes) };
        }

        /// A vector's bytes, or as many as there are.
        ///
        /// # Safety
        /// `count` bytes lie at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load_up_to(at: *const u8, count: usize) -> I {
            // SAFETY: the caller's word.
            unsafe { if count >= BYTES { load(at) } else { load_some(at, count) } }
        }

        /// A vector's bytes, or as many as there is room for.
        ///
        /// # Safety
        /// There is room for `count` bytes at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn store_up_to(at: *mut u8, bytes: I, count: usize) {
            // SAFETY: the caller's word.
            unsafe { if count >= BYTES { store(at, bytes) } else { store_some(at, bytes, count) } }
        }

        /// What a byte is kept to.
        #[derive(Clone, Copy)]
        struct Kept {
            zero: I,
            low: I,
            high: I,
        }

        impl Kept {
            #[inline]
            #[target_feature(enable = $features)]
            fn new(zero: u8, low: u8, high: u8) -> Self {
                Self { zero: all16(zero.into()), low: all8(low as i8), high: all8(high as i8) }
            }
        }

        /// Rounded to whole numbers. What is beyond an `i32` above would be the least one; below, and for what is no number, it
        /// is right.
        #[inline]
        #[target_feature(enable = $features)]
        fn rounded(x: F) -> I {
            to_words(minf(all(1e9), x))
        }

        /// Four vectors of words, packed, with the zero point and the limits of bytes.
        #[inline]
        #[target_feature(enable = $features)]
        fn packed(a: I, b: I, c: I, d: I, kept: Kept) -> I {
            let (ab, cd) = (adds16(pack32(a, b), kept.zero), adds16(pack32(c, d), kept.zero));
            min8(max8(pack16(ab, cd), kept.low), kept.high)
        }

        /// Words times a multiplier, as bytes.
        #[inline]
        #[target_feature(enable = $features)]
        fn requantized((a, b, c, d): (I, I, I, I), multiplier: F, kept: Kept) -> I {
            packed(
                rounded(mulf(to_floats(a), multiplier)),
                rounded(mulf(to_floats(b), multiplier)),
                rounded(mulf(to_floats(c), multiplier)),
                rounded(mulf(to_floats(d), multiplier)),
                kept,
            )
        }

        /// Bytes as floats, in the order that packing undoes.
        #[inline]
        #[target_feature(enable = $features)]
        fn widened(x: I) -> (F, F, F, F) {
            let zero = none();
            let (low, high) = (low8(x, zero), high8(x, zero));
            (
                to_floats(low16(low, zero)),
                to_floats(high16(low, zero)),
                to_floats(low16(high, zero)),
                to_floats(high16(high, zero)),
            )
        }

        /// # Safety
        /// As of `Simple::add_u8`.
        #[target_feature(enable = $features)]
        unsafe fn add_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Addition) {
            let (first, second, offset) = (all(how.sum.first), all(how.sum.second), all(how.sum.offset));
            let kept = Kept::new(0, how.low, how.high);
            let mut at = 0;
            while at < length {
                let rest = length - at;
                // SAFETY: the caller gives `length` elements of each.
                unsafe {
                    let (x, y) = (load_up_to(a.add(at), rest), load_up_to(b.add(at), rest));
                    let (x, y) = (widened(x), widened(y));
                    let sums = packed(
                        rounded(fma(x.0, first, fma(y.0, second, offset))),
                        rounded(fma(x.1, first, fma(y.1, second, offset))),
                        rounded(fma(x.2, first, fma(y.2, second, offset))),
                        rounded(fma(x.3, first, fma(y.3, second, offset))),
                        kept,
                    );
                    store_up_to(out.add(at), sums, rest);
                }
                at += BYTES;
            }
        }

        /// # Safety
        /// As of `Simple::multiply_channels_u8`.
        #[target_feature(enable = $features)]
        unsafe fn multiply_pixels(
            a: *const u8,
            b: *const u8,
            out: *mut u8,
            pixels: usize,
            channels: usize,
            how: &Multiplication,
        ) {
            let (first, second) = (all16(how.first.into()), all16(how.second.into()));
            let (zero, multiplier) = (none(), all(how.multiplier));
            let kept = Kept::new(how.zero, how.low, how.high);
            for pixel in 0..pixels {
                let mut at = 0;
                while at < channels {
                    let (here, rest) = (pixel * channels + at, channels - at);
                    // SAFETY: the caller gives `pixels * channels` elements of `a` and `out`, `channels` of `b`.
                    unsafe {
                        let (x, y) = (load_up_to(a.add(here), rest), load_up_to(b.add(at), rest));
                        let (xl, xh) = (sub16(low8(x, zero), first), sub16(high8(x, zero), first));
                        let (yl, yh) = (sub16(low8(y, zero), second), sub16(high8(y, zero), second));
                        let (ll, lh) = (mul_low16(xl, yl), mul_high16(xl, yl));
                        let (hl, hh) = (mul_low16(xh, yh), mul_high16(xh, yh));
                        let words = (low16(ll, lh), high16(ll, lh), low16(hl, hh), high16(hl, hh));
                        let products = requantized(words, multiplier, kept);
                        store_up_to(out.add(here), products, rest);
                    }
                    at += BYTES;
                }
            }
        }

        /// Some pixels at once where there are few channels, so that few vectors are not full.
        ///
        /// # Safety
        /// As of `Simple::multiply_channels_u8`.
        #[target_feature(enable = $features)]
        unsafe fn multiply_channels_u8(
            a: *const u8,
            b: *const u8,
            out: *mut u8,
            pixels: usize,
            channels: usize,
            how: &Multiplication,
        ) {
            let mut repeated = [0u8; 512];
            let together = repeated.len() / channels.max(1);
            // SAFETY: the caller gives `pixels * channels` elements of `a` and `out`, `channels` of `b`.
            unsafe {
                if together < 2 || pixels < 2 {
                    return multiply_pixels(a, b, out, pixels, channels, how);
                }
                for pixel in repeated.chunks_exact_mut(channels.max(1)) {
                    core::ptr::copy_nonoverlapping(b, pixel.as_mut_ptr(), channels);
                }
                let b = repeated.as_ptr();
                multiply_pixels(a, b, out, pixels / together, together * channels, how);
                let done = pixels / together * together * channels;
                multiply_pixels(a.add(done), b, out.add(done), 1, pixels % together * channels, how);
            }
        }

        /// # Safety
        /// As of `Simple::multiply_u8`.
        #[target_feature(enable = $features)]
        unsafe fn multiply_u8(a: *const u8, b: *const u8, out: *mut u8, length: usize, how: &Multiplication) {
            // SAFETY: one pixel of so many channels.
            unsafe { multiply_pixels(a, b, out, 1, length, how) };
        }

        /// # Safety
        /// As of `Simple::quantize`.
        #[target_feature(enable = $features)]
        unsafe fn quantize(a: *const f32, out: *mut u8, length: usize, scale: f32, zero: u8) {
            let (scale, kept) = (all(scale), Kept::new(zero, 0, 255));
            let lanes = BYTES / 4;
            let mut at = 0;
            while at < length {
                let rest = length - at;
                let mut some = [0f32; BYTES];
                // SAFETY: the caller gives `length` elements of each.
                unsafe {
                    let from = if rest >= BYTES {
                        a.add(at)
                    } else {
                        core::ptr::copy_nonoverlapping(a.add(at), some.as_mut_ptr(), rest);
                        some.as_ptr()
                    };
                    let bytes = in_order(packed(
                        rounded(divf(load_floats(from), scale)),
                        rounded(divf(load_floats(from.add(lanes)), scale)),
                        rounded(divf(load_floats(from.add(2 * lanes)), scale)),
                        rounded(divf(load_floats(from.add(3 * lanes)), scale)),
                        kept,
                    ));
                    store_up_to(out.add(at), bytes, rest);
                }
                at += BYTES;
            }
        }

        /// # Safety
        /// As of `Simple::max_u8`.
        #[target_feature(enable = $features)]
        unsafe fn max_u8(
            w: &Window,
            source: Source<u8>,
            target: Target<u8>,
            row: usize,
            width: usize,
            channels: usize,
        ) {
            let rows = w.cover(0, row);
            for x in 0..width {
                let columns = w.cover(1, x);
                let mut at = 0;
                while at < channels {
                    // SAFETY: the window's pixels are within the image, behind which a vector may be read.
                    unsafe {
                        let mut kept = none();
                        for y in rows.start..rows.end {
                            for x in columns.start..columns.end {
                                kept = max8(kept, load(source.pixel(y, x).add(at)));
                            }
                        }
                        let out = target.pixel(0, x).add(at);
                        store_up_to(out, kept, channels - at);
                    }
                    at += BYTES;
                }
            }
        }

        /// # Safety
        /// As of `Simple::mean_u8`.
        #[target_feature(enable = $features)]
        unsafe fn mean_u8(
            w: &Window,
            how: &Mean,
            source: Source<u8>,
            target: Target<u8>,
            row: usize,
            width: usize,
            channels: usize,
        ) {
            let kept = Kept::new(how.output_zero, how.low, how.high);
            let zero = none();
            let rows = w.cover(0, row);
            for x in 0..width {
                let columns = w.cover(1, x);
                let counted = rows.counted * columns.counted;
                let multiplier = all(crate::arithmetic::mean_multiplier(how.scale, how.output_scale, counted));
                let pixels = (rows.end - rows.start) * (columns.end - columns.start);
                let zeros = all32((pixels as i32).wrapping_mul(i32::from(how.zero)).wrapping_neg());
                let mut at = 0;
                while at < channels {
                    let (mut a, mut b, mut c, mut d) = (zeros, zeros, zeros, zeros);
                    // Sums of at most 257 bytes, which fit 16 bits.
                    let (mut low, mut high, mut room) = (zero, zero, 257);
                    // SAFETY: the window's pixels are within the image, behind which a vector may be read.
                    unsafe {
                        for y in rows.start..rows.end {
                            for x in columns.start..columns.end {
                                if room == 0 {
                                    (a, b) = (add32(a, low16(low, zero)), add32(b, high16(low, zero)));
                                    (c, d) = (add32(c, low16(high, zero)), add32(d, high16(high, zero)));
                                    (low, high, room) = (zero, zero, 257);
                                }
                                let bytes = load(source.pixel(y, x).add(at));
                                (low, high) = (add16(low, low8(bytes, zero)), add16(high, high8(bytes, zero)));
                                room -= 1;
                            }
                        }
                        (a, b) = (add32(a, low16(low, zero)), add32(b, high16(low, zero)));
                        (c, d) = (add32(c, low16(high, zero)), add32(d, high16(high, zero)));
                        let out = target.pixel(0, x).add(at);
                        let bytes = requantized((a, b, c, d), multiplier, kept);
                        store_up_to(out, bytes, channels - at);
                    }
                    at += BYTES;
                }
            }
        }
    };
}
pub(super) use bytes;
