//! Tables of 256 bytes, looked up by shuffles of 16 entries where no instruction takes more.
//!
//! Each part of 16 entries is kept as what tells it from the part before. A shuffle answers 0 to what is negative: with 16
//! taken away for each part, a byte stays at 0 or above as long as parts up to its own are asked, and all that they answer
//! makes its entry. The halves of the table have one sign each. A part that is like the one before it is not asked, so that
//! functions with constant ends take fewer than 16.

use core::arch::x86_64::*;

/// Bytes that are looked up together: three vectors.
pub(super) const TOGETHER: usize = 96;

/// A table, made ready.
pub(super) struct Lookup {
    parts: [Part; 16],
    /// Behind the last part of each half.
    ends: [usize; 2],
}

/// A part, as what tells it from the one before, and what is taken away from bytes for it.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Part {
    entries: u128,
    less: [u8; 16],
}

impl Lookup {
    /// That of a table with zeros only.
    pub(super) const NONE: Self = Self { parts: [Part { entries: 0, less: [0; 16] }; 16], ends: [0; 2] };

    #[inline(never)]
    pub(super) fn new(table: &[u8; 256]) -> Self {
        let mut lookup = Self::NONE;
        let (parts, _) = table.as_chunks();
        let mut count = 0;
        for (half, end) in lookup.ends.iter_mut().enumerate() {
            let mut before = 0;
            for part in 0..8 {
                let entries = u128::from_le_bytes(parts[8 * half + part]);
                if entries != before {
                    lookup.parts[count] = Part { entries: entries ^ before, less: [16 * part as u8; 16] };
                    count += 1;
                }
                before = entries;
            }
            *end = count;
        }
        lookup
    }

    /// Looks `length` bytes up; `out` may be `a`.
    ///
    /// # Safety
    /// `length` bytes lie at `a`, and there is room for as many at `out`; the CPU has AVX2.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn look_up(&self, a: *const u8, out: *mut u8, length: usize) {
        let mut at = 0;
        // SAFETY: the caller's word.
        unsafe {
            let load = |at: usize| _mm256_loadu_si256(a.add(at).cast());
            let store = |at: usize, bytes| _mm256_storeu_si256(out.add(at).cast(), bytes);
            while length - at >= TOGETHER {
                let (x, y, z) = self.three(load(at), load(at + 32), load(at + 64));
                store(at, x);
                store(at + 32, y);
                store(at + 64, z);
                at += TOGETHER;
            }
            while at < length {
                let count = (length - at).min(32);
                let mut some = [0u8; 32];
                some.as_mut_ptr().copy_from_nonoverlapping(a.add(at), count);
                let found = self.one(_mm256_loadu_si256(some.as_ptr().cast()));
                _mm256_storeu_si256(some.as_mut_ptr().cast(), found);
                out.add(at).copy_from_nonoverlapping(some.as_ptr(), count);
                at += count;
            }
        }
    }
}

/// Looks so many vectors up: their bytes' names, and those of what is found.
macro_rules! looked {
    ($lookup:ident $($x:ident $found:ident)+) => {{
        $(let (mut $x, mut $found) = ($x, _mm256_setzero_si256());)+
        let (lower, rest) = $lookup.parts.split_at($lookup.ends[0]);
        for parts in [lower, &rest[..$lookup.ends[1] - $lookup.ends[0]]] {
            for Part { entries, less } in parts {
                // SAFETY: both are vectors.
                let (entries, less) = unsafe {
                    (_mm_load_si128((&raw const *entries).cast()), _mm_loadu_si128(less.as_ptr().cast()))
                };
                let (entries, less) = (_mm256_broadcastsi128_si256(entries), _mm256_broadcastsi128_si256(less));
                $($found = _mm256_xor_si256($found, _mm256_shuffle_epi8(entries, _mm256_subs_epi8($x, less)));)+
            }
            $($x = _mm256_xor_si256($x, _mm256_set1_epi8(i8::MIN));)+
        }
        ($($found),+)
    }};
}

impl Lookup {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn one(&self, x: __m256i) -> __m256i {
        looked!(self x a)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn three(&self, x: __m256i, y: __m256i, z: __m256i) -> (__m256i, __m256i, __m256i) {
        looked!(self x a y b z c)
    }
}
