//! What is computed element by element, with the vectors of each level.

use core::arch::x86_64::*;

use super::cpu;
use super::lookup::Lookup;
use super::simple_bytes::bytes;
use super::simple_floats::floats;
use crate::simple::{Simple, portable};

/// 256 bits.
pub(super) mod avx2 {
    use core::arch::x86_64::{
        __m256 as F, __m256i as I, _mm256_add_epi16 as add16, _mm256_add_epi32 as add32, _mm256_add_ps as addf,
        _mm256_adds_epi16 as adds16, _mm256_castps_si256 as as_words, _mm256_castsi256_ps as as_floats,
        _mm256_cvtepi32_ps as to_floats, _mm256_cvtps_epi32 as to_words, _mm256_div_ps as divf, _mm256_fmadd_ps as fma,
        _mm256_loadu_ps as load_floats, _mm256_loadu_si256 as load_vector, _mm256_max_epu8 as max8,
        _mm256_max_ps as maxf, _mm256_min_epu8 as min8, _mm256_min_ps as minf, _mm256_mul_ps as mulf,
        _mm256_mulhi_epi16 as mul_high16, _mm256_mullo_epi16 as mul_low16, _mm256_packs_epi32 as pack32,
        _mm256_packus_epi16 as pack16, _mm256_set1_epi8 as all8, _mm256_set1_epi16 as all16,
        _mm256_set1_epi32 as all32, _mm256_set1_ps as all, _mm256_setzero_si256 as none, _mm256_slli_epi32 as shift32,
        _mm256_storeu_ps as store_floats, _mm256_storeu_si256 as store_vector, _mm256_sub_epi16 as sub16,
        _mm256_sub_ps as subf, _mm256_unpackhi_epi8 as high8, _mm256_unpackhi_epi16 as high16,
        _mm256_unpacklo_epi8 as low8, _mm256_unpacklo_epi16 as low16,
    };

    use super::*;

    const BYTES: usize = 32;

    /// The first `count` bytes, fewer than all.
    ///
    /// # Safety
    /// `count` bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_some(at: *const u8, count: usize) -> I {
        let mut bytes = [0u8; BYTES];
        // SAFETY: the caller's word; there are fewer than 32.
        unsafe {
            core::ptr::copy_nonoverlapping(at, bytes.as_mut_ptr(), count);
            load(bytes.as_ptr())
        }
    }

    /// The first `count` bytes, fewer than all.
    ///
    /// # Safety
    /// There is room for `count` bytes at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store_some(at: *mut u8, bytes: I, count: usize) {
        let mut all = [0u8; BYTES];
        // SAFETY: the caller's word; there are fewer than 32.
        unsafe {
            store(all.as_mut_ptr(), bytes);
            core::ptr::copy_nonoverlapping(all.as_ptr(), at, count);
        }
    }

    /// The first `count` floats, fewer than all.
    ///
    /// # Safety
    /// `count` floats lie at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_some_floats(at: *const f32, count: usize) -> F {
        // SAFETY: the caller's word; what is masked is not read.
        unsafe { _mm256_maskload_ps(at, first(count)) }
    }

    /// The first `count` floats, fewer than all.
    ///
    /// # Safety
    /// There is room for `count` floats at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store_some_floats(at: *mut f32, x: F, count: usize) {
        // SAFETY: the caller's word; what is masked is not written.
        unsafe { _mm256_maskstore_ps(at, first(count), x) };
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn first(count: usize) -> I {
        _mm256_cmpgt_epi32(all32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    /// `x` where it is above 0, else `y`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn positive_or(x: F, y: F) -> F {
        _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_GT_OQ>(x, all(0.0)))
    }

    /// 8 bytes as words.
    ///
    /// # Safety
    /// 8 bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn words(at: *const u8) -> I {
        // SAFETY: the caller's word.
        unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast())) }
    }

    /// What was packed of four vectors in turn, in their order.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn in_order(bytes: I) -> I {
        _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }

    bytes!("avx2,fma");
    floats!("avx2,fma");

    /// The table of this level.
    pub(crate) const TABLE: Simple = Simple { table, ..VECTORS };

    /// # Safety
    /// As of `Simple::table`; the CPU has AVX2.
    pub(super) unsafe fn table(a: *const u8, out: *mut u8, length: usize, table: &[u8; 256]) {
        // SAFETY: the caller's word.
        unsafe { Lookup::new(table).look_up(a, out, length) };
    }
}

/// 512 bits.
pub(super) mod avx512 {
    use core::arch::x86_64::{
        __m512 as F, __m512i as I, _mm512_add_epi16 as add16, _mm512_add_epi32 as add32, _mm512_add_ps as addf,
        _mm512_adds_epi16 as adds16, _mm512_castps_si512 as as_words, _mm512_castsi512_ps as as_floats,
        _mm512_cvtepi32_ps as to_floats, _mm512_cvtps_epi32 as to_words, _mm512_div_ps as divf, _mm512_fmadd_ps as fma,
        _mm512_loadu_ps as load_floats, _mm512_loadu_si512 as load_vector, _mm512_max_epu8 as max8,
        _mm512_max_ps as maxf, _mm512_min_epu8 as min8, _mm512_min_ps as minf, _mm512_mul_ps as mulf,
        _mm512_mulhi_epi16 as mul_high16, _mm512_mullo_epi16 as mul_low16, _mm512_packs_epi32 as pack32,
        _mm512_packus_epi16 as pack16, _mm512_set1_epi8 as all8, _mm512_set1_epi16 as all16,
        _mm512_set1_epi32 as all32, _mm512_set1_ps as all, _mm512_setzero_si512 as none, _mm512_slli_epi32 as shift32,
        _mm512_storeu_ps as store_floats, _mm512_storeu_si512 as store_vector, _mm512_sub_epi16 as sub16,
        _mm512_sub_ps as subf, _mm512_unpackhi_epi8 as high8, _mm512_unpackhi_epi16 as high16,
        _mm512_unpacklo_epi8 as low8, _mm512_unpacklo_epi16 as low16,
    };

    use super::*;

    const BYTES: usize = 64;

    /// The first `count` bytes, fewer than all.
    ///
    /// # Safety
    /// `count` bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    unsafe fn load_some(at: *const u8, count: usize) -> I {
        // SAFETY: the caller's word; what is masked is not read.
        unsafe { _mm512_maskz_loadu_epi8((1 << count) - 1, at.cast()) }
    }

    /// The first `count` bytes, fewer than all.
    ///
    /// # Safety
    /// There is room for `count` bytes at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    unsafe fn store_some(at: *mut u8, bytes: I, count: usize) {
        // SAFETY: the caller's word; what is masked is not written.
        unsafe { _mm512_mask_storeu_epi8(at.cast(), (1 << count) - 1, bytes) };
    }

    /// The first `count` floats, fewer than all.
    ///
    /// # Safety
    /// `count` floats lie at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    unsafe fn load_some_floats(at: *const f32, count: usize) -> F {
        // SAFETY: the caller's word; what is masked is not read.
        unsafe { _mm512_maskz_loadu_ps((1 << count) - 1, at) }
    }

    /// The first `count` floats, fewer than all.
    ///
    /// # Safety
    /// There is room for `count` floats at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    unsafe fn store_some_floats(at: *mut f32, x: F, count: usize) {
        // SAFETY: the caller's word; what is masked is not written.
        unsafe { _mm512_mask_storeu_ps(at, (1 << count) - 1, x) };
    }

    /// `x` where it is above 0, else `y`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    fn positive_or(x: F, y: F) -> F {
        _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, all(0.0)), y, x)
    }

    /// 16 bytes as words.
    ///
    /// # Safety
    /// 16 bytes lie at `at`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    unsafe fn words(at: *const u8) -> I {
        // SAFETY: the caller's word.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast())) }
    }

    /// What was packed of four vectors in turn, in their order.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    fn in_order(bytes: I) -> I {
        _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), bytes)
    }

    bytes!("avx512f,avx512bw,avx512vl,avx512dq,fma");
    floats!("avx512f,avx512bw,avx512vl,avx512dq,fma");

    /// The table of this level.
    pub(crate) const TABLE: Simple = Simple { table, ..VECTORS };

    /// # Safety
    /// As of `Simple::table`; the CPU has AVX-512.
    unsafe fn table(a: *const u8, out: *mut u8, length: usize, table: &[u8; 256]) {
        // SAFETY: the caller's word; the CPU has it.
        unsafe {
            if cpu::has_avx512_vbmi() {
                permuted(a, out, length, table);
            } else {
                super::avx2::table(a, out, length, table);
            }
        }
    }

    /// Looks 64 bytes up at once: in each half of the table by its own instruction.
    ///
    /// # Safety
    /// As of `Simple::table`; the CPU has VBMI.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,avx512vbmi")]
    unsafe fn permuted(a: *const u8, out: *mut u8, length: usize, table: &[u8; 256]) {
        // SAFETY: a table has four vectors; the caller gives `length` elements of each.
        unsafe {
            let quarter = |at: usize| load(table.as_ptr().add(64 * at));
            let (first, second, third, fourth) = (quarter(0), quarter(1), quarter(2), quarter(3));
            let mut at = 0;
            while at < length {
                let rest = length - at;
                let x = load_up_to(a.add(at), rest);
                let low = _mm512_permutex2var_epi8(first, x, second);
                let high = _mm512_permutex2var_epi8(third, x, fourth);
                let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high);
                store_up_to(out.add(at), found, rest);
                at += BYTES;
            }
        }
    }
}
