//! x86-64: AVX2 with FMA, AVX-VNNI, AVX-512 with VNNI.

mod cpu;
mod dense_f32;
mod dense_u8;
mod depthwise_f32;
mod depthwise_u8;
mod lookup;
mod mixed;
mod simple;
mod simple_bytes;
mod simple_floats;
mod winograd;

use super::{Kernels, Level};

pub(super) use cpu::{has_avx_vnni, has_avx2, has_avx512_vnni};

pub(super) static AVX2: Kernels = Kernels {
    level: Level::Avx2,
    dense_u8: dense_u8::avx2::KERNEL,
    depthwise_u8: depthwise_u8::AVX2,
    dense_f32: dense_f32::AVX2,
    depthwise_f32: depthwise_f32::AVX2,
    mixed: mixed::AVX2,
    simple: simple::avx2::TABLE,
};

pub(super) static AVX_VNNI: Kernels = Kernels {
    level: Level::AvxVnni,
    dense_u8: dense_u8::avx_vnni::KERNEL,
    depthwise_u8: depthwise_u8::AVX_VNNI,
    dense_f32: dense_f32::AVX2,
    depthwise_f32: depthwise_f32::AVX2,
    mixed: mixed::AVX_VNNI,
    simple: simple::avx2::TABLE,
};

pub(super) static AVX512_VNNI: Kernels = Kernels {
    level: Level::Avx512Vnni,
    dense_u8: dense_u8::avx512::KERNEL,
    depthwise_u8: depthwise_u8::AVX512_VNNI,
    dense_f32: dense_f32::AVX512,
    depthwise_f32: depthwise_f32::AVX512,
    mixed: mixed::AVX512_VNNI,
    simple: simple::avx512::TABLE,
};
