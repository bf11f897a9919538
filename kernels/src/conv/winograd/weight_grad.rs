//! The weight gradient: `Gᵀ [Σ over tiles of (Bᵀ d B) ⊙ (A dy Aᵀ)] G`.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{CHANNELS, GAP, POINTS, Tiling, transform};
use crate::shape::ConvShape;
use crate::simd::{Scratch, vectorised, with_simd};
use crate::tile::{Ends, Floats, Left, Out, Right, multiply, panels};
use crate::value::Value;

/// Channels of a task, of inputs and of outputs, at most. A task transforms only its own.
const BLOCK: usize = 64;
/// Tasks, at least, if there are tiles and channels enough: blocks of channels times parts of the batch. Fixed, so that the
/// bits do not depend on the number of threads.
const TASKS: usize = 16;
/// Values that all partial gradients together may hold, unless one part needs more.
const MEMORY: usize = 1 << 22;
/// Tiles worked on at a time.
const GROUP: usize = 32;

/// `dweight [O, C, 3, 3]`.
pub(in crate::conv) fn weight_grad<T: Value>(shape: &ConvShape, x: &[T], dy: &[T], dweight: &mut [f32]) {
    let tiling = Tiling::new(shape);
    let (inputs, outputs) = (tiling.input.channels, tiling.output.channels);
    let blocks = blocks(inputs, outputs);
    let whole: usize = blocks.iter().map(Block::len).sum();
    let parts = (TASKS / blocks.len()).min(MEMORY / whole).clamp(1, tiling.tiles.div_ceil(GROUP));
    let mut partial = Scratch::lend(parts * whole);
    let mut tasks = Vec::new();
    for (part, mut memory) in partial.chunks_exact_mut(whole).enumerate() {
        let tiles = part * tiling.tiles / parts..(part + 1) * tiling.tiles / parts;
        for block in &blocks {
            let (u, rest) = memory.split_at_mut(block.len());
            tasks.push(Task { tiling: &tiling, x, dy, block, tiles: tiles.clone(), u });
            memory = rest;
        }
    }
    tasks.into_par_iter().for_each(with_simd);
    let partial = &partial[..];
    dweight.par_chunks_mut(CHANNELS * inputs * 9).enumerate().for_each(|(column, dweight)| {
        let o = column * CHANNELS;
        for block in blocks.iter().filter(|block| block.outputs.contains(&o)) {
            for c in block.inputs.clone() {
                let at = block.at + (c - block.inputs.start) * block.outputs.len() + o - block.outputs.start;
                let mut u = [[0.0; CHANNELS]; POINTS];
                for part in partial.chunks_exact(whole) {
                    for (p, u) in u.iter_mut().enumerate() {
                        let from = &part[at + p * block.point()..][..CHANNELS];
                        u.iter_mut().zip(from).for_each(|(u, from)| *u += from);
                    }
                }
                let g = vectorised(
                    #[inline(always)]
                    || transform::weight_grad(&u),
                );
                for lane in 0..CHANNELS {
                    for (tap, g) in g.iter().enumerate() {
                        dweight[(lane * inputs + c) * 9 + tap] = g[lane];
                    }
                }
            }
        }
    });
}

/// Some input and output channels, and where their gradients at the points lie: `[points, inputs, outputs]`, with a gap
/// behind each point.
struct Block {
    inputs: Range<usize>,
    outputs: Range<usize>,
    at: usize,
}

impl Block {
    /// Values from one point to the next.
    fn point(&self) -> usize {
        self.inputs.len() * self.outputs.len() + GAP
    }

    fn len(&self) -> usize {
        POINTS * self.point()
    }
}

fn blocks(inputs: usize, outputs: usize) -> Vec<Block> {
    let ranges = |channels: usize| (0..channels).step_by(BLOCK).map(move |at| at..(at + BLOCK).min(channels));
    let mut blocks: Vec<Block> = Vec::new();
    for inputs in ranges(inputs) {
        for outputs in ranges(outputs) {
            let at = blocks.last().map_or(0, |block| block.at + block.len());
            blocks.push(Block { inputs: inputs.clone(), outputs, at });
        }
    }
    blocks
}

/// One block over some tiles.
struct Task<'a, T> {
    tiling: &'a Tiling<T>,
    x: &'a [T],
    dy: &'a [T],
    block: &'a Block,
    tiles: Range<usize>,
    u: &'a mut [f32],
}

impl<T: Value> WithSimd for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tiling, x, dy, block, tiles, u } = self;
        let (inputs, outputs) = (block.inputs.len(), block.outputs.len());
        let (from, to) = (GROUP * inputs + GAP, GROUP * outputs + GAP);
        let mut memory = Scratch::lend(POINTS * (from + to));
        let (v, m) = memory.split_at_mut(POINTS * from);
        for start in tiles.clone().step_by(GROUP) {
            let count = GROUP.min(tiles.end - start);
            for i in 0..count {
                transform::input(simd, tiling, x, start + i, block.inputs.clone(), &mut v[i * inputs..], from);
                transform::output_grad(simd, tiling, dy, start + i, block.outputs.clone(), &mut m[i * outputs..], to);
            }
            for p in 0..POINTS {
                let u = &mut u[p * block.point()..];
                for (column, width) in panels::<S>(outputs) {
                    let left = Left { data: &v[p * from..], row: 1, column: inputs, runs: &[0], run: count };
                    let right = Right { data: &m[p * to + column..], row: outputs, width };
                    let out = Out { data: &mut u[column..], row: outputs };
                    multiply(
                        simd,
                        Floats,
                        inputs,
                        left,
                        right,
                        out,
                        Ends { accumulate: start > tiles.start, ..Ends::default() },
                    );
                }
            }
        }
    }
}
