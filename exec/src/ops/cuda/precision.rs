//! How exactly products of `f32` are computed on the card: in `f32`, or by tensor cores in TF32.

use std::sync::atomic::{AtomicBool, Ordering};

static TF32: AtomicBool = AtomicBool::new(false);

/// Lets convolutions and matrix products round their operands to TF32 (10 bits of mantissa), in the whole process.
pub(in crate::ops) fn allow_tf32(allow: bool) {
    TF32.store(allow, Ordering::Relaxed);
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(allow);
}

/// Whether they may.
#[cfg(feature = "cudnn")]
pub(super) fn tf32() -> bool {
    TF32.load(Ordering::Relaxed)
}
