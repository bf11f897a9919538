//! How exactly cuBLAS computes products of `f32` on the card: in `f32`, or by tensor cores in TF32.

use candle_core::cuda_backend::{gemm_reduced_precision_f32, set_gemm_reduced_precision_f32};

/// Runs `product` with Candle's switch, which is one for the whole process, where this product
/// wants it.
pub(super) fn rounding<T>(tf32: bool, product: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            set_gemm_reduced_precision_f32(self.0);
        }
    }
    let _restore = Restore(gemm_reduced_precision_f32());
    set_gemm_reduced_precision_f32(tf32);
    product()
}
