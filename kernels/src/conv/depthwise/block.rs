//! Blocks of `L` channels: one vector each, or two or four where vectors are shorter.
#![allow(unsafe_code)] // `load`: what is inside is known to its callers

/// The channels cut into blocks of `L`. There are at least `L`; the last block overlaps the one before it, and what lies
/// in both is computed twice, to the same value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks<const L: usize> {
    pub(super) channels: usize,
}

impl<const L: usize> Blocks<L> {
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        self.channels.div_ceil(L)
    }

    /// The first channel of a block.
    #[inline(always)]
    pub(super) fn start(self, block: usize) -> usize {
        (block * L).min(self.channels - L)
    }

    /// `[C, size]` as `[blocks, size, L]`.
    pub(super) fn gathered(self, values: &[f32], size: usize) -> Vec<[f32; L]> {
        let places = (0..self.count()).flat_map(|block| (0..size).map(move |i| (self.start(block), i)));
        places.map(|(start, i)| std::array::from_fn(|lane| values[(start + lane) * size + i])).collect()
    }
}

/// Runs a body with a constant for the most channels, of 16, 4 and 1, that make a block.
macro_rules! with_blocks {
    ($channels:expr, $lanes:ident => $body:block) => {
        match $channels {
            16.. => {
                const $lanes: usize = 16;
                $body
            }
            4.. => {
                const $lanes: usize = 4;
                $body
            }
            _ => {
                const $lanes: usize = 1;
                $body
            }
        }
    };
}
pub(super) use with_blocks;

/// The `L` values from `at`.
///
/// # Safety
/// `at + L` is at most the length.
#[inline(always)]
pub(super) unsafe fn load<const L: usize>(values: &[f32], at: usize) -> [f32; L] {
    debug_assert!(at + L <= values.len(), "{at} + {L} in {}", values.len());
    // SAFETY: the caller says that these values are inside; an array of `f32` is aligned like one of them.
    unsafe { values.as_ptr().add(at).cast::<[f32; L]>().read() }
}

/// `sum + a * b`, lane by lane. Two roundings: a fused multiply-add is a library call where the machine has none.
#[inline(always)]
pub(super) fn add_product<const L: usize>(sum: &mut [f32; L], a: &[f32; L], b: &[f32; L]) {
    for lane in 0..L {
        sum[lane] += a[lane] * b[lane];
    }
}
