//! What 256-bit strips share: how rows are loaded and interleaved, and bytes stored.

/// Numbers that the compiler computes here, with what is loaded for them: else it prepares all words first and adds products
/// to each other, and has no registers for the sums.
macro_rules! here {
    ($($sums:expr),+) => {
        $(core::arch::asm!("/* {0} */", inout(ymm_reg) $sums, options(nostack, preserves_flags));)+
    };
}
pub(super) use here;

macro_rules! half {
    ($features:literal) => {
        use core::arch::x86_64::{
            __m256i as V, _mm256_adds_epi16 as adds16, _mm256_castsi256_ps as as_floats,
            _mm256_cvtepi32_ps as to_floats, _mm256_cvtps_epi32 as to_words, _mm256_max_epu8 as max8,
            _mm256_min_epu8 as min8, _mm256_min_ps as minf, _mm256_mul_ps as mulf, _mm256_packs_epi32 as pack32,
            _mm256_packus_epi16 as pack16, _mm256_set1_epi8 as all8, _mm256_set1_epi16 as all16, _mm256_set1_ps as all,
        };

        super::tail::tail!($features);

        /// No strip of 256 bits has words in the order of parity.
        #[inline(always)]
        fn even_and_odd(bytes: V) -> V {
            bytes
        }

        /// # Safety
        /// A vector's bytes, divided among the `G` groups, lie `offset` behind the first `G` places.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load<const G: usize>(at: [*const u8; 4], offset: usize) -> V {
            // SAFETY: the caller's word.
            unsafe {
                if G == 1 {
                    _mm256_loadu_si256(at[0].add(offset).cast())
                } else {
                    let low = _mm_loadu_si128(at[0].add(offset).cast());
                    _mm256_set_m128i(_mm_loadu_si128(at[1].add(offset).cast()), low)
                }
            }
        }

        /// Four rows' bytes, channel by channel.
        #[inline]
        #[target_feature(enable = $features)]
        fn bytes(a: V, b: V, c: V, d: V) -> Quad {
            let (ab_low, ab_high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
            Quad(
                _mm256_unpacklo_epi16(ab_low, cd_low),
                _mm256_unpackhi_epi16(ab_low, cd_low),
                _mm256_unpacklo_epi16(ab_high, cd_high),
                _mm256_unpackhi_epi16(ab_high, cd_high),
            )
        }

        /// Loads and interleaves rows of a column; those behind the last are one that is there.
        ///
        /// # Safety
        /// As of `load`, for each of the offsets.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn column<const G: usize, const ROWS: usize, const PARITY: bool>(
            at: [*const u8; 4],
            offsets: &[usize; 4],
        ) -> Quad {
            // SAFETY: the caller's word.
            unsafe {
                bytes(
                    load::<G>(at, offsets[0]),
                    load::<G>(at, offsets[1]),
                    load::<G>(at, offsets[2]),
                    load::<G>(at, offsets[3]),
                )
            }
        }

        /// Writes the first `channels` of each group.
        ///
        /// # Safety
        /// There is room for `channels` bytes, no more than a group has, at the first `G` places.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn store<const G: usize>(bytes: V, out: [*mut u8; 4], channels: usize) {
            let (low, high) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            // SAFETY: the caller's word.
            unsafe {
                if G == 1 {
                    if channels == 32 {
                        _mm256_storeu_si256(out[0].cast(), bytes);
                    } else {
                        _mm_storeu_si128(out[0].cast(), low);
                        store_some(high, out[0].add(16), channels - 16);
                    }
                } else if channels == 16 {
                    _mm_storeu_si128(out[0].cast(), low);
                    _mm_storeu_si128(out[1].cast(), high);
                } else {
                    store_some(low, out[0], channels);
                    store_some(high, out[1], channels);
                }
            }
        }

        /// Writes the first `count` bytes of 16, fewer than all.
        ///
        /// # Safety
        /// There is room for `count` bytes at `out`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn store_some(bytes: __m128i, out: *mut u8, count: usize) {
            let (mut rest, mut out) = (bytes, out);
            // Not known, or the compiler would make a loop over pixels for each count.
            let count = core::hint::black_box(count);
            // SAFETY: the caller's word.
            unsafe {
                if count & 8 != 0 {
                    _mm_storel_epi64(out.cast(), rest);
                    (rest, out) = (_mm_unpackhi_epi64(rest, rest), out.add(8));
                }
                let mut word = _mm_cvtsi128_si64(rest);
                for _ in 0..count % 8 {
                    *out = word as u8;
                    (word, out) = (word >> 8, out.add(1));
                }
            }
        }
    };
}
pub(super) use half;
