//! Dense and grouped convolutions of floats, and linear layers.
//!
//! Packed are the biases, `[groups][vectors][lanes]`, and the weights in panels of some vectors of channels,
//! `[groups][panels][elements of a group's kernel][vectors of the panel][lanes]`.

pub(super) mod ends;
mod tiles;
pub(super) mod vectors;

use core::ops::Range;

use crate::layer::{FloatConstants, FloatFunction, FloatKernel, FloatLayer, Runs, Shape};
use crate::level::scalar;
use crate::level::x86::winograd::{self, Transforms};

pub(super) use tiles::{Job, Spots};
use tiles::{MOST, ROOM, Tile};

/// What differs between the widths of vectors.
#[derive(Debug)]
pub(super) struct Kit {
    /// Floats of a vector.
    pub(super) lanes: usize,
    /// Tiles of one vector and of two.
    pub(super) tiles: [&'static [(usize, Tile)]; 2],
    /// One pixel, 1, 2, 4 or 8 vectors.
    lines: [Tile; 4],
    /// Functions that are no clamps.
    ///
    /// # Safety
    /// As of `ends::wide::end`; the CPU has vectors of `lanes` floats.
    pub(super) end: unsafe fn(&[*mut f32], usize, usize, FloatFunction),
    /// To Winograd's points and from them.
    pub(super) transforms: &'static Transforms,
}

impl Kit {
    /// Pixels of the largest tile.
    pub(super) fn most(&self) -> usize {
        self.tiles[0][0].0.max(self.tiles[1][0].0)
    }
}

static WIDE: Kit = Kit {
    lanes: 16,
    tiles: tiles::wide::TILES,
    lines: tiles::wide::LINES,
    end: ends::wide::end,
    transforms: &winograd::wide::TRANSFORMS,
};

static NARROW: Kit = Kit {
    lanes: 8,
    tiles: tiles::narrow::TILES,
    lines: tiles::narrow::LINES,
    end: ends::narrow::end,
    transforms: &winograd::narrow::TRANSFORMS,
};

/// With AVX-512.
pub(super) const AVX512: FloatKernel = FloatKernel {
    packed: |shape| packed(&WIDE, shape),
    pack: |shape, constants, out| pack(&WIDE, shape, constants, out),
    scratch: |shape| scratch(&WIDE, shape),
    run: run_wide,
    rows_together,
};

/// With AVX2.
pub(super) const AVX2: FloatKernel = FloatKernel {
    packed: |shape| packed(&NARROW, shape),
    pack: |shape, constants, out| pack(&NARROW, shape, constants, out),
    scratch: |shape| scratch(&NARROW, shape),
    run: run_narrow,
    rows_together,
};

/// # Safety
/// As of [`FloatKernel::run`].
unsafe fn run_wide(layer: &FloatLayer<'_>, rows: Range<usize>) {
    // SAFETY: the caller's word.
    unsafe { either(&WIDE, layer, rows) };
}

/// # Safety
/// As of [`FloatKernel::run`].
unsafe fn run_narrow(layer: &FloatLayer<'_>, rows: Range<usize>) {
    // SAFETY: the caller's word.
    unsafe { either(&NARROW, layer, rows) };
}

/// # Safety
/// As of [`FloatKernel::run`]; the CPU has the kit's vectors, and `pack` with this kit wrote the constants.
unsafe fn either(kit: &Kit, layer: &FloatLayer<'_>, rows: Range<usize>) {
    // SAFETY: the caller's word.
    unsafe { if winograd::wanted(layer.shape) { winograd::run(kit, layer, rows) } else { run(kit, layer, rows) } }
}

fn rows_together(shape: &Shape) -> usize {
    if winograd::wanted(shape) { winograd::TILE } else { 1 }
}

fn scratch(kit: &Kit, shape: &Shape) -> usize {
    if winograd::wanted(shape) { winograd::scratch(kit, shape) } else { scalar::none(shape) }
}

/// Vectors of the panel that begins at vector `at` of `vectors`. Of a single pixel as many as sums can be on their way.
fn panel(shape: &Shape, at: usize, vectors: usize) -> usize {
    let most = if shape.size == [1, 1] { 3 } else { 1 };
    1 << (vectors - at).ilog2().min(most)
}

fn packed(kit: &Kit, shape: &Shape) -> usize {
    if winograd::wanted(shape) {
        return winograd::packed(kit, shape);
    }
    let lanes = shape.outputs.next_multiple_of(kit.lanes);
    (4 * shape.groups * lanes * (1 + shape.depth())).next_multiple_of(64)
}

fn pack(kit: &Kit, shape: &Shape, constants: FloatConstants<'_>, out: &mut [u8]) {
    if winograd::wanted(shape) {
        return winograd::pack(kit, shape, constants, out);
    }
    let (lanes, depth) = (kit.lanes, shape.depth());
    let vectors = shape.outputs.div_ceil(lanes);
    let (biases, weights) = out.split_at_mut(4 * shape.groups * vectors * lanes);
    for group in 0..shape.groups {
        let channel = |vector: usize, lane: usize| {
            let channel = vector * lanes + lane;
            (channel < shape.outputs).then_some(group * shape.outputs + channel)
        };
        let biases = biases[4 * group * vectors * lanes..][..4 * vectors * lanes].chunks_exact_mut(4);
        for (at, bias) in biases.enumerate() {
            let channel = channel(at / lanes, at % lanes);
            bias.copy_from_slice(&channel.map_or(0.0, |channel| constants.bias(channel)).to_le_bytes());
        }
        let weights = &mut weights[4 * group * vectors * lanes * depth..][..4 * vectors * lanes * depth];
        let mut start = 0;
        while start < vectors {
            let panel = panel(shape, start, vectors);
            let weights = weights[4 * start * lanes * depth..][..4 * panel * lanes * depth].chunks_exact_mut(4);
            for (at, weight) in weights.enumerate() {
                let (element, vector, lane) = (at / (panel * lanes), start + at / lanes % panel, at % lanes);
                let value = channel(vector, lane).map_or(0.0, |channel| constants.weight(channel, depth, element));
                weight.copy_from_slice(&value.to_le_bytes());
            }
            start += panel;
        }
    }
}

/// A pixel of the output while tiles go over it.
#[derive(Clone, Copy)]
struct Walk {
    y: usize,
    x: usize,
}

/// Rows of the output that panels are gone over with: their input stays in the second cache, with more of it the dearer it is
/// to have `weights` bytes of weights again.
fn slab(shape: &Shape, pixel: usize, weights: usize) -> usize {
    let bytes = if weights > MANY { 640 << 10 } else { 192 << 10 };
    let row = 4 * shape.stride[0] * shape.stride[1] * shape.size[1] * pixel;
    (bytes / row).max(1)
}

/// Bytes of weights that stay in the first cache, so that all panels are computed of a tile's pixels at a time.
const FEW: usize = 24 << 10;

/// Bytes of weights that do not stay in the second cache.
const MANY: usize = 1 << 20;

/// # Safety
/// As of [`FloatKernel::run`]; the CPU has the kit's vectors, and `pack` with this kit wrote the constants.
unsafe fn run(kit: &Kit, layer: &FloatLayer<'_>, rows: Range<usize>) {
    let shape = layer.shape;
    let width = shape.size[1];
    let (lanes, depth) = (kit.lanes, shape.depth());
    let vectors = shape.outputs.div_ceil(lanes);
    let Runs { rows: run_rows, columns, length } = shape.runs();
    let (row, pixel) = (layer.source.row, layer.source.pixel);
    let one = shape.size == [1, 1];
    let most = kit.tiles[panel(shape, 0, vectors).min(2) - 1][0].0;
    let bytes = 4 * vectors * lanes * depth;
    let slab = if shape.groups * vectors <= 2 {
        rows.len() * width
    } else if bytes <= FEW && shape.groups * vectors > 4 {
        most
    } else {
        slab(shape, pixel, bytes) * width
    };

    let mut spare = [0f32; 2 * 16];
    let spare = spare.as_mut_ptr();
    let mut spots = Spots::of(spare);
    let biases = layer.packed.cast::<f32>();
    // SAFETY: `packed` is as large as `pack` wants it.
    let weights = unsafe { biases.add(shape.groups * vectors * lanes) };
    let mut job = Job {
        weights,
        ahead: (weights, 0),
        bias: biases,
        runs: [run_rows, columns],
        first: 0,
        channel: 0,
        steps: [shape.dilation[0] * row, shape.dilation[1] * pixel],
        length,
        last: lanes,
        range: ends::range(layer.tail.function),
        residual: layer.tail.residual.is_some(),
    };

    let mut begin = Walk { y: rows.start, x: 0 };
    let mut pixels = rows.len() * width;
    while pixels > 0 {
        let here = slab.min(pixels);
        let (mut walk, mut all_set) = (begin, false);
        // Each tile asks for its part of the next panel's weights, which come from afar the first time.
        let ahead = (2 * lanes * most).div_ceil(here.max(most));
        for group in 0..shape.groups {
            let mut start = 0;
            while start < vectors {
                let panel = panel(shape, start, vectors);
                let vector = group * vectors + start;
                let stored = (shape.outputs - start * lanes).min(panel * lanes);
                job.first = group * shape.inputs;
                job.channel = group * shape.outputs + start * lanes;
                job.last = stored - (panel - 1) * lanes;
                // SAFETY: packed are all panels.
                unsafe {
                    job.bias = biases.add(vector * lanes);
                    job.weights = weights.add(vector * lanes * depth);
                    job.ahead = (job.weights.add(panel * lanes * depth), ahead);
                }
                // One tile's spots are those of all panels.
                let again = all_set && here <= kit.tiles[panel.min(2) - 1][0].0;
                if !again {
                    walk = begin;
                }
                let mut left = here;
                while left > 0 {
                    let (size, tile) =
                        if one { (1, kit.lines[panel.ilog2() as usize]) } else { chosen(kit.tiles[panel - 1], left) };
                    let count = size.min(left);
                    // SAFETY: the spots are pixels of the output, and those of the input that they are made of.
                    unsafe {
                        if !again {
                            spots.set(layer, &mut walk, count);
                            all_set = count == here;
                        }
                        spots.spare(count, size, spare, job.channel);
                        tile(&job, &spots);
                        if !matches!(layer.tail.function, FloatFunction::Clamp { .. }) {
                            (kit.end)(&spots.outputs[..count], job.channel, stored, layer.tail.function);
                        }
                    }
                    job.ahead.0 = job.ahead.0.wrapping_add(ahead * depth);
                    left -= count;
                }
                start += panel;
            }
        }
        begin = walk;
        pixels -= here;
    }
}

/// The tile for what is `left`: the largest, the two halves of what is more than one of them, the smallest that holds it.
pub(super) fn chosen(tiles: &[(usize, Tile)], left: usize) -> (usize, Tile) {
    let most = tiles[0].0;
    if left >= 2 * most || left == most {
        return tiles[0];
    }
    let wanted = if left > most { left.div_ceil(2) } else { left };
    tiles.iter().rev().copied().find(|tile| tile.0 >= wanted).unwrap_or(tiles[0])
}

/// Puts `count` places that lie `step` apart, and some more, into the spots from `from` on: counting takes longer than writing.
#[inline(always)]
pub(super) fn places(spots: &mut [*mut f32; ROOM], from: usize, count: usize, first: *mut f32, step: usize) {
    let spots = &mut spots[from..][..MOST];
    if count <= 6 {
        for (i, spot) in spots[..6].iter_mut().enumerate() {
            *spot = first.wrapping_add(i * step);
        }
    } else {
        for (i, spot) in spots.iter_mut().enumerate() {
            *spot = first.wrapping_add(i * step);
        }
    }
}

impl Spots {
    /// All at one place.
    pub(super) fn of(place: *mut f32) -> Self {
        Self { inputs: [place; ROOM], outputs: [place; ROOM], others: [place; ROOM] }
    }

    /// Puts `count` pixels from `walk` on into the first spots.
    ///
    /// # Safety
    /// The pixels are within the output.
    #[inline(always)]
    unsafe fn set(&mut self, layer: &FloatLayer<'_>, walk: &mut Walk, count: usize) {
        let (width, stride) = (layer.shape.size[1], layer.shape.stride);
        let mut at = 0;
        while at < count {
            let here = (width - walk.x).min(count - at);
            // SAFETY: `walk` is a pixel of the output.
            unsafe {
                let input = layer.source.pixel(walk.y * stride[0], walk.x * stride[1]);
                places(&mut self.inputs, at, here, input.cast_mut(), stride[1] * layer.source.pixel);
                places(&mut self.outputs, at, here, layer.target.pixel(walk.y, walk.x), layer.target.pixel);
                if let Some(other) = &layer.tail.residual {
                    places(&mut self.others, at, here, other.pixel(walk.y, walk.x).cast_mut(), other.pixel);
                }
            }
            at += here;
            walk.x += here;
            if walk.x == width {
                *walk = Walk { y: walk.y + 1, x: 0 };
            }
        }
    }

    /// Lets the spots from `count` to `size` read what the one before them reads, and write nothing of use.
    #[inline(always)]
    fn spare(&mut self, count: usize, size: usize, spare: *mut f32, channel: usize) {
        for at in count..size {
            self.inputs[at] = self.inputs[count - 1];
            self.outputs[at] = spare.wrapping_sub(channel);
            self.others[at] = spare.wrapping_sub(channel);
        }
    }
}
