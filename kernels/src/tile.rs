//! The one register-blocked product below every convolution and linear layer.
//!
//! `out[i, j] = Σ_r Σ_k left[i * row + runs[r] + k * column] · right[r * run + k, j]`
//!
//! The left operand is read one value at a time and spread over a vector, so it may lie in any order: pixels of an image
//! (`row` is the step from pixel to pixel, a run the channels under some taps), rows of a matrix, or columns of one. The
//! right operand is a panel of at most [`PANEL`] vectors, read vector by vector.
//!
//! Operands are words of 32 bits. [`Floats`] multiplies them as they are; for [`Pairs`](crate::pairs::Pairs) each is two
//! `bf16` that are neighbours in the sum, and one instruction adds both products in `f32`.
#![allow(unsafe_code)] // loads and stores through pointers; `multiply` checks every extent against its slice first

use pulp::{Simd, WithSimd};

use crate::activation::Activation;
use crate::simd::with_simd;
use crate::value::{Part, Value};

/// Vectors of a panel at most.
const PANEL: usize = 4;

/// Where the values of the left operand lie.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) data: &'a [f32],
    /// Step from one row of the product to the next.
    pub(crate) row: usize,
    /// Step from one value of a run to the next.
    pub(crate) column: usize,
    /// Where each run begins.
    pub(crate) runs: &'a [usize],
    /// Values of a run.
    pub(crate) run: usize,
}

/// Some columns of the right operand.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) data: &'a [f32],
    /// Step from one row to the next. A slice that reaches to the end of the last row's last vector is read faster.
    pub(crate) row: usize,
    /// Columns.
    pub(crate) width: usize,
}

/// What is there of the last vector of a panel's rows.
mod columns {
    /// Everything.
    pub(super) const FULL: u8 = 0;
    /// Everything in the right operand, not in the others.
    pub(super) const PADDED: u8 = 1;
    /// Not everything.
    pub(super) const PART: u8 = 2;
}

/// How the words of both operands are multiplied and summed.
pub(crate) trait Multiply: Copy + Sync {
    /// Values in a word.
    const VALUES: usize;

    /// The word of `value(0)` and so on.
    fn word(self, value: impl Fn(usize) -> f32) -> f32;

    /// `sum + a b`, lane by lane.
    fn add<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s, sum: S::f32s) -> S::f32s;

    /// Runs `work` compiled for the instructions that [`Multiply::add`] needs.
    fn vectorise<S: Simd>(self, simd: S, work: impl WithSimd<Output = ()>);
}

/// Words are `f32`.
#[derive(Clone, Copy)]
pub(crate) struct Floats;

impl Multiply for Floats {
    const VALUES: usize = 1;

    #[inline(always)]
    fn word(self, value: impl Fn(usize) -> f32) -> f32 {
        value(0)
    }

    #[inline(always)]
    fn add<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s, sum: S::f32s) -> S::f32s {
        simd.mul_add_f32s(a, b, sum)
    }

    #[inline(always)]
    fn vectorise<S: Simd>(self, simd: S, work: impl WithSimd<Output = ()>) {
        simd.vectorize(work);
    }
}

/// Where the product goes.
pub(crate) struct Out<'a, T> {
    pub(crate) data: &'a mut [T],
    /// Step from one row to the next.
    pub(crate) row: usize,
}

/// What the sums start from and what happens to them at the end.
#[derive(Clone, Copy)]
pub(crate) struct Ends<'a, T> {
    /// Whether the product is added to what `out` holds.
    pub(crate) accumulate: bool,
    /// One value a column.
    pub(crate) bias: Option<&'a [f32]>,
    /// Added before the activation; laid out as `out`.
    pub(crate) residual: Option<&'a [T]>,
    pub(crate) activation: Option<Activation>,
}

impl<T> Default for Ends<'_, T> {
    fn default() -> Self {
        Self { accumulate: false, bias: None, residual: None, activation: None }
    }
}

/// The widths of the panels that `columns` are cut into, widest first.
pub(crate) fn panels<S: Simd>(columns: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let vectors = (columns - at).div_ceil(S::F32_LANES);
        let vectors = match vectors {
            0 => return None,
            1 => 1,
            4.. if S::REGISTER_COUNT >= 32 => PANEL,
            _ => 2,
        };
        let width = (vectors * S::F32_LANES).min(columns - at);
        at += width;
        Some((at - width, width))
    })
}

/// First column and width of every panel that this machine cuts `columns` into.
pub(crate) fn panel_list(columns: usize) -> Vec<(usize, usize)> {
    struct List(usize);
    impl WithSimd for List {
        type Output = Vec<(usize, usize)>;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> Self::Output {
            panels::<S>(self.0).collect()
        }
    }
    with_simd(List(columns))
}

/// Computes `rows` rows of one panel. The panel must be one of [`panels`].
///
/// # Panics
/// If an operand does not fit its slice.
#[inline(always)]
pub(crate) fn multiply<S: Simd, M: Multiply, T: Value>(
    simd: S,
    words: M,
    rows: usize,
    left: Left<'_>,
    right: Right<'_>,
    out: Out<'_, T>,
    ends: Ends<'_, T>,
) {
    // A function of its own, so that the tiles are compiled once a SIMD level and not at every call.
    words.vectorise(simd, Product { words, rows, left, right, out, ends });
}

struct Product<'a, M, T> {
    words: M,
    rows: usize,
    left: Left<'a>,
    right: Right<'a>,
    out: Out<'a, T>,
    ends: Ends<'a, T>,
}

impl<M: Multiply, T: Value> WithSimd for Product<'_, M, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { words, rows, left, right, out, ends } = self;
        if rows == 0 {
            return;
        }
        check(rows, &left, &right, &out, &ends);
        let vectors = right.width.div_ceil(S::F32_LANES);
        let inner = left.runs.len() * left.run;
        let there = if right.width.is_multiple_of(S::F32_LANES) {
            columns::FULL
        } else if inner.saturating_sub(1) * right.row + vectors * S::F32_LANES <= right.data.len() {
            columns::PADDED
        } else {
            columns::PART
        };
        let mut tile = Tile {
            words,
            left: left.data.as_ptr(),
            out: out.data.as_mut_ptr(),
            residual: ends.residual.map(<[T]>::as_ptr),
            operands: (left, right, out.row),
            ends,
            last: Part::new(simd, right.width - (vectors - 1) * S::F32_LANES),
        };
        let mut rest = rows;
        while rest > 0 {
            // SAFETY: `check` proved all extents for `rows` rows, and the tiles cover these rows once.
            let done = unsafe {
                match there {
                    columns::FULL => some_rows::<S, M, T, { columns::FULL }>(simd, &tile, vectors, rest),
                    columns::PADDED => some_rows::<S, M, T, { columns::PADDED }>(simd, &tile, vectors, rest),
                    _ => some_rows::<S, M, T, { columns::PART }>(simd, &tile, vectors, rest),
                }
            };
            tile.left = tile.left.wrapping_add(done * left.row);
            tile.out = tile.out.wrapping_add(done * out.row);
            tile.residual = tile.residual.map(|residual| residual.wrapping_add(done * out.row));
            rest -= done;
        }
    }
}

fn check<T>(rows: usize, left: &Left<'_>, right: &Right<'_>, out: &Out<'_, T>, ends: &Ends<'_, T>) {
    let furthest = left.runs.iter().max();
    let inner = left.runs.len() * left.run;
    assert!(right.width > 0 && out.row >= right.width, "a panel of {} columns, rows {} apart", right.width, out.row);
    assert!((rows - 1) * out.row + right.width <= out.data.len(), "the product leaves its slice");
    assert!(ends.bias.is_none_or(|bias| bias.len() >= right.width), "a bias of another width");
    assert!(
        ends.residual.is_none_or(|residual| (rows - 1) * out.row + right.width <= residual.len()),
        "the residual leaves its slice"
    );
    if let (Some(furthest), true) = (furthest, inner > 0) {
        let last = (rows - 1) * left.row + furthest + (left.run - 1) * left.column;
        assert!(last < left.data.len(), "the left operand leaves its slice");
        assert!((inner - 1) * right.row + right.width <= right.data.len(), "the right operand leaves its slice");
    }
}

/// Some rows of a product, checked.
struct Tile<'a, S: Simd, M, T> {
    words: M,
    left: *const f32,
    out: *mut T,
    residual: Option<*const T>,
    operands: (Left<'a>, Right<'a>, usize),
    ends: Ends<'a, T>,
    /// The columns of the last vector that are there.
    last: Part<S>,
}

// Tile heights: as many sums as registers allow, and enough of them to hide the latency of an addition.

/// The rows of the next tile, such that all tiles are about equally tall.
#[inline(always)]
fn height(rows: usize, tallest: usize) -> usize {
    rows.div_ceil(rows.div_ceil(tallest))
}

/// # Safety
/// As [`compute`].
#[inline(always)]
unsafe fn some_rows<S: Simd, M: Multiply, T: Value, const THERE: u8>(
    simd: S,
    tile: &Tile<'_, S, M, T>,
    vectors: usize,
    rows: usize,
) -> usize {
    // SAFETY: passed on from the caller.
    unsafe {
        match vectors {
            1 => narrow::<S, M, T, THERE>(simd, tile, rows),
            2 => middle::<S, M, T, THERE>(simd, tile, rows),
            _ => wide::<S, M, T, THERE>(simd, tile, rows),
        }
    }
}

/// # Safety
/// As [`compute`].
#[inline(always)]
unsafe fn wide<S: Simd, M: Multiply, T: Value, const THERE: u8>(
    simd: S,
    tile: &Tile<'_, S, M, T>,
    rows: usize,
) -> usize {
    // SAFETY: passed on from the caller.
    unsafe {
        match height(rows, 6) {
            1 => compute::<S, M, T, 1, 4, THERE>(simd, tile),
            2 => compute::<S, M, T, 2, 4, THERE>(simd, tile),
            3 => compute::<S, M, T, 3, 4, THERE>(simd, tile),
            4 => compute::<S, M, T, 4, 4, THERE>(simd, tile),
            5 => compute::<S, M, T, 5, 4, THERE>(simd, tile),
            _ => compute::<S, M, T, 6, 4, THERE>(simd, tile),
        }
    }
}

/// # Safety
/// As [`compute`].
#[inline(always)]
unsafe fn middle<S: Simd, M: Multiply, T: Value, const THERE: u8>(
    simd: S,
    tile: &Tile<'_, S, M, T>,
    rows: usize,
) -> usize {
    // SAFETY: passed on from the caller.
    unsafe {
        match height(rows, if S::REGISTER_COUNT >= 32 { 8 } else { 6 }) {
            1 => compute::<S, M, T, 1, 2, THERE>(simd, tile),
            2 => compute::<S, M, T, 2, 2, THERE>(simd, tile),
            3 => compute::<S, M, T, 3, 2, THERE>(simd, tile),
            4 | 5 => compute::<S, M, T, 4, 2, THERE>(simd, tile),
            6 | 7 => compute::<S, M, T, 6, 2, THERE>(simd, tile),
            _ => compute::<S, M, T, 8, 2, THERE>(simd, tile),
        }
    }
}

/// # Safety
/// As [`compute`].
#[inline(always)]
unsafe fn narrow<S: Simd, M: Multiply, T: Value, const THERE: u8>(
    simd: S,
    tile: &Tile<'_, S, M, T>,
    rows: usize,
) -> usize {
    // SAFETY: passed on from the caller.
    unsafe {
        match rows {
            1 => compute::<S, M, T, 1, 1, THERE>(simd, tile),
            2 | 3 => compute::<S, M, T, 2, 1, THERE>(simd, tile),
            4..8 => compute::<S, M, T, 4, 1, THERE>(simd, tile),
            _ => compute::<S, M, T, 8, 1, THERE>(simd, tile),
        }
    }
}

/// Computes `ROWS` rows of `VECTORS` vectors and returns `ROWS`. `THERE` says what the last vector holds.
///
/// # Safety
/// The operands of `tile` must hold `ROWS` rows, as [`check`] asks.
#[inline(always)]
unsafe fn compute<S: Simd, M: Multiply, T: Value, const ROWS: usize, const VECTORS: usize, const THERE: u8>(
    simd: S,
    tile: &Tile<'_, S, M, T>,
) -> usize {
    let (left, right, out_row) = tile.operands;
    let lanes = S::F32_LANES;
    let masked = |vector: usize| THERE != columns::FULL && vector + 1 == VECTORS;
    // SAFETY: all pointers below stay inside of what `check` proved: row `i < ROWS`, run and column of the left operand,
    // and of each vector of `right`, `out`, `bias` and `residual` only the columns below `width` (`last` masks the rest).
    unsafe {
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        if tile.ends.accumulate {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = load(simd, tile, masked(j), tile.out.add(i * out_row + j * lanes));
                }
            }
        }
        let mut right_at = right.data.as_ptr();
        for run in left.runs {
            let mut left_at = tile.left.add(*run);
            for _ in 0..left.run {
                let mut columns = [simd.splat_f32s(0.0); VECTORS];
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = if THERE == columns::PADDED {
                        right_at.add(j * lanes).cast::<S::f32s>().read_unaligned()
                    } else {
                        load(simd, tile, masked(j), right_at.add(j * lanes))
                    };
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let value = simd.splat_f32s(left_at.add(i * left.row).read());
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = tile.words.add(simd, value, column, *sum);
                    }
                }
                left_at = left_at.wrapping_add(left.column);
                right_at = right_at.wrapping_add(right.row);
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, mut sum) in sums.into_iter().enumerate() {
                if let Some(bias) = tile.ends.bias {
                    sum = simd.add_f32s(sum, load(simd, tile, masked(j), bias.as_ptr().add(j * lanes)));
                }
                if let Some(residual) = tile.residual {
                    sum = simd.add_f32s(sum, load(simd, tile, masked(j), residual.add(i * out_row + j * lanes)));
                }
                let sum = activated(simd, tile.ends.activation, sum);
                let to = tile.out.add(i * out_row + j * lanes);
                if masked(j) {
                    T::store_part(simd, to, sum, tile.last);
                } else {
                    T::store(simd, to, sum);
                }
            }
        }
    }
    ROWS
}

/// A vector, or what is there of the last one.
///
/// # Safety
/// It must be there.
#[inline(always)]
unsafe fn load<S: Simd, M, T, V: Value>(simd: S, tile: &Tile<'_, S, M, T>, masked: bool, at: *const V) -> S::f32s {
    // SAFETY: passed on from the caller.
    unsafe { if masked { V::load_part(simd, at, tile.last) } else { V::load(simd, at) } }
}

/// [`Activation::apply`] on a vector; NaN stays NaN.
#[inline(always)]
pub(crate) fn activated<S: Simd>(simd: S, activation: Option<Activation>, x: S::f32s) -> S::f32s {
    let Some(activation) = activation else { return x };
    let zero = simd.splat_f32s(0.0);
    let x = simd.select_f32s(simd.less_than_or_equal_f32s(x, zero), zero, x);
    match activation {
        Activation::Relu => x,
        Activation::Relu6 => {
            let six = simd.splat_f32s(6.0);
            simd.select_f32s(simd.greater_than_or_equal_f32s(x, six), six, x)
        }
    }
}
