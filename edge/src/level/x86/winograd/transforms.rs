//! The transforms between pixels and points, `Bᵀ d B` and `Aᵀ m A` of Lavin and Gray, *Fast Algorithms for Convolutional Neural
//! Networks* (2016), §4.3, with points 0, ±1, ±2 and infinity.

use crate::layer::{Source, Target};

/// Points of a tile: 6 along each axis, as many as the pixels that it reads.
pub(in crate::level::x86) const POINTS: usize = 36;

/// What a transform to pixels writes.
#[derive(Debug, Clone, Copy)]
pub(in crate::level::x86) struct Pixels {
    /// The first of the pixels.
    pub(in crate::level::x86) target: Target<f32>,
    /// The values that are added.
    pub(in crate::level::x86) residual: Option<Source<f32>>,
    /// Rows and columns, up to 4, that are within the image.
    pub(in crate::level::x86) size: [usize; 2],
    /// Bias, whole vectors.
    pub(in crate::level::x86) bias: *const f32,
    /// Vectors, and lanes of the last that are stored.
    pub(in crate::level::x86) vectors: [usize; 2],
    /// Least and largest value.
    pub(in crate::level::x86) range: [f32; 2],
}

/// Both transforms.
#[derive(Debug)]
pub(in crate::level::x86) struct Transforms {
    /// Reads so many vectors from each pixel and writes point `p` to `p * point` elements behind a place, the second; the
    /// first is for what is half-way, which registers have no room for.
    ///
    /// # Safety
    /// So many vectors lie at each pixel; there is room for them at each of the [`POINTS`], and for [`POINTS`] vectors at the
    /// first place. The CPU has such vectors.
    pub(in crate::level::x86) input: unsafe fn(&[*const f32; POINTS], usize, (*mut f32, *mut f32), usize),
    /// Reads point `p` from `p * point` elements behind a place, the second; the first is as above.
    ///
    /// # Safety
    /// The vectors of [`Pixels`] lie at each of the [`POINTS`]; what it writes and reads within its `size` is
    /// there, and of the last vector the lanes that are stored; there is room for [`POINTS`] vectors at the first place. The
    /// CPU has such vectors.
    pub(in crate::level::x86) output: unsafe fn((*mut f32, *const f32), usize, &Pixels),
}

macro_rules! transforms {
    ($vectors:ident $features:literal) => {
        use super::super::super::dense_f32::vectors::$vectors::*;
        use super::{POINTS, Pixels, Transforms};

        pub(in crate::level::x86) static TRANSFORMS: Transforms = Transforms { input, output };

        /// `Bᵀ d`.
        #[inline]
        #[target_feature(enable = $features)]
        fn evaluated(d: [V; 6]) -> [V; 6] {
            let (even, odd) = (fma(all(-4.0), d[2], d[4]), fma(all(-4.0), d[1], d[3]));
            let (even2, odd2) = (sub(d[4], d[2]), sub(d[3], d[1]));
            let twice = add(odd2, odd2);
            [
                fma(all(4.0), d[0], fma(all(-5.0), d[2], d[4])),
                add(even, odd),
                sub(even, odd),
                add(even2, twice),
                sub(even2, twice),
                fma(all(4.0), d[1], fma(all(-5.0), d[3], d[5])),
            ]
        }

        /// `Aᵀ m`.
        #[inline]
        #[target_feature(enable = $features)]
        fn interpolated(m: [V; 6]) -> [V; 4] {
            let (sum, sum2) = (add(m[1], m[2]), add(m[3], m[4]));
            let (difference, difference2) = (sub(m[1], m[2]), sub(m[3], m[4]));
            [
                add(add(m[0], sum), sum2),
                fma(all(2.0), difference2, difference),
                fma(all(4.0), sum2, sum),
                add(fma(all(8.0), difference2, difference), m[5]),
            ]
        }

        /// Six vectors, the first at `at`, the others `step` elements behind each other.
        ///
        /// # Safety
        /// They lie there.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn six(at: *const f32, step: usize) -> [V; 6] {
            // SAFETY: the caller's word.
            unsafe {
                [
                    load(at),
                    load(at.add(step)),
                    load(at.add(2 * step)),
                    load(at.add(3 * step)),
                    load(at.add(4 * step)),
                    load(at.add(5 * step)),
                ]
            }
        }

        /// # Safety
        /// As of [`Transforms::input`].
        #[target_feature(enable = $features)]
        unsafe fn input(
            pixels: &[*const f32; POINTS],
            vectors: usize,
            (half, points): (*mut f32, *mut f32),
            point: usize,
        ) {
            for at in (0..vectors * LANES).step_by(LANES) {
                // SAFETY: the caller gives the vectors and room for them.
                unsafe {
                    for j in 0..6 {
                        let pixel = |i: usize| load(pixels[6 * i + j].add(at));
                        let column = evaluated([pixel(0), pixel(1), pixel(2), pixel(3), pixel(4), pixel(5)]);
                        let place = half.add(j * LANES);
                        store(place, column[0]);
                        store(place.add(6 * LANES), column[1]);
                        store(place.add(12 * LANES), column[2]);
                        store(place.add(18 * LANES), column[3]);
                        store(place.add(24 * LANES), column[4]);
                        store(place.add(30 * LANES), column[5]);
                    }
                    for i in 0..6 {
                        let row = evaluated(six(half.add(6 * i * LANES), LANES));
                        let place = points.add(i * 6 * point + at);
                        store(place, row[0]);
                        store(place.add(point), row[1]);
                        store(place.add(2 * point), row[2]);
                        store(place.add(3 * point), row[3]);
                        store(place.add(4 * point), row[4]);
                        store(place.add(5 * point), row[5]);
                    }
                }
            }
        }

        /// # Safety
        /// As of [`Transforms::output`].
        #[target_feature(enable = $features)]
        unsafe fn output((half, points): (*mut f32, *const f32), point: usize, pixels: &Pixels) {
            let [vectors, last] = pixels.vectors;
            for vector in 0..vectors {
                let at = vector * LANES;
                let lanes = mask(if vector + 1 < vectors { LANES } else { last });
                // SAFETY: the caller gives the vectors and room for what is within the image.
                unsafe {
                    for j in 0..6 {
                        let column = interpolated(six(points.add(j * point + at), 6 * point));
                        let place = half.add(j * LANES);
                        store(place, column[0]);
                        store(place.add(6 * LANES), column[1]);
                        store(place.add(12 * LANES), column[2]);
                        store(place.add(18 * LANES), column[3]);
                    }
                    let bias = load(pixels.bias.add(at));
                    let (low, high) = (all(pixels.range[0]), all(pixels.range[1]));
                    for i in 0..pixels.size[0] {
                        let row = interpolated(six(half.add(6 * i * LANES), LANES));
                        macro_rules! pixel {
                            ($j:literal) => {
                                if $j < pixels.size[1] {
                                    let mut x = add(row[$j], bias);
                                    if let Some(other) = &pixels.residual {
                                        x = add(x, load_some(other.pixel(i, $j).add(at), lanes));
                                    }
                                    let x = min(high, max(low, x));
                                    store_some(pixels.target.pixel(i, $j).add(at), lanes, x);
                                }
                            };
                        }
                        pixel!(0);
                        pixel!(1);
                        pixel!(2);
                        pixel!(3);
                    }
                }
            }
        }
    };
}

/// With AVX-512.
pub(in crate::level::x86) mod wide {
    transforms!(wide "avx512f,avx512bw,avx512vl,avx512dq,fma");
}

/// With AVX2.
pub(in crate::level::x86) mod narrow {
    transforms!(narrow "avx2,fma");
}
