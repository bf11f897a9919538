//! The transforms between pixels and points, `Bᵀ d B` in 16 bits and `Aᵀ m A` in 32, and the products between them.

use core::arch::x86_64::*;

use super::{EDGE, POINTS, SUMS, VECTOR};
use crate::level::x86::dense_u8::Ends;
use crate::level::x86::dense_u8::layout::HEAD;
use crate::level::x86::dense_u8::ymm::*;

/// `Bᵀ d`, modulo `2^16`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn evaluated(d: [Vector; 6]) -> [Vector; 6] {
    let [four1, four2] = [_mm256_slli_epi16::<2>(d[1]), _mm256_slli_epi16::<2>(d[2])];
    let (even, odd) = (_mm256_sub_epi16(d[4], four2), _mm256_sub_epi16(d[3], four1));
    let (even2, odd2) = (_mm256_sub_epi16(d[4], d[2]), _mm256_sub_epi16(d[3], d[1]));
    let twice = _mm256_add_epi16(odd2, odd2);
    let four = |a, b| _mm256_slli_epi16::<2>(_mm256_sub_epi16(a, b));
    [
        _mm256_add_epi16(four(d[0], d[2]), even2),
        _mm256_add_epi16(even, odd),
        _mm256_sub_epi16(even, odd),
        _mm256_add_epi16(even2, twice),
        _mm256_sub_epi16(even2, twice),
        _mm256_add_epi16(four(d[1], d[3]), _mm256_sub_epi16(d[5], d[3])),
    ]
}

/// `Aᵀ m`, its columns times 2, 4, 4, 1, 1 and 8, modulo `2^32`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn interpolated(m: [Vector; 6]) -> [Vector; EDGE] {
    let add = |a, b| _mm256_add_epi32(a, b);
    let (sum, sum2) = (add(m[1], m[2]), add(m[3], m[4]));
    let (difference, difference2) = (_mm256_sub_epi32(m[1], m[2]), _mm256_sub_epi32(m[3], m[4]));
    let last = add(difference2, m[5]);
    [
        add(_mm256_slli_epi32::<1>(add(add(m[0], sum), sum)), sum2),
        _mm256_slli_epi32::<1>(add(add(difference, difference), difference2)),
        _mm256_slli_epi32::<2>(add(sum, sum2)),
        _mm256_slli_epi32::<2>(add(add(difference, last), last)),
    ]
}

/// Six vectors, the first at `at`, the others behind each other.
///
/// # Safety
/// They lie there, aligned.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn six(at: *const u8, step: usize) -> [Vector; 6] {
    // SAFETY: the caller's word.
    unsafe {
        [
            load(at.cast()),
            load(at.add(step).cast()),
            load(at.add(2 * step).cast()),
            load(at.add(3 * step).cast()),
            load(at.add(4 * step).cast()),
            load(at.add(5 * step).cast()),
        ]
    }
}

/// Reads so many vectors of 16 bytes from each pixel, where a row and a column cross, and writes point `p` to `p * point` bytes behind `points`.
///
/// # Safety
/// So many vectors lie at each pixel; there is room for them, aligned, at each of the points, and for 36 vectors at `half`.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn input(
    (rows, columns): &([*const u8; 6], [usize; 6]),
    vectors: usize,
    points: *mut u8,
    point: usize,
    half: *mut Vector,
) {
    for vector in 0..vectors {
        // SAFETY: the caller gives the vectors and room for them.
        unsafe {
            for (j, column) in columns.iter().enumerate() {
                let at = 16 * vector + column;
                let wide = |i: usize| _mm256_cvtepu8_epi16(_mm_loadu_si128(rows[i].add(at).cast()));
                let column = evaluated([wide(0), wide(1), wide(2), wide(3), wide(4), wide(5)]);
                let place = half.add(j);
                keep(place, column[0]);
                keep(place.add(6), column[1]);
                keep(place.add(12), column[2]);
                keep(place.add(18), column[3]);
                keep(place.add(24), column[4]);
                keep(place.add(30), column[5]);
            }
            for i in 0..6 {
                let row = evaluated(six(half.add(6 * i).cast(), VECTOR));
                let place = points.add(6 * i * point + VECTOR * vector);
                keep(place.cast(), row[0]);
                keep(place.add(point).cast(), row[1]);
                keep(place.add(2 * point).cast(), row[2]);
                keep(place.add(3 * point).cast(), row[3]);
                keep(place.add(4 * point).cast(), row[4]);
                keep(place.add(5 * point).cast(), row[5]);
            }
        }
    }
}

/// The products of all points of blocks of tiles with a panel.
pub(super) struct Products {
    pub(super) panel: *const u8,
    /// Pairs of inputs.
    pub(super) words: usize,
    pub(super) blocks: usize,
    pub(super) inputs: *const u8,
    /// Bytes from a tile's inputs to the next's.
    pub(super) input: usize,
    /// Bytes from a point to the next.
    pub(super) input_point: usize,
    /// Where the sums go, two vectors a tile.
    pub(super) outputs: *mut u8,
    /// Bytes from a point to the next.
    pub(super) output_point: usize,
}

impl Products {
    /// Computes blocks of `size` tiles, up to 6.
    ///
    /// # Safety
    /// The panel is one of `pack`; there are inputs for all tiles of the blocks, and there is room for their sums.
    pub(super) unsafe fn of(&self, size: usize) {
        // SAFETY: the caller's word.
        unsafe {
            match size {
                0 => {}
                1 => tiles_1(self),
                2 => tiles_2(self),
                3 => tiles_3(self),
                4 => tiles_4(self),
                5 => tiles_5(self),
                _ => tiles_6(self),
            }
        }
    }
}

/// Blocks of so many tiles. For the empty instruction see `tile::wide`.
macro_rules! products {
    ([$($done:tt)*]) => {};
    ([$($done:tt)*] ($name:ident $i:literal $p:ident $a:ident $b:ident) $($rest:tt)*) => {
        products!(@tile $name $($done)* $i $p $a $b);
        products!([$($done)* $i $p $a $b] $($rest)*);
    };
    (@tile $name:ident $($i:literal $p:ident $a:ident $b:ident)*) => {
        /// # Safety
        /// As of [`Products::of`].
        #[target_feature(enable = "avx2,fma")]
        unsafe fn $name(job: &Products) {
            const TILES: usize = [$($i),*].len();
            // SAFETY: the caller's word.
            unsafe {
                let mut panel = job.panel.cast::<Vector>().add(2 * HEAD);
                for point in 0..POINTS {
                    let mut inputs = job.inputs.add(point * job.input_point);
                    let mut outputs = job.outputs.add(point * job.output_point);
                    for _ in 0..job.blocks {
                        let mut weights = panel;
                        $(let $p = inputs.add($i * job.input);)*
                        $(let (mut $a, mut $b) = (zero(), zero());)*
                        for at in 0..job.words {
                            let (first, second) = (load(weights), load(weights.add(1)));
                            $(
                                let values = word($p.add(4 * at));
                                $a = sum($a, _mm256_madd_epi16(values, first));
                                $b = sum($b, _mm256_madd_epi16(values, second));
                                core::arch::asm!(
                                    "/* {0} {1} */", inout(ymm_reg) $a, inout(ymm_reg) $b,
                                    options(nostack, preserves_flags)
                                );
                            )*
                            weights = weights.add(2);
                        }
                        $(
                            keep(outputs.add($i * SUMS).cast(), $a);
                            keep(outputs.add($i * SUMS + VECTOR).cast(), $b);
                        )*
                        inputs = inputs.add(TILES * job.input);
                        outputs = outputs.add(TILES * SUMS);
                    }
                    panel = panel.add(2 * job.words);
                }
            }
        }
    };
}

products! { []
    (tiles_1 0 p0 a0 b0) (tiles_2 1 p1 a1 b1) (tiles_3 2 p2 a2 b2) (tiles_4 3 p3 a3 b3) (tiles_5 4 p4 a4 b4)
    (tiles_6 5 p5 a5 b5)
}

/// The products of a tile with a panel.
pub(super) struct Sums {
    pub(super) panel: *const u8,
    pub(super) points: *const u8,
    /// Bytes from a point to the next.
    pub(super) point: usize,
    /// Whether sums have to be bounded, see `Layout::pack`.
    pub(super) careful: bool,
    /// Room for 48 vectors.
    pub(super) half: *mut Vector,
}

/// The bytes of a tile's 16 pixels, those of a panel for pixel after pixel.
///
/// # Safety
/// The panel is one of `pack`, and the products of all points are there. The stage has room for the bytes, aligned.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn output(sums: &Sums, ends: &Ends, stage: *mut u8) {
    /// Of 9, modulo `2^32`.
    const INVERSE: i32 = 954_437_177;
    // SAFETY: the caller's word.
    unsafe {
        let head = sums.panel.cast::<Vector>();
        for j in 0..6 {
            for vector in 0..2 {
                let column = interpolated(six(sums.points.add(j * sums.point + VECTOR * vector), 6 * sums.point));
                let place = sums.half.add(6 * vector + j);
                keep(place, column[0]);
                keep(place.add(12), column[1]);
                keep(place.add(24), column[2]);
                keep(place.add(36), column[3]);
            }
        }
        let whole = |sums: Vector, bias: Vector| {
            _mm256_add_epi32(_mm256_srai_epi32::<6>(_mm256_mullo_epi32(sums, _mm256_set1_epi32(INVERSE))), bias)
        };
        for i in 0..EDGE {
            let row = sums.half.add(12 * i);
            let (bias, bound, multipliers) = (load(head), load(head.add(4)), load_floats(head.add(2)));
            let a = interpolated(six(row.cast(), VECTOR)).map(|sum| whole(sum, bias));
            let a = if sums.careful { a.map(|sum| bounded(sum, bound)) } else { a };
            let a = a.map(|sum| steps(sum, multipliers));
            let (bias, bound, multipliers) = (load(head.add(1)), load(head.add(5)), load_floats(head.add(3)));
            let b = interpolated(six(row.add(6).cast(), VECTOR)).map(|sum| whole(sum, bias));
            let b = if sums.careful { b.map(|sum| bounded(sum, bound)) } else { b };
            let b = b.map(|sum| steps(sum, multipliers));
            let (one, two) =
                (bytes(pair(a[0], b[0]), pair(a[1], b[1]), ends), bytes(pair(a[2], b[2]), pair(a[3], b[3]), ends));
            keep(stage.add(4 * 16 * i).cast(), pixels(one, ends));
            keep(stage.add(4 * 16 * i + VECTOR).cast(), pixels(two, ends));
        }
    }
}
