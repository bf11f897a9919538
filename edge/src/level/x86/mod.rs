//! x86-64: AVX2 with FMA, AVX-VNNI, AVX-512 with VNNI.

mod cpu;
mod depthwise_u8;
mod simple;
mod simple_bytes;
mod simple_floats;

use super::{Kernels, Level, scalar};

pub(super) use cpu::{has_avx_vnni, has_avx2, has_avx512_vnni};

pub(super) static AVX2: Kernels = Kernels {
    level: Level::Avx2,
    dense_u8: scalar::BYTES,
    depthwise_u8: depthwise_u8::AVX2,
    dense_f32: scalar::FLOATS,
    depthwise_f32: scalar::FLOATS,
    simple: simple::avx2::TABLE,
};

pub(super) static AVX_VNNI: Kernels = Kernels {
    level: Level::AvxVnni,
    dense_u8: scalar::BYTES,
    depthwise_u8: depthwise_u8::AVX_VNNI,
    dense_f32: scalar::FLOATS,
    depthwise_f32: scalar::FLOATS,
    simple: simple::avx2::TABLE,
};

pub(super) static AVX512_VNNI: Kernels = Kernels {
    level: Level::Avx512Vnni,
    dense_u8: scalar::BYTES,
    depthwise_u8: depthwise_u8::AVX512_VNNI,
    dense_f32: scalar::FLOATS,
    depthwise_f32: scalar::FLOATS,
    simple: simple::avx512::TABLE,
};
