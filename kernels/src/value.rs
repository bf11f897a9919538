//! What a value of an image is stored as: `f32`, or `bf16` in half the memory. Arithmetic is `f32` with both.
#![allow(clippy::needless_range_loop)] // iterators over lanes are not always unrolled, and that costs much
#![allow(unsafe_code)] // vector loads and stores through pointers, whose extents the callers have checked

use half::bf16;
use pulp::{MemMask, Simd};
use rayon::prelude::*;

use crate::api::Compiled;
use crate::simd::vectorised;

/// Lanes of the longest vector.
const LONGEST: usize = 16;

/// A value of an image, as stored: `f32`, or `bf16`, which keeps 8 bits of its mantissa.
pub trait Value: Lanes + Compiled<Self> {
    /// The nearest value, ties to even; NaN stays NaN.
    fn rounded(x: f32) -> Self;

    /// The same number.
    fn float(self) -> f32;
}

/// What the kernels need besides. Nobody outside of this crate can name it, so the two types below are all there are.
pub trait Lanes: Copy + Default + Send + Sync + 'static {
    /// Which of the two they are.
    fn stored(values: &[Self]) -> Stored<'_>;

    /// As `f32`, if that is what they are.
    fn as_floats_mut(values: &mut [Self]) -> Option<&mut [f32]>;

    /// A vector of values.
    ///
    /// # Safety
    /// At `from` lie as many as a vector has lanes.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::f32s;

    /// A part of a vector of values; the other lanes are zero.
    ///
    /// # Safety
    /// At `from` lie as many values as the part has.
    unsafe fn load_part<S: Simd>(simd: S, from: *const Self, part: Part<S>) -> S::f32s;

    /// Writes a vector of values.
    ///
    /// # Safety
    /// As for [`Lanes::load`].
    unsafe fn store<S: Simd>(simd: S, to: *mut Self, values: S::f32s);

    /// Writes a part of a vector of values.
    ///
    /// # Safety
    /// As for [`Lanes::load_part`].
    unsafe fn store_part<S: Simd>(simd: S, to: *mut Self, values: S::f32s, part: Part<S>);
}

/// Values whose type is known.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    Floats(&'a [f32]),
    Narrow(&'a [bf16]),
}

/// The first lanes of a vector.
#[allow(missing_debug_implementations)] // nobody outside of this crate sees one
#[derive(Clone, Copy)]
pub struct Part<S: Simd> {
    len: usize,
    mask: MemMask<S::m32s>,
}

impl<S: Simd> Part<S> {
    #[inline(always)]
    pub(crate) fn new(simd: S, len: usize) -> Self {
        Self { len, mask: simd.mask_between_m32s(0, len as u32) }
    }
}

impl Value for f32 {
    #[inline(always)]
    fn rounded(x: f32) -> Self {
        x
    }

    #[inline(always)]
    fn float(self) -> f32 {
        self
    }
}

impl Lanes for f32 {
    #[inline(always)]
    fn stored(values: &[Self]) -> Stored<'_> {
        Stored::Floats(values)
    }

    #[inline(always)]
    fn as_floats_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }

    // SAFETY: what the trait asks of the caller.
    #[inline(always)]
    unsafe fn load<S: Simd>(_: S, from: *const Self) -> S::f32s {
        // SAFETY: passed on from the caller.
        unsafe { from.cast::<S::f32s>().read_unaligned() }
    }

    // SAFETY: what the trait asks of the caller.
    #[inline(always)]
    unsafe fn load_part<S: Simd>(simd: S, from: *const Self, part: Part<S>) -> S::f32s {
        // SAFETY: passed on from the caller; the mask leaves out what is not there.
        unsafe { simd.mask_load_ptr_f32s(part.mask, from) }
    }

    // SAFETY: what the trait asks of the caller.
    #[inline(always)]
    unsafe fn store<S: Simd>(_: S, to: *mut Self, values: S::f32s) {
        // SAFETY: passed on from the caller.
        unsafe { to.cast::<S::f32s>().write_unaligned(values) }
    }

    // SAFETY: what the trait asks of the caller.
    #[inline(always)]
    unsafe fn store_part<S: Simd>(simd: S, to: *mut Self, values: S::f32s, part: Part<S>) {
        // SAFETY: passed on from the caller; the mask leaves out what is not there.
        unsafe { simd.mask_store_ptr_f32s(part.mask, to, values) }
    }
}

impl Value for bf16 {
    #[inline(always)]
    fn rounded(x: f32) -> Self {
        // Without branches, so that loops over it become vector instructions (`bf16::from_f32` has some).
        let bits = x.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        let quiet = bits | 0x0040_0000;
        Self::from_bits(((if x.is_nan() { quiet } else { nearest }) >> 16) as u16)
    }

    #[inline(always)]
    fn float(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Lanes for bf16 {
    #[inline(always)]
    fn stored(values: &[Self]) -> Stored<'_> {
        Stored::Narrow(values)
    }

    #[inline(always)]
    fn as_floats_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    // SAFETY: what the trait asks of the caller.
    #[inline(always)]
    unsafe fn load<S: Simd>(_: S, from: *const Self) -> S::f32s {
        let mut values = [Self::ZERO; LONGEST];
        // SAFETY: the caller says that the vector's values are there, and no vector is longer than the array.
        unsafe { std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), S::F32_LANES) };
        widened::<S>(&values)
    }

    // SAFETY: what the trait asks of the caller.
    #[inline(always)]
    unsafe fn load_part<S: Simd>(_: S, from: *const Self, part: Part<S>) -> S::f32s {
        let mut values = [Self::ZERO; LONGEST];
        // SAFETY: the caller says that the part's values are there.
        unsafe { copy_part::<S>(from, values.as_mut_ptr(), part.len) };
        widened::<S>(&values)
    }

    // SAFETY: what the trait asks of the caller.
    #[inline(always)]
    unsafe fn store<S: Simd>(_: S, to: *mut Self, values: S::f32s) {
        let narrow = narrowed::<S>(values);
        // SAFETY: the caller says that there is room for a vector's values.
        unsafe { std::ptr::copy_nonoverlapping(narrow.as_ptr(), to, S::F32_LANES) };
    }

    // SAFETY: what the trait asks of the caller.
    #[inline(always)]
    unsafe fn store_part<S: Simd>(_: S, to: *mut Self, values: S::f32s, part: Part<S>) {
        let narrow = narrowed::<S>(values);
        // SAFETY: the caller says that there is room for the part's values.
        unsafe { copy_part::<S>(narrow.as_ptr(), to, part.len) };
    }
}

/// Copies the first `len` of a vector's lanes.
///
/// # Safety
/// There are as many at both places.
#[inline(always)]
unsafe fn copy_part<S: Simd>(from: *const bf16, to: *mut bf16, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if S::F32_LANES == LONGEST {
        use std::arch::x86_64::{_mm256_mask_storeu_epi16, _mm256_maskz_loadu_epi16};
        let mask = ((1u32 << len) - 1) as u16;
        // SAFETY: vectors are this long with AVX-512 only, at the level that has these instructions too; the mask leaves
        // out what is not there.
        unsafe { _mm256_mask_storeu_epi16(to.cast(), mask, _mm256_maskz_loadu_epi16(mask, from.cast())) };
        return;
    }
    // SAFETY: passed on from the caller.
    unsafe { std::ptr::copy_nonoverlapping(from, to, len) };
}

/// The first values as a vector. Loops over arrays of fixed length become vector instructions.
#[inline(always)]
fn widened<S: Simd>(values: &[bf16]) -> S::f32s {
    let mut lanes = [0.0f32; LONGEST];
    for i in 0..S::F32_LANES {
        lanes[i] = values[i].float();
    }
    // SAFETY: a vector is its lanes, and no vector is longer than the array.
    unsafe { lanes.as_ptr().cast::<S::f32s>().read_unaligned() }
}

/// A vector's values, and zeros behind them.
#[inline(always)]
fn narrowed<S: Simd>(values: S::f32s) -> [bf16; LONGEST] {
    let mut lanes = [0.0f32; LONGEST];
    // SAFETY: as in `widened`.
    unsafe { lanes.as_mut_ptr().cast::<S::f32s>().write_unaligned(values) };
    let mut narrow = [bf16::ZERO; LONGEST];
    for i in 0..S::F32_LANES {
        narrow[i] = bf16::rounded(lanes[i]);
    }
    narrow
}

/// Values of one type as values of the other.
///
/// # Panics
/// If the lengths differ.
pub fn convert<T: Value, U: Value>(from: &[T], to: &mut [U]) {
    /// Values that one task handles.
    const TASK: usize = 1 << 14;
    assert_eq!(from.len(), to.len(), "values and what they become");
    to.par_chunks_mut(TASK).zip(from.par_chunks(TASK)).for_each(|(to, from)| {
        vectorised(
            #[inline(always)]
            || convert_all(from, to),
        );
    });
}

/// [`convert`] on one thread, in a loop that becomes vector instructions where it is inlined.
#[inline(always)]
pub(crate) fn convert_all<T: Value, U: Value>(from: &[T], to: &mut [U]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = U::rounded(from.float()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_half() {
        let mut bits = 1u32;
        let mut special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45].to_vec();
        for _ in 0..100_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            special.push(f32::from_bits(bits));
            special.push(f32::from_bits(bits & 0xffff_8000)); // ties
        }
        for x in special {
            let (ours, half) = (<bf16 as Value>::rounded(x), bf16::from_f32(x));
            assert!(ours.to_bits() == half.to_bits() || x.is_nan() && ours.is_nan(), "{x:e}: {ours:?}, {half:?}");
            assert!(ours.float().to_bits() == half.to_f32().to_bits() || x.is_nan());
        }
    }
}
