//! Strips of 256-bit vectors with AVX-VNNI's `vpdpbusd`: 32 channels, or 16 of two rows.

use core::arch::x86_64::{_mm256_dpbusd_avx_epi32 as dot, *};

use super::half::half;
use super::tail::dots;
use super::tiles::tiles;
use super::{Strips, Walk};

half!("avx2,fma,avxvnni");

dots!("avx2,fma,avxvnni");

tiles!("avx2,fma,avxvnni", [1, 2], false, true, false, true);
