//! Tiles of AVX-VNNI: up to 6 pixels by two vectors of 8 channels.

use core::arch::x86_64::*;
use core::ops::Range;

use super::layout::{HEAD, Layout, QUAD_HEAD};
use super::tile::{entries, quad, single, wide};
use super::ymm::*;
use super::{Tile, Tiles};
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, Shape};

static TILES: Tiles = Tiles {
    layout: Layout { lanes: 8, word: 4, narrow: false },
    wide: &[single, wide_2, wide_3, wide_4, wide_5, wide_6],
    narrow: &[],
    quad: &[quad_1, quad_2, quad_3, quad_4, quad_5, quad_6],
    finish,
    whole: true,
    widen: None,
};

entries!();

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dot(sums: Vector, values: Vector, weights: Vector) -> Vector {
    _mm256_dpbusd_avx_epi32(sums, values, weights)
}

single! { "avx2,fma,avxvnni" single }

wide! { "avx2,fma,avxvnni" ymm_reg [0 p0 a0 b0]
    (wide_2 1 p1 a1 b1) (wide_3 2 p2 a2 b2) (wide_4 3 p3 a3 b3) (wide_5 4 p4 a4 b4)
    (wide_6 5 p5 a5 b5)
}

quad! { "avx2,fma,avxvnni" ymm_reg []
    (quad_1 0 p0 a0 b0) (quad_2 1 p1 a1 b1) (quad_3 2 p2 a2 b2) (quad_4 3 p3 a3 b3) (quad_5 4 p4 a4 b4)
    (quad_6 5 p5 a5 b5)
}
