//! Functions at the end of layers, applied to what a tile has just stored. A clamp is not among them: tiles do it themselves.

use crate::layer::FloatFunction;

/// Functions of vectors, as `simple::function` has them of numbers.
macro_rules! functions {
    ($vectors:ident $features:literal) => {
        use super::super::vectors::$vectors::*;
        use crate::layer::FloatFunction;

        /// `min(max(x + 3, 0), 6) / 6`.
        #[inline]
        #[target_feature(enable = $features)]
        fn hard_sigmoid(x: V) -> V {
            mul(min(all(6.0), max(all(0.0), add(x, all(3.0)))), all(1.0 / 6.0))
        }

        /// `1 + e^-x`; the polynomial of `simple.rs`.
        #[inline]
        #[target_feature(enable = $features)]
        fn one_and_exp(x: V) -> V {
            const WHOLE: f32 = 12_582_912.0;
            let x = min(all(88.0), max(all(-87.0), sub(all(0.0), x)));
            let whole = sub(fma(x, all(core::f32::consts::LOG2_E), all(WHOLE)), all(WHOLE));
            let r = fma(whole, all(2.121_944_4e-4), fma(whole, all(-0.693_359_4), x));
            let p = fma(all(1.987_569_1e-4), r, all(1.398_2e-3));
            let p = fma(p, r, all(8.333_452e-3));
            let p = fma(p, r, all(4.166_579_6e-2));
            let p = fma(p, r, all(0.166_666_65));
            let p = fma(p, r, all(0.5));
            let e = add(fma(mul(p, r), r, r), all(1.0));
            fma(e, power(whole), all(1.0))
        }

        /// Applies `f` to `lanes` floats from `first` on at each of the places.
        ///
        /// # Safety
        /// As of `end`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn each(places: &[*mut f32], (first, lanes): (usize, usize), f: impl Fn(V) -> V) {
            let whole = (lanes - 1) / LANES * LANES;
            let rest = mask(lanes - whole);
            for &place in places {
                // SAFETY: the caller's word.
                unsafe {
                    let place = place.add(first);
                    for at in (0..whole).step_by(LANES) {
                        store(place.add(at), f(load(place.add(at))));
                    }
                    store_some(place.add(whole), rest, f(load_some(place.add(whole), rest)));
                }
            }
        }

        /// Applies a function, if it is no clamp, to `lanes` floats from `first` on at each of the places.
        ///
        /// # Safety
        /// These, 1 or more, are there.
        #[target_feature(enable = $features)]
        pub(in crate::level::x86) unsafe fn end(
            places: &[*mut f32],
            first: usize,
            lanes: usize,
            function: FloatFunction,
        ) {
            let span = (first, lanes);
            // SAFETY: the caller's word; closures have the features of the function that they are in.
            unsafe {
                match function {
                    FloatFunction::Clamp { .. } => {}
                    FloatFunction::HardSwish => each(places, span, |x| mul(x, hard_sigmoid(x))),
                    FloatFunction::HardSigmoid => each(places, span, |x| hard_sigmoid(x)),
                    FloatFunction::Sigmoid => each(places, span, |x| div(all(1.0), one_and_exp(x))),
                    FloatFunction::Silu => each(places, span, |x| div(x, one_and_exp(x))),
                    FloatFunction::Gelu | FloatFunction::GeluTanh => {
                        for place in places {
                            let place = place.add(first);
                            (SIMPLE.function_f32)(place, place, lanes, function);
                        }
                    }
                    FloatFunction::LeakyRelu { slope } => each(places, span, |x| above(x, x, mul(x, all(slope)))),
                }
            }
        }
    };
}

/// With AVX-512.
pub(in crate::level::x86) mod wide {
    use crate::level::x86::simple::avx512::TABLE as SIMPLE;

    functions!(wide "avx512f,avx512bw,avx512vl,avx512dq,fma");
}

/// With AVX2.
pub(in crate::level::x86) mod narrow {
    use crate::level::x86::simple::avx2::TABLE as SIMPLE;

    functions!(narrow "avx2,fma");
}

/// What a tile does itself: the range of a clamp, or none.
pub(in crate::level::x86) fn range(function: FloatFunction) -> [f32; 2] {
    match function {
        FloatFunction::Clamp { low, high } => [low, high],
        FloatFunction::HardSwish
        | FloatFunction::HardSigmoid
        | FloatFunction::Sigmoid
        | FloatFunction::Silu
        | FloatFunction::Gelu
        | FloatFunction::GeluTanh
        | FloatFunction::LeakyRelu { .. } => [f32::NEG_INFINITY, f32::INFINITY],
    }
}
