//! Tiles of AVX2: up to 6 pixels by two vectors of 8 channels.
//!
//! Two ways, chosen when a layer is packed. Products of 16 bits added in pairs are exact whatever the weights; their input is
//! widened before. Products of bytes, added in pairs to 16 bits, are quicker by a third, but saturate: they are exact where
//! no pair of weights can reach beyond 16 bits, as weights of 7 bits cannot.

use core::arch::x86_64::*;
use core::ops::Range;

use super::Tiles;
use super::layout::Layout;
use super::winograd;
use super::ymm::finish;
use crate::layer::{ByteConstants, ByteKernel, ByteLayer, Shape};

pub(in crate::level::x86) const KERNEL: ByteKernel = ByteKernel { packed, pack, scratch, run };

static WORDS: Tiles = Tiles {
    layout: Layout { lanes: 8, word: 2, narrow: false },
    wide: words::WIDE,
    narrow: &[],
    quad: words::QUAD,
    finish,
    whole: true,
    widen: Some(widen),
};

static BYTES: Tiles = Tiles {
    layout: Layout { lanes: 8, word: 4, narrow: false },
    wide: bytes::WIDE,
    narrow: &[],
    quad: bytes::QUAD,
    finish,
    whole: true,
    widen: None,
};

/// How a layer is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    Words,
    Bytes,
    Winograd,
}

impl Way {
    /// Where the header says it.
    const AT: usize = 1;

    fn of(shape: &Shape, weights: &[u8]) -> Self {
        if winograd::wanted(shape) && winograd::exact(shape, weights) {
            Self::Winograd
        } else if safe(shape, weights) {
            Self::Bytes
        } else {
            Self::Words
        }
    }
}

fn packed(shape: &Shape) -> usize {
    let most = WORDS.layout.bytes(shape).max(BYTES.layout.bytes(shape));
    if winograd::wanted(shape) { most.max(winograd::packed(shape)) } else { most }
}

fn scratch(shape: &Shape) -> usize {
    let most = WORDS.scratch(shape).max(BYTES.scratch(shape));
    if winograd::wanted(shape) { most.max(winograd::scratch(shape)) } else { most }
}

fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
    let way = Way::of(shape, constants.weights);
    match way {
        Way::Words => WORDS.layout.pack(shape, constants, out),
        Way::Bytes => BYTES.layout.pack(shape, constants, out),
        Way::Winograd => winograd::pack(shape, constants, out),
    }
    out[Way::AT] = way as u8;
}

/// Whether no two products that are added to 16 bits make more than they hold, with inputs of up to 255.
fn safe(shape: &Shape, weights: &[u8]) -> bool {
    let fits = |pair: &[u8]| {
        let sum = |part: fn(i32) -> i32| pair.iter().map(|&weight| part(255 * i32::from(weight as i8))).sum::<i32>();
        sum(|x| x.min(0)) >= i32::from(i16::MIN) && sum(|x| x.max(0)) <= i32::from(i16::MAX)
    };
    weights.chunks_exact(shape.runs().length).all(|run| run.chunks(2).all(fits))
}

/// # Safety
/// As of [`ByteKernel::run`].
unsafe fn run(layer: &ByteLayer<'_>, rows: Range<usize>) {
    const WORDS_AT: u8 = Way::Words as u8;
    const BYTES_AT: u8 = Way::Bytes as u8;
    // SAFETY: the caller's word; `pack` wrote a header.
    unsafe {
        match *layer.packed.add(Way::AT) {
            WORDS_AT => WORDS.run(layer, rows),
            BYTES_AT => BYTES.run(layer, rows),
            _ => winograd::run(layer, rows),
        }
    }
}

/// Bytes as numbers of 16 bits.
///
/// # Safety
/// `count` bytes lie at `from`, and there is room for `count` numbers at `to`, aligned and elsewhere.
#[target_feature(enable = "avx2,fma")]
unsafe fn widen(from: *const u8, to: *mut u16, count: usize) {
    // SAFETY: the caller's word.
    let (from, to) = unsafe { (core::slice::from_raw_parts(from, count), core::slice::from_raw_parts_mut(to, count)) };
    for (to, &from) in to.iter_mut().zip(from) {
        *to = u16::from(from);
    }
}

/// Tiles of a way to multiply.
macro_rules! tiles {
    ($module:ident $dot:path, $(($wide:ident $quad:ident $($tile:tt)*))*) => {
        mod $module {
            use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

            use $dot as dot;

            use super::super::Tile;
            use super::super::layout::{HEAD, QUAD_HEAD};
            use super::super::tile::{quad, wide};
            use super::super::ymm::*;

            /// # Safety
            /// As of [`Tile`]; the CPU has AVX2.
            pub(super) static WIDE: &[unsafe fn(&Tile<'_>)] = &[$($wide),*];
            pub(super) static QUAD: &[unsafe fn(&Tile<'_>)] = &[$($quad),*];

            wide! { "avx2,fma" ymm_reg [] $(($wide $($tile)*))* }
            quad! { "avx2,fma" ymm_reg [] $(($quad $($tile)*))* }
        }
    };
}

tiles! { words super::dot_words,
    (wide_1 quad_1 0 p0 a0 b0) (wide_2 quad_2 1 p1 a1 b1) (wide_3 quad_3 2 p2 a2 b2) (wide_4 quad_4 3 p3 a3 b3)
    (wide_5 quad_5 4 p4 a4 b4) (wide_6 quad_6 5 p5 a5 b5)
}

// A register holds ones, so there are sums for a pixel less.
tiles! { bytes super::dot_bytes,
    (wide_1 quad_1 0 p0 a0 b0) (wide_2 quad_2 1 p1 a1 b1) (wide_3 quad_3 2 p2 a2 b2) (wide_4 quad_4 3 p3 a3 b3)
    (wide_5 quad_5 4 p4 a4 b4)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot_words(sums: __m256i, values: __m256i, weights: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(values, weights))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot_bytes(sums: __m256i, values: __m256i, weights: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(values, weights);
    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}
