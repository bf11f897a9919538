//! The weight gradient: `Gᵀ [Σ over tiles of (Bᵀ d B) ⊙ (A dy Aᵀ)] G`.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{CHANNELS, GAP, POINTS, Tiling, transform};
use crate::shape::ConvShape;
use crate::simd::{Scratch, vectorised, with_simd};
use crate::tile::{Ends, Left, Out, Right, multiply, panels};

/// Input channels of one task at most. Tasks of other channels repeat only the transform of `dy`.
const BLOCK: usize = 64;
/// Tasks, at least, if there are tiles and channels enough: blocks of channels times parts of the batch. Fixed, so that the
/// bits do not depend on the number of threads.
const TASKS: usize = 16;
/// Values that all partial gradients together may hold, unless one part needs more.
const MEMORY: usize = 1 << 22;
/// Values at all points of the tiles that are worked on at a time.
const GROUP: usize = 1 << 17;
const GROUP_TILES: usize = 32;

/// `dweight [O, C, 3, 3]`.
pub(in crate::conv) fn weight_grad(shape: &ConvShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let tiling = Tiling::new(shape);
    let (inputs, outputs) = (tiling.input.channels, tiling.output.channels);
    let blocks: Vec<Range<usize>> =
        (0..inputs).step_by(BLOCK).map(|start| start..(start + BLOCK).min(inputs)).collect();
    let group = (GROUP / (POINTS * (BLOCK.min(inputs) + outputs))).max(GROUP_TILES);
    let whole = POINTS * inputs * outputs;
    let parts = (TASKS / blocks.len()).min(MEMORY / whole).clamp(1, tiling.tiles.div_ceil(group));
    let mut partial = vec![0.0; parts * whole];
    let mut tasks = Vec::new();
    for (part, mut memory) in partial.chunks_exact_mut(whole).enumerate() {
        let tiles = part * tiling.tiles / parts..(part + 1) * tiling.tiles / parts;
        for channels in &blocks {
            let (u, rest) = memory.split_at_mut(POINTS * channels.len() * outputs);
            tasks.push(Task { tiling: &tiling, x, dy, channels: channels.clone(), tiles: tiles.clone(), group, u });
            memory = rest;
        }
    }
    tasks.into_par_iter().for_each(|task| with_simd(task));
    dweight.par_chunks_mut(CHANNELS * inputs * 9).enumerate().for_each(|(block, dweight)| {
        for c in 0..inputs {
            let channels = &blocks[c / BLOCK];
            let at = POINTS * channels.start * outputs + (c - channels.start) * outputs + block * CHANNELS;
            let mut u = [[0.0; CHANNELS]; POINTS];
            for part in partial.chunks_exact(whole) {
                for (p, u) in u.iter_mut().enumerate() {
                    let from = &part[at + p * channels.len() * outputs..][..CHANNELS];
                    u.iter_mut().zip(from).for_each(|(u, from)| *u += from);
                }
            }
            let g = vectorised(|| transform::weight_grad(&u));
            for (tap, g) in g.iter().enumerate() {
                for (lane, g) in g.iter().enumerate() {
                    dweight[(lane * inputs + c) * 9 + tap] = *g;
                }
            }
        }
    });
}

/// Some input channels over some tiles.
struct Task<'a> {
    tiling: &'a Tiling,
    x: &'a [f32],
    dy: &'a [f32],
    channels: Range<usize>,
    tiles: Range<usize>,
    /// Tiles worked on at a time.
    group: usize,
    /// `[points, channels, O]`, zeros at first.
    u: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tiling, x, dy, channels, tiles, group, u } = self;
        let (inputs, outputs) = (channels.len(), tiling.output.channels);
        let (from, to) = (group * inputs + GAP, group * outputs + GAP);
        let mut memory = Scratch::lend(POINTS * (from + to));
        let (v, m) = memory.split_at_mut(POINTS * from);
        for start in tiles.clone().step_by(group) {
            let count = group.min(tiles.end - start);
            for i in 0..count {
                transform::input(simd, tiling, x, start + i, channels.clone(), &mut v[i * inputs..], from);
                transform::output_grad(simd, tiling, dy, start + i, &mut m[i * outputs..], to);
            }
            for p in 0..POINTS {
                let u = &mut u[p * inputs * outputs..][..inputs * outputs];
                for (column, width) in panels::<S>(outputs) {
                    let left = Left { data: &v[p * from..], row: 1, column: inputs, runs: &[0], run: count };
                    let right = Right { data: &m[p * to + column..], row: outputs, width };
                    let out = Out { data: &mut u[column..], row: outputs };
                    multiply(simd, inputs, left, right, out, Ends { accumulate: true, ..Ends::default() });
                }
            }
        }
    }
}
