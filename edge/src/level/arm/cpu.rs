//! What this CPU has: asked of the operating system where there is `std`, else what the program was compiled for.

/// Every AArch64 that Rust compiles vectors of floats for has it.
pub(crate) fn has_neon() -> bool {
    cfg!(target_feature = "neon")
}

/// Products of bytes, of Armv8.2 and later.
pub(crate) fn has_dotprod() -> bool {
    #[cfg(feature = "std")]
    let asked = std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(feature = "std"))]
    let asked = cfg!(target_feature = "dotprod");
    has_neon() && asked
}
