//! Vectors along channels: as long as the machine's, the last of a pixel filled with zeros.
#![allow(unsafe_code)] // loads and stores through pointers, which `pulp` has no safe and quick way for

use pulp::Simd;

use crate::activation::Activation;
use crate::value::{Part, Value};

/// The channels of a vector: all of them if it is `FULL`.
#[derive(Clone, Copy)]
pub(super) struct Block<S: Simd, const FULL: bool> {
    pub(super) simd: S,
    pub(super) first: usize,
    /// How many of the vector's channels there are.
    len: usize,
}

/// The full blocks that some channels are cut into.
#[inline(always)]
pub(super) fn full<S: Simd>(simd: S, channels: usize) -> impl Iterator<Item = Block<S, true>> {
    (0..channels / S::F32_LANES).map(move |i| Block { simd, first: i * S::F32_LANES, len: S::F32_LANES })
}

/// The block of the channels that are left, if any.
#[inline(always)]
pub(super) fn rest<S: Simd>(simd: S, channels: usize) -> Option<Block<S, false>> {
    let len = channels % S::F32_LANES;
    (len > 0).then_some(Block { simd, first: channels - len, len })
}

impl<S: Simd, const FULL: bool> Block<S, FULL> {
    #[inline(always)]
    pub(super) fn zero(self) -> S::f32s {
        self.simd.splat_f32s(0.0)
    }

    /// This block of the pixel that begins at `pixel`.
    ///
    /// # Safety
    /// `values` has all channels of the pixel.
    #[inline(always)]
    pub(super) unsafe fn load<T: Value>(self, values: &[T], pixel: usize) -> S::f32s {
        let at = pixel + self.first;
        debug_assert!(at + self.len <= values.len(), "{at} + {} in {}", self.len, values.len());
        // SAFETY: the caller says that the pixel is inside, the block is inside of the pixel, and the mask leaves out
        // what is not of the block.
        unsafe {
            let from = values.as_ptr().add(at);
            if FULL { T::load(self.simd, from) } else { T::load_part(self.simd, from, self.part()) }
        }
    }

    /// Writes this block of the pixel that begins at `pixel`.
    ///
    /// # Safety
    /// `values` has all channels of the pixel.
    #[inline(always)]
    pub(super) unsafe fn store<T: Value>(self, values: &mut [T], pixel: usize, vector: S::f32s) {
        let at = pixel + self.first;
        debug_assert!(at + self.len <= values.len(), "{at} + {} in {}", self.len, values.len());
        // SAFETY: as for `load`.
        unsafe {
            let to = values.as_mut_ptr().add(at);
            if FULL {
                T::store(self.simd, to, vector);
            } else {
                T::store_part(self.simd, to, vector, self.part());
            }
        }
    }

    #[inline(always)]
    fn part(self) -> Part<S> {
        Part::new(self.simd, self.len)
    }

    /// As [`Activation::apply`].
    #[inline(always)]
    pub(super) fn activated(self, activation: Option<Activation>, vector: S::f32s) -> S::f32s {
        let (simd, zero) = (self.simd, self.zero());
        let Some(activation) = activation else { return vector };
        let floored = simd.select_f32s(simd.less_than_or_equal_f32s(vector, zero), zero, vector);
        match activation {
            Activation::Relu => floored,
            Activation::Relu6 => {
                let six = simd.splat_f32s(6.0);
                simd.select_f32s(simd.greater_than_or_equal_f32s(floored, six), six, floored)
            }
        }
    }
}
