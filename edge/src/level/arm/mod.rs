//! AArch64: NEON, and NEON with products of bytes (`sdot`).

mod bytes;
mod cpu;
mod dense;
mod depthwise;
mod mixed;
mod simple;

use super::{Kernels, Level};

pub(super) use cpu::{has_dotprod, has_neon};

pub(super) static NEON: Kernels = Kernels {
    level: Level::Neon,
    dense_u8: dense::neon::KERNEL,
    depthwise_u8: depthwise::bytes::KERNEL,
    dense_f32: dense::floats::KERNEL,
    depthwise_f32: depthwise::floats::KERNEL,
    mixed: mixed::NEON,
    simple: simple::TABLE,
};

pub(super) static NEON_DOTPROD: Kernels = Kernels {
    level: Level::NeonDotprod,
    dense_u8: dense::dotprod::KERNEL,
    depthwise_u8: depthwise::dotprod::KERNEL,
    mixed: mixed::NEON_DOTPROD,
    ..NEON
};
