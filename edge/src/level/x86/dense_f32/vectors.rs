//! Vectors of floats of both widths under the same names, so that a tile is written once.

/// 16 floats and masks of AVX-512.
pub(in crate::level::x86) mod wide {
    use core::arch::x86_64::*;

    /// A vector.
    pub(in crate::level::x86) type V = __m512;
    /// Which lanes of a vector count.
    pub(in crate::level::x86) type M = __mmask16;
    /// Floats of a vector.
    pub(in crate::level::x86) const LANES: usize = 16;

    /// Of the first `lanes` lanes, 1 to 16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    pub(in crate::level::x86) fn mask(lanes: usize) -> M {
        (u32::MAX >> (32 - lanes)) as u16
    }

    /// # Safety
    /// The lanes that count lie at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    pub(in crate::level::x86) unsafe fn load_some(at: *const f32, mask: M) -> V {
        // SAFETY: the caller's word.
        unsafe { _mm512_maskz_loadu_ps(mask, at) }
    }

    /// # Safety
    /// There is room at `at` for the lanes that count.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    pub(in crate::level::x86) unsafe fn store_some(at: *mut f32, mask: M, x: V) {
        // SAFETY: the caller's word.
        unsafe { _mm512_mask_storeu_ps(at, mask, x) }
    }

    /// `e^whole` of a power of 2: `whole + 127` as an exponent.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    pub(in crate::level::x86) fn power(whole: V) -> V {
        let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(whole), _mm512_set1_epi32(127));
        _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
    }

    /// `a` where `x > 0`, else `b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    pub(in crate::level::x86) fn above(x: V, a: V, b: V) -> V {
        _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps()), b, a)
    }

    super::same_names!("avx512f,avx512bw,avx512vl,avx512dq,fma" _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps
        _mm512_fmadd_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps _mm512_max_ps _mm512_min_ps);
}

/// 8 floats of AVX2 with FMA.
pub(in crate::level::x86) mod narrow {
    use core::arch::x86_64::*;

    /// A vector.
    pub(in crate::level::x86) type V = __m256;
    /// Which lanes of a vector count.
    pub(in crate::level::x86) type M = __m256i;
    /// Floats of a vector.
    pub(in crate::level::x86) const LANES: usize = 8;

    /// Of the first `lanes` lanes, 1 to 8.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::level::x86) fn mask(lanes: usize) -> M {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    /// # Safety
    /// The lanes that count lie at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::level::x86) unsafe fn load_some(at: *const f32, mask: M) -> V {
        // SAFETY: the caller's word.
        unsafe { _mm256_maskload_ps(at, mask) }
    }

    /// # Safety
    /// There is room at `at` for the lanes that count.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::level::x86) unsafe fn store_some(at: *mut f32, mask: M, x: V) {
        // SAFETY: the caller's word.
        unsafe { _mm256_maskstore_ps(at, mask, x) }
    }

    /// `e^whole` of a power of 2: `whole + 127` as an exponent.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::level::x86) fn power(whole: V) -> V {
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
    }

    /// `a` where `x > 0`, else `b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::level::x86) fn above(x: V, a: V, b: V) -> V {
        _mm256_blendv_ps(b, a, _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps()))
    }

    super::same_names!("avx2,fma" _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps
        _mm256_fmadd_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_max_ps _mm256_min_ps);
}

/// What has one instruction in both widths.
macro_rules! same_names {
    ($features:literal $load:ident $store:ident $all:ident $fma:ident $add:ident $sub:ident $mul:ident $div:ident
        $max:ident $min:ident) => {
        /// # Safety
        /// A vector lies at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub(in crate::level::x86) unsafe fn load(at: *const f32) -> V {
            // SAFETY: the caller's word.
            unsafe { $load(at) }
        }

        /// # Safety
        /// There is room for a vector at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub(in crate::level::x86) unsafe fn store(at: *mut f32, x: V) {
            // SAFETY: the caller's word.
            unsafe { $store(at, x) }
        }

        super::same_names!(@each $features
            /// `x` in every lane.
            all(x: f32) $all;
            /// `x * y + z`, rounded once.
            fma(x: V, y: V, z: V) $fma;
            /// `x + y`.
            add(x: V, y: V) $add;
            /// `x - y`.
            sub(x: V, y: V) $sub;
            /// `x * y`.
            mul(x: V, y: V) $mul;
            /// `x / y`.
            div(x: V, y: V) $div;
            /// The larger; `y` where one is not a number.
            max(x: V, y: V) $max;
            /// The smaller; `y` where one is not a number.
            min(x: V, y: V) $min;
        );
    };
    (@each $features:literal $($(#[$doc:meta])* $name:ident($($x:ident: $type:ty),+) $instruction:ident;)+) => {
        $(
            $(#[$doc])*
            #[inline]
            #[target_feature(enable = $features)]
            pub(in crate::level::x86) fn $name($($x: $type),+) -> V {
                $instruction($($x),+)
            }
        )+
    };
}
use same_names;
