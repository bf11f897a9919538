//! Instruction sets: for each a table of entry points, and which of them this CPU has.

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod arm;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod channel_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod depthwise_tests;
mod scalar;
#[cfg(test)]
mod simple_speed;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod simple_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod speed;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::layer::{ByteKernel, FloatKernel, MixedKernel};
use crate::simple::Simple;

/// An instruction set with kernels of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// The same with AVX-VNNI: byte products of 256 bits.
    AvxVnni,
    /// AVX-512 with VNNI: byte products of 512 bits.
    Avx512Vnni,
    /// AArch64's base instructions.
    Neon,
    /// AArch64 with byte products.
    NeonDotprod,
}

impl Level {
    /// All of them, the slowest first.
    pub const ALL: [Self; 6] =
        [Self::Scalar, Self::Avx2, Self::AvxVnni, Self::Avx512Vnni, Self::Neon, Self::NeonDotprod];

    /// The name as it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Neon => "neon",
            Self::NeonDotprod => "neon-dotprod",
        }
    }

    /// The level called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whether this program was built for it and this CPU has it.
    pub fn available(self) -> bool {
        self.kernels().is_some()
    }

    /// The quickest that this CPU has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|level| level.available()).unwrap_or(Self::Scalar)
    }

    /// The entry points, where the CPU has what they use.
    pub(crate) fn kernels(self) -> Option<&'static Kernels> {
        match self {
            Self::Scalar => Some(&scalar::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::has_avx2().then_some(&x86::AVX2),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => x86::has_avx_vnni().then_some(&x86::AVX_VNNI),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => x86::has_avx512_vnni().then_some(&x86::AVX512_VNNI),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::AvxVnni | Self::Avx512Vnni => None,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::Neon => arm::has_neon().then_some(&arm::NEON),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::NeonDotprod => arm::has_dotprod().then_some(&arm::NEON_DOTPROD),
            #[cfg(not(all(target_arch = "aarch64", target_endian = "little")))]
            Self::Neon | Self::NeonDotprod => None,
        }
    }
}

impl core::fmt::Display for Level {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// A level's entry points.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(crate) level: Level,
    /// Convolutions of bytes, dense and grouped, and linear layers.
    pub(crate) dense_u8: ByteKernel,
    /// Convolutions of bytes, a channel each.
    pub(crate) depthwise_u8: ByteKernel,
    /// Convolutions of floats, dense and grouped, and linear layers.
    pub(crate) dense_f32: FloatKernel,
    /// Convolutions of floats, a channel each.
    pub(crate) depthwise_f32: FloatKernel,
    /// Convolutions of bytes whose answers are floats, of all kinds.
    pub(crate) mixed: MixedKernel,
    /// Element by element, and windows.
    pub(crate) simple: Simple,
}
