//! Functions, sums, products and windows of floats, compiled for each width of vectors, whose instructions `simple.rs` names.

macro_rules! floats {
    ($features:literal) => {
        use crate::layer::FloatFunction;
        use crate::simple::Normalisation;
        use crate::simple::functions::{GELU_TANH, TAIL, TAIL_SCALE};

        const LANES: usize = BYTES / 4;

        /// What is given to a function.
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum Operands {
            One,
            Sum,
            Product,
        }
        const ONE: u8 = Operands::One as u8;
        const SUM: u8 = Operands::Sum as u8;
        const PRODUCT: u8 = Operands::Product as u8;

        /// Limits that a NaN passes through: the second operand is the answer then.
        #[inline]
        #[target_feature(enable = $features)]
        fn clamp(x: F, low: f32, high: f32) -> F {
            minf(all(high), maxf(all(low), x))
        }

        /// `simple::exp`.
        #[inline]
        #[target_feature(enable = $features)]
        fn exp(x: F) -> F {
            let x = clamp(x, -87.0, 88.0);
            let magic = all(12_582_912.0);
            // The whole number's bits are the low ones.
            let bits = fma(x, all(core::f32::consts::LOG2_E), magic);
            let whole = subf(bits, magic);
            let r = fma(whole, all(-0.693_359_4), x);
            let r = fma(whole, all(2.121_944_4e-4), r);
            let p = fma(all(1.987_569_1e-4), r, all(1.398_2e-3));
            let p = fma(p, r, all(8.333_452e-3));
            let p = fma(p, r, all(4.166_579_6e-2));
            let p = fma(p, r, all(0.166_666_65));
            let p = fma(p, r, all(0.5));
            let e = addf(fma(mulf(p, r), r, r), all(1.0));
            mulf(e, as_floats(shift32::<23>(add32(as_words(bits), all32(127)))))
        }

        /// `x` above 0 less the mass of `normal_tail` times its distance from 0.
        #[inline]
        #[target_feature(enable = $features)]
        fn gelu(x: F) -> F {
            let [first, rest @ ..] = TAIL;
            let above = maxf(all(0.0), x);
            let z = maxf(x, subf(all(0.0), x));
            let t = divf(all(1.0), fma(all(TAIL_SCALE), z, all(1.0)));
            let mut p = all(first);
            for coefficient in rest {
                p = fma(p, t, all(coefficient));
            }
            subf(above, mulf(z, mulf(mulf(p, t), exp(mulf(mulf(z, z), all(-0.5))))))
        }

        /// `simple::function` of `GeluTanh`.
        #[inline]
        #[target_feature(enable = $features)]
        fn gelu_tanh(x: F) -> F {
            let [first, third] = GELU_TANH.map(|factor| all(factor));
            divf(x, addf(all(1.0), exp(mulf(x, fma(third, mulf(x, x), first)))))
        }

        /// Goes over elements, 8 or 16 at once.
        ///
        /// # Safety
        /// `length` floats lie at `a` and, but for `ONE`, at `b`; there is room for them at `out`, which may be either.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn each<const OPERANDS: u8>(
            a: *const f32,
            b: *const f32,
            out: *mut f32,
            length: usize,
            f: impl Fn(F) -> F,
        ) {
            let value = |x: F, y: F| match OPERANDS {
                ONE => x,
                SUM => addf(x, y),
                _ => mulf(x, y),
            };
            let mut at = 0;
            // SAFETY: the caller gives `length` elements of each that there is.
            unsafe {
                while at + LANES <= length {
                    let x = load_floats(a.add(at));
                    let y = if OPERANDS == ONE { x } else { load_floats(b.add(at)) };
                    store_floats(out.add(at), f(value(x, y)));
                    at += LANES;
                }
                if at < length {
                    let x = load_some_floats(a.add(at), length - at);
                    let y = if OPERANDS == ONE { x } else { load_some_floats(b.add(at), length - at) };
                    store_some_floats(out.add(at), f(value(x, y)), length - at);
                }
            }
        }

        /// A function of a sum or product: a clamp at once, others of what is written by then.
        ///
        /// # Safety
        /// As of `each`.
        #[target_feature(enable = $features)]
        unsafe fn apply<const OPERANDS: u8>(
            a: *const f32,
            b: *const f32,
            out: *mut f32,
            length: usize,
            f: FloatFunction,
        ) {
            // SAFETY: the caller's word.
            unsafe {
                if let FloatFunction::Clamp { low, high } = f {
                    each::<OPERANDS>(a, b, out, length, |x| clamp(x, low, high));
                } else {
                    each::<OPERANDS>(a, b, out, length, |x| x);
                    function_f32(out, out, length, f);
                }
            }
        }

        /// # Safety
        /// As of `Simple::function_f32`.
        #[target_feature(enable = $features)]
        unsafe fn function_f32(a: *const f32, out: *mut f32, length: usize, f: FloatFunction) {
            let six = all(6.0);
            // SAFETY: the caller's word.
            unsafe {
                match f {
                    FloatFunction::Clamp { low, high } => {
                        each::<ONE>(a, a, out, length, |x| clamp(x, low, high));
                    }
                    FloatFunction::HardSwish => {
                        each::<ONE>(a, a, out, length, |x| mulf(x, divf(clamp(addf(x, all(3.0)), 0.0, 6.0), six)));
                    }
                    FloatFunction::HardSigmoid => {
                        each::<ONE>(a, a, out, length, |x| divf(clamp(addf(x, all(3.0)), 0.0, 6.0), six));
                    }
                    FloatFunction::Sigmoid => {
                        each::<ONE>(a, a, out, length, |x| divf(all(1.0), addf(all(1.0), exp(subf(all(0.0), x)))));
                    }
                    FloatFunction::Silu => {
                        each::<ONE>(a, a, out, length, |x| divf(x, addf(all(1.0), exp(subf(all(0.0), x)))));
                    }
                    FloatFunction::Gelu => each::<ONE>(a, a, out, length, |x| gelu(x)),
                    FloatFunction::GeluTanh => each::<ONE>(a, a, out, length, |x| gelu_tanh(x)),
                    FloatFunction::LeakyRelu { slope } => {
                        each::<ONE>(a, a, out, length, |x| positive_or(x, mulf(x, all(slope))));
                    }
                }
            }
        }

        /// # Safety
        /// As of `Simple::multiply_channels_f32`.
        #[target_feature(enable = $features)]
        unsafe fn multiply_channels_f32(a: *const f32, b: *const f32, out: *mut f32, pixels: usize, channels: usize) {
            for pixel in 0..pixels {
                let at = pixel * channels;
                // SAFETY: the caller gives `pixels * channels` elements of `a` and `out`, `channels` of `b`.
                unsafe { each::<PRODUCT>(a.add(at), b, out.add(at), channels, |x| x) };
            }
        }

        /// Goes over the windows of an output row, four vectors of channels or one at a time: `take` each pixel's, `end` with
        /// the count.
        ///
        /// # Safety
        /// As of `Simple::max_f32`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn windows(
            window: &Window,
            (source, target): (Source<f32>, Target<f32>),
            (row, width, channels): (usize, usize, usize),
            begin: F,
            take: impl Fn(F, F) -> F,
            end: impl Fn(F, usize) -> F,
        ) {
            let rows = window.cover(0, row);
            for x in 0..width {
                let columns = window.cover(1, x);
                let counted = rows.counted * columns.counted;
                let mut at = 0;
                // SAFETY: the window's pixels are within the image, behind which a vector may be read.
                unsafe {
                    while at + 4 * LANES <= channels {
                        let (mut a, mut b, mut c, mut d) = (begin, begin, begin, begin);
                        for y in rows.start..rows.end {
                            for x in columns.start..columns.end {
                                let pixel = source.pixel(y, x).add(at);
                                a = take(a, load_floats(pixel));
                                b = take(b, load_floats(pixel.add(LANES)));
                                c = take(c, load_floats(pixel.add(2 * LANES)));
                                d = take(d, load_floats(pixel.add(3 * LANES)));
                            }
                        }
                        let out = target.pixel(0, x).add(at);
                        store_floats(out, end(a, counted));
                        store_floats(out.add(LANES), end(b, counted));
                        store_floats(out.add(2 * LANES), end(c, counted));
                        store_floats(out.add(3 * LANES), end(d, counted));
                        at += 4 * LANES;
                    }
                    while at < channels {
                        let mut kept = begin;
                        for y in rows.start..rows.end {
                            for x in columns.start..columns.end {
                                kept = take(kept, load_floats(source.pixel(y, x).add(at)));
                            }
                        }
                        let out = target.pixel(0, x).add(at);
                        if channels - at >= LANES {
                            store_floats(out, end(kept, counted));
                        } else {
                            store_some_floats(out, end(kept, counted), channels - at);
                        }
                        at += LANES;
                    }
                }
            }
        }

        /// # Safety
        /// As of `Simple::max_f32`.
        #[target_feature(enable = $features)]
        unsafe fn max_f32(
            w: &Window,
            source: Source<f32>,
            target: Target<f32>,
            row: usize,
            width: usize,
            channels: usize,
        ) {
            let least = all(f32::NEG_INFINITY);
            // A NaN is passed over: the second operand is the answer then.
            let take = |kept: F, x: F| maxf(x, kept);
            // SAFETY: the caller's word.
            unsafe { windows(w, (source, target), (row, width, channels), least, take, |kept, _| kept) };
        }

        /// # Safety
        /// As of `Simple::mean_f32`.
        #[target_feature(enable = $features)]
        unsafe fn mean_f32(
            w: &Window,
            source: Source<f32>,
            target: Target<f32>,
            row: usize,
            width: usize,
            channels: usize,
        ) {
            let end = |sum: F, counted: usize| divf(sum, all(counted as f32));
            // SAFETY: the caller's word.
            unsafe { windows(w, (source, target), (row, width, channels), all(0.0), |sum, x| addf(sum, x), end) };
        }

        /// # Safety
        /// As of `Simple::dequantize`.
        #[target_feature(enable = $features)]
        unsafe fn dequantize(a: *const u8, out: *mut f32, length: usize, scale: f32, zero: u8) {
            let (steps, zeros) = (all(scale), all32(-i32::from(zero)));
            let mut at = 0;
            // SAFETY: the caller gives `length` elements of each.
            unsafe {
                while at + LANES <= length {
                    store_floats(out.add(at), mulf(to_floats(add32(words(a.add(at)), zeros)), steps));
                    at += LANES;
                }
                while at < length {
                    *out.add(at) = crate::arithmetic::dequantize(*a.add(at), scale, zero);
                    at += 1;
                }
            }
        }

        crate::simple::simple_level!(@channels [#[target_feature(enable = $features)]]);

        /// The entries with these vectors; bytes are looked up one by one.
        const VECTORS: Simple = Simple {
            add_u8,
            multiply_u8,
            multiply_channels_u8,
            table: portable::TABLE.table,
            max_u8,
            mean_u8,
            quantize,
            dequantize,
            add_f32: apply::<SUM>,
            multiply_f32: apply::<PRODUCT>,
            multiply_channels_f32,
            function_f32,
            max_f32,
            mean_f32,
            normalise,
            softmax,
            slopes,
        };
    };
}
pub(super) use floats;
