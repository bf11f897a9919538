//! Products of `bf16` values with the instruction that multiplies two pairs and adds both products to an `f32` sum
//! (x86's AVX512-BF16: twice the multiplications of `f32` an instruction, in half the memory).
//!
//! A pair travels as one word of 32 bits, the first value below: what [`crate::tile`] reads, spreads and sums.
#![allow(unsafe_code)] // the instruction itself, and pairs of values read as words

use half::bf16;

#[cfg(target_arch = "x86_64")]
type Proof = pulp::x86::V4;
#[cfg(not(target_arch = "x86_64"))]
type Proof = std::convert::Infallible;

/// Words are pairs. Exists only where the machine has the instruction.
#[derive(Clone, Copy)]
pub(crate) struct Pairs(Proof);

/// The word of a pair.
#[inline(always)]
pub(crate) fn word(first: bf16, second: bf16) -> f32 {
    f32::from_bits(u32::from(first.to_bits()) | u32::from(second.to_bits()) << 16)
}

/// Neighbouring values as words, if they lie as words do and there is no odd one.
pub(crate) fn words(values: &[bf16]) -> Option<&[f32]> {
    // SAFETY: any 32 bits are an `f32`.
    let (before, words, after) = unsafe { values.align_to::<f32>() };
    (before.is_empty() && after.is_empty()).then_some(words)
}

/// Words of memory as the values of pairs.
pub(crate) fn values_mut(words: &mut [f32]) -> &mut [bf16] {
    // SAFETY: any 16 bits are a `bf16`, which may begin wherever an `f32` may; the slice is as long in bytes.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 2) }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};
    use std::mem::{size_of, transmute_copy};

    use pulp::x86::V4;
    use pulp::{Arch, Simd, WithSimd};

    use super::Pairs;
    use crate::simd::arch;
    use crate::tile::Multiply;
    use crate::value::Value;

    impl Pairs {
        /// The way of this machine, if it has one at the SIMD level in use.
        pub(crate) fn detect() -> Option<Self> {
            match arch() {
                Arch::V4(simd) if is_x86_feature_detected!("avx512bf16") => Some(Self(simd)),
                _ => None,
            }
        }
    }

    impl Multiply for Pairs {
        const VALUES: usize = 2;

        #[inline(always)]
        fn word(self, value: impl Fn(usize) -> f32) -> f32 {
            super::word(Value::rounded(value(0)), Value::rounded(value(1)))
        }

        #[inline(always)]
        fn add<S: Simd>(self, _: S, a: S::f32s, b: S::f32s, sum: S::f32s) -> S::f32s {
            const { assert!(size_of::<S::f32s>() == size_of::<__m512>(), "`vectorise` runs everything with AVX-512") };
            // SAFETY: `Pairs` exists only where the instruction does; all types are vectors of 512 bits.
            unsafe {
                let (a, b): (__m512bh, __m512bh) = (transmute_copy(&a), transmute_copy(&b));
                transmute_copy(&_mm512_dpbf16_ps(transmute_copy(&sum), a, b))
            }
        }

        #[inline(always)]
        fn vectorise<S: Simd>(self, _: S, work: impl WithSimd<Output = ()>) {
            // SAFETY: `Pairs` exists only where all of these features do.
            unsafe { with_bf16(self.0, work) }
        }
    }

    /// # Safety
    /// The machine must have these features.
    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn with_bf16(simd: V4, work: impl WithSimd<Output = ()>) {
        work.with_simd(simd);
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod other {
    use pulp::{Simd, WithSimd};

    use super::Pairs;
    use crate::tile::Multiply;

    impl Pairs {
        /// No other machine has it.
        pub(crate) fn detect() -> Option<Self> {
            None
        }
    }

    impl Multiply for Pairs {
        const VALUES: usize = 2;

        fn word(self, _: impl Fn(usize) -> f32) -> f32 {
            match self.0 {}
        }

        fn add<S: Simd>(self, _: S, _: S::f32s, _: S::f32s, _: S::f32s) -> S::f32s {
            match self.0 {}
        }

        fn vectorise<S: Simd>(self, _: S, _: impl WithSimd<Output = ()>) {
            match self.0 {}
        }
    }
}
