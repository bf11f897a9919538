//! Dense and grouped convolutions, and linear layers: how constants lie, and in what order a layer is computed. What a kind of
//! number has of its own are its tiles.
//!
//! A tile computes some pixels by a panel of channels. Its pixels follow each other in the order of rows, so that a narrow
//! image has rows of several lengths in one tile; each has pointers of its own. A kernel's runs are read 16 bytes of a pixel
//! at a time.
//!
//! Packed are a header of [`HEADER`] bytes, then group by group panel by panel. A panel begins with its channels' biases and,
//! of bytes, multipliers; run by run, the weights of [`Kit::group`] bytes of a run follow, channel by channel.

pub(super) mod dotprod;
pub(super) mod floats;
pub(super) mod neon;
mod tiles;

use core::ops::Range;

use crate::layer::{Runs, Shape, Source, Target};

/// Its first byte belongs to the kind.
const HEADER: usize = 64;

/// Most pixels whose places are known at a time.
const PIXELS: usize = 512;

/// Where a pixel's numbers lie, at a group's first channel.
#[derive(Clone, Copy)]
struct Place {
    source: *const u8,
    target: *mut u8,
}

/// What a tile is asked to compute.
///
/// Tiles count on this: there are as many places as the tile has pixels; behind each source, all runs may be read to the end
/// of the 16 bytes that they end in, and each target has the panel's channels, that are stored. The panel is one that the
/// kit's `pack` wrote.
struct Tile<'a, E> {
    places: *const Place,
    panel: *const u8,
    /// Rows and columns of runs, and bytes from each to the next.
    runs: [usize; 2],
    steps: [usize; 2],
    /// Whole steps of 16 bytes of a run, and words of the rest.
    whole: usize,
    rest: usize,
    /// Bytes from a pixel's target to the panel's.
    channel: usize,
    /// Channels of the panel.
    channels: usize,
    /// What becomes of sums.
    ends: &'a E,
}

/// # Safety
/// As of [`Tile`]; the CPU has what the kit uses.
type Function<E> = unsafe fn(&Tile<'_, E>);

/// A kind of number, with its tiles.
struct Kit<E: 'static> {
    /// Bytes of an input or a weight.
    element: usize,
    /// Channels of a wide panel and of a narrow one, which may be the last of a group.
    panels: [usize; 2],
    /// Bytes that a panel begins with, a channel.
    head: usize,
    /// Bytes of a run whose weights lie together, a channel: 4 or 16.
    group: usize,
    /// Runs are filled up with zeros to multiples of so many bytes: 4 or 8.
    word: usize,
    /// Tiles of wide and of narrow panels, the `n`-th for `n + 1` pixels.
    tiles: [&'static [Function<E>]; 2],
    /// The same for layers of one pixel.
    lines: [Function<E>; 2],
}

/// A panel of a group.
struct Panel {
    /// 0 for a wide one, 1 for a narrow one.
    kind: usize,
    /// First of its channels in the group.
    channel: usize,
    /// How many there are; it has room for `width`.
    channels: usize,
    width: usize,
    bytes: usize,
}

impl<E> Kit<E> {
    /// Bytes of a run's weights, a channel.
    fn run_bytes(&self, shape: &Shape) -> usize {
        (shape.runs().length * self.element).next_multiple_of(self.word)
    }

    /// A group's panels.
    fn panels(&self, shape: &Shape) -> impl Iterator<Item = Panel> {
        let Runs { rows, columns, .. } = shape.runs();
        let each = self.head + rows * columns * self.run_bytes(shape);
        let (outputs, [wide, narrow]) = (shape.outputs, self.panels);
        (0..outputs).step_by(wide).map(move |channel| {
            let channels = (outputs - channel).min(wide);
            let (kind, width) = if channels <= narrow { (1, narrow) } else { (0, wide) };
            Panel { kind, channel, channels, width, bytes: width * each }
        })
    }

    fn packed(&self, shape: &Shape) -> usize {
        let group: usize = self.panels(shape).map(|panel| panel.bytes).sum();
        (HEADER + shape.groups * group).next_multiple_of(64)
    }

    /// Lays out what `run` wants: `heads` of a channel, and the weights as they are, `[channels][runs][bytes]`.
    fn pack<const HEADS: usize>(
        &self,
        shape: &Shape,
        heads: impl Fn(usize) -> [[u8; 4]; HEADS],
        weights: &[u8],
        out: &mut [u8],
    ) {
        out.fill(0);
        let (depth, length) = (shape.depth() * self.element, shape.runs().length * self.element);
        let run_bytes = self.run_bytes(shape);
        let mut rest = &mut out[HEADER..];
        for group in 0..shape.groups {
            for Panel { channel: first, channels, width, bytes, .. } in self.panels(shape) {
                let (panel, behind) = rest.split_at_mut(bytes);
                rest = behind;
                for at in 0..channels {
                    let channel = group * shape.outputs + first + at;
                    for (number, head) in heads(channel).iter().enumerate() {
                        panel[4 * (number * width + at)..][..4].copy_from_slice(head);
                    }
                    let weights = &weights[channel * depth..][..depth];
                    for (run, weights) in weights.chunks_exact(length).enumerate() {
                        let run = width * (self.head + run * run_bytes);
                        for (number, weights) in weights.chunks(self.group).enumerate() {
                            let start = number * self.group;
                            let group = self.group.min(run_bytes - start);
                            panel[run + width * start + group * at..][..weights.len()].copy_from_slice(weights);
                        }
                    }
                }
            }
        }
    }

    fn scratch(&self, _: &Shape) -> usize {
        size_of::<Place>() * PIXELS
    }

    /// Pixels that all panels work on before the next ones: their input and output stay in the first cache where the panels
    /// come from the second, else in the second so that panels come from afar only once for many pixels.
    fn slab(&self, shape: &Shape) -> usize {
        let fresh = shape.stride[0].min(shape.kernel[0]) * shape.stride[1].min(shape.kernel[1]);
        let pixel = self.element * shape.groups * (shape.inputs * fresh + shape.outputs);
        let cache = if self.packed(shape) <= 256 << 10 { 16 << 10 } else { 128 << 10 };
        (cache / pixel).clamp(4 * self.tiles[0].len(), PIXELS)
    }

    /// Computes rows of a layer whose images' rows and pixels are in bytes; `after` is called with row, column and count of
    /// pixels of a row whose channels are all stored.
    ///
    /// # Safety
    /// The CPU has what the kit uses; the layer is as `layer.rs` says, `packed` by `pack`, with `scratch`.
    unsafe fn run(
        &self,
        shape: &Shape,
        images: (Source<u8>, Target<u8>),
        (packed, scratch): (*const u8, *mut u8),
        ends: &E,
        rows: Range<usize>,
        after: impl Fn(usize, usize, usize),
    ) {
        let width = shape.size[1];
        let Runs { rows: run_rows, columns, .. } = shape.runs();
        let bytes = self.run_bytes(shape);
        let places = scratch.cast::<Place>();
        let mut tile = Tile {
            places: places.cast_const(),
            panel: packed,
            runs: [run_rows, columns],
            steps: [shape.dilation[0] * images.0.row, shape.dilation[1] * images.0.pixel],
            whole: bytes / 16,
            rest: bytes % 16 / self.word,
            channel: 0,
            channels: 0,
            ends,
        };
        let (slab, one) = (self.slab(shape), shape.size == [1, 1]);
        let (mut y, mut x) = (rows.start, 0);
        while y < rows.end {
            let mut count = slab.min((rows.end - y) * width - x);
            // SAFETY: `pack` wrote the panels of all groups; the pixels are within the images, and there is room for places.
            unsafe {
                tile.panel = packed.add(HEADER);
                for group in 0..shape.groups {
                    self.write_places(shape, images, group, (y, x), places, count);
                    for Panel { kind, channel, channels, bytes, .. } in self.panels(shape) {
                        (tile.channel, tile.channels) = (self.element * channel, channels);
                        tile.places = places;
                        // As many tiles as it takes, of equal sizes but for 1.
                        let pieces = count.div_ceil(self.tiles[kind].len());
                        let (size, larger) = (count / pieces, count % pieces);
                        for at in 0..pieces {
                            let pixels = size + usize::from(at < larger);
                            let function = if one { self.lines[kind] } else { self.tiles[kind][pixels - 1] };
                            function(&tile);
                            tile.places = tile.places.add(pixels);
                        }
                        tile.panel = tile.panel.add(bytes);
                    }
                }
            }
            while count > 0 {
                let here = count.min(width - x);
                after(y, x, here);
                count -= here;
                (y, x) = if x + here == width { (y + 1, 0) } else { (y, x + here) };
            }
        }
    }

    /// Writes where a group's output pixels from `(y, x)` on lie.
    ///
    /// # Safety
    /// The pixels are within the output, and there is room for their places.
    unsafe fn write_places(
        &self,
        shape: &Shape,
        (source, target): (Source<u8>, Target<u8>),
        group: usize,
        (mut y, mut x): (usize, usize),
        mut out: *mut Place,
        mut pixels: usize,
    ) {
        let [down, right] = shape.stride;
        while pixels > 0 {
            let here = pixels.min(shape.size[1] - x);
            // SAFETY: the caller's word. The pointers behind a row's last pixel are not used, so they may lie anywhere.
            unsafe {
                let mut from = source.pixel(y * down, x * right).add(group * shape.inputs * self.element);
                let mut to = target.pixel(y, x).add(group * shape.outputs * self.element);
                for _ in 0..here {
                    out.write(Place { source: from, target: to });
                    out = out.add(1);
                    from = from.wrapping_add(right * source.pixel);
                    to = to.wrapping_add(target.pixel);
                }
            }
            pixels -= here;
            (y, x) = (y + 1, 0);
        }
    }
}
