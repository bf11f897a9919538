//! Convolutions with a channel each: how constants lie, and in what order a layer is computed.
//!
//! Packed are, for each block of 8 channels, biases, of bytes multipliers, and weights, `[steps][columns][channels][rows]`: a
//! step down the kernel is one row, or four whose taps are multiplied together. A tile computes some pixels of a row, block
//! after block.

pub(super) mod bytes;
pub(super) mod dotprod;
pub(super) mod floats;
mod tiles;

use core::ops::Range;

use crate::layer::{Shape, Source, Target};

/// Channels of a block.
const BLOCK: usize = 8;

/// Columns of the input that the widest tile of a kernel reads.
const COLUMNS: usize = 11;

/// Most steps of four rows.
const STEPS: usize = 4;

/// Tiles of a kernel, the largest first.
struct Tiles<E> {
    /// Pixels of each: steps of two pixels read little twice, and larger tiles would have more columns than registers.
    sizes: [usize; 3],
    functions: [Tile<E>; 3],
}

/// What a tile computes, block after block of channels. Distances are in bytes.
struct Job<'a, E> {
    /// The first block's constants.
    constants: *const u8,
    /// Steps down and columns of the kernel.
    kernel: [usize; 2],
    /// From a tap to the one a step down and to the one right of it.
    steps: [usize; 2],
    /// Multiples of the latter: as numbers that the compiler knows nothing of they become addresses without additions.
    columns: [usize; COLUMNS],
    /// Of each step of four rows, from its first row to the others; those behind the kernel's last are its last.
    rows: [[usize; 3]; STEPS],
    /// From the input of a pixel to that of the next.
    stride: usize,
    /// From a pixel of the output to the next.
    pixel: usize,
    blocks: usize,
    /// Channels of the last block.
    last: usize,
    /// What becomes of sums.
    ends: &'a E,
}

/// Computes a tile of the first pixel's input and output.
///
/// # Safety
/// All that the job reads and writes is there, of inputs whole blocks; the CPU has what the kit uses.
type Tile<E> = unsafe fn(&Job<'_, E>, *const u8, *mut u8);

/// A kind of number, with its tiles.
struct Kit<E: 'static> {
    /// Bytes of an input.
    element: usize,
    /// Rows of a step down the kernel: 1 or 4.
    rows: usize,
    /// Bytes of a block's weights of a column of such a step.
    weight: usize,
    /// Bytes that a block begins with.
    head: usize,
    /// Of kernels with 3 columns, side by side, and strides of 1 and 2.
    three: [Tiles<E>; 2],
    /// Of kernels with 5 columns.
    five: [Tiles<E>; 2],
    /// Of any kernel.
    any: Tiles<E>,
}

impl<E> Kit<E> {
    /// Columns of all steps.
    fn columns(&self, shape: &Shape) -> usize {
        shape.kernel[0].div_ceil(self.rows) * shape.kernel[1]
    }

    /// Bytes of a block's constants.
    fn block(&self, shape: &Shape) -> usize {
        self.head + self.weight * self.columns(shape)
    }

    fn packed(&self, shape: &Shape) -> usize {
        (shape.channels().div_ceil(BLOCK) * self.block(shape)).next_multiple_of(64)
    }

    /// Lays out what `run` wants: `heads` and the weights of each column of a channel.
    fn pack<const HEADS: usize, const BYTES: usize>(
        &self,
        shape: &Shape,
        heads: impl Fn(usize) -> [[u8; 4]; HEADS],
        weight: impl Fn(usize, usize) -> [u8; BYTES],
        out: &mut [u8],
    ) {
        out.fill(0);
        for channel in 0..shape.channels() {
            let (block, at) = (&mut out[channel / BLOCK * self.block(shape)..], channel % BLOCK);
            for (number, head) in heads(channel).iter().enumerate() {
                block[4 * (number * BLOCK + at)..][..4].copy_from_slice(head);
            }
            for column in 0..self.columns(shape) {
                block[self.head + BYTES * (column * BLOCK + at)..][..BYTES].copy_from_slice(&weight(channel, column));
            }
        }
    }

    /// Channels that tiles go down the rows of an image with, in blocks: what they read of a kernel's rows stays in a part of
    /// the first cache.
    fn together(&self, shape: &Shape, pixels: usize) -> usize {
        const BYTES: usize = 12 << 10;
        let columns = (pixels - 1) * shape.stride[1] + shape.kernel[1];
        (BYTES / (self.element * shape.kernel[0] * columns * BLOCK)).max(8)
    }

    /// Computes rows of a layer whose images' rows and pixels are in bytes.
    ///
    /// # Safety
    /// The CPU has what the kit uses; the layer is as `layer.rs` says, `packed` by `pack`.
    unsafe fn run(
        &self,
        shape: &Shape,
        (source, target): (Source<u8>, Target<u8>),
        packed: *const u8,
        ends: &E,
        rows: Range<usize>,
    ) {
        let side_by_side = shape.dilation[1] == 1;
        let Tiles { sizes, functions } = match (shape.kernel[1], shape.stride[1]) {
            (3, stride @ (1 | 2)) if side_by_side => &self.three[stride - 1],
            (5, stride @ (1 | 2)) if side_by_side => &self.five[stride - 1],
            _ => &self.any,
        };
        let row = shape.dilation[0] * source.row;
        let mut rows_of_steps = [[0; 3]; STEPS];
        if self.rows > 1 {
            for (step, rows) in rows_of_steps.iter_mut().enumerate() {
                let first = step * self.rows;
                *rows = [1, 2, 3].map(|at| row * (first + at).min(shape.kernel[0] - 1).saturating_sub(first));
            }
        }
        let blocks = shape.channels().div_ceil(BLOCK);
        let together = self.together(shape, sizes[0]);
        for first in (0..blocks).step_by(together) {
            let here = (blocks - first).min(together);
            let job = Job {
                // SAFETY: packed are all blocks.
                constants: unsafe { packed.add(first * self.block(shape)) },
                kernel: [shape.kernel[0].div_ceil(self.rows), shape.kernel[1]],
                steps: [self.rows * row, shape.dilation[1] * source.pixel],
                columns: core::array::from_fn(|column| column * shape.dilation[1] * source.pixel),
                rows: rows_of_steps,
                stride: shape.stride[1] * source.pixel,
                pixel: target.pixel,
                blocks: here,
                last: (shape.channels() - (first + here - 1) * BLOCK).min(BLOCK),
                ends,
            };
            let channel = first * BLOCK * self.element;
            let mut x = 0;
            while x < shape.size[1] {
                let left = shape.size[1] - x;
                let size = sizes.iter().position(|&size| size <= left).unwrap_or(sizes.len() - 1);
                for y in rows.clone() {
                    // SAFETY: these are pixels of the output, and those of the input that they are made of.
                    unsafe {
                        let input = source.pixel(y * shape.stride[0], x * shape.stride[1]).add(channel);
                        functions[size](&job, input, target.pixel(y, x).add(channel));
                    }
                }
                x += sizes[size];
            }
        }
    }
}
