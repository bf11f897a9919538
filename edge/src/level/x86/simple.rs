//! What is computed element by element, with the vectors of each level.

pub(super) mod avx2 {
    crate::simple::simple_level!(#[target_feature(enable = "avx2,fma")]);
}

pub(super) mod avx512 {
    crate::simple::simple_level!(#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]);
}
