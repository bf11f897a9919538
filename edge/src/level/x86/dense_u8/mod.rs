//! Dense and grouped convolutions of bytes, and linear layers: in what order a layer is computed. What a level has of its
//! own are its tiles.
//!
//! A tile computes some pixels by a panel of channels. Its pixels follow each other in the order of rows, so that a narrow
//! image has rows of several lengths in one tile; each has pointers of its own. Per word of a kernel's run (four bytes, or
//! two of 16 bits), a tile reads the panel's weights once and every pixel's word once.

pub(super) mod avx2;
pub(super) mod avx512;
mod avx512_narrow;
pub(super) mod avx_vnni;
mod layout;
mod tile;
mod winograd;
mod ymm;

use core::ops::Range;

use self::layout::{HEADER, Kind, Layout, Panel};
use super::lookup::Lookup;
use crate::layer::{ByteLayer, ByteTail, Runs, Shape, Source};

/// Where a pixel's numbers lie, at a group's first channel.
#[derive(Clone, Copy)]
struct Place {
    source: *const u8,
    target: *mut u8,
}

/// Constants of the tail as whole vectors.
#[repr(C, align(64))]
struct Ends {
    /// `zero - low`, so that packing to bytes keeps `low`, too.
    shift: [i16; 32],
    low: [u8; 64],
    high: [u8; 64],
    /// The order of quadruple words in which packed vectors are pixel by pixel, for two vectors a pixel.
    wide: [u64; 8],
    /// The same of double words, for one vector a pixel.
    narrow: [u32; 16],
    /// Whether `shift` is 0 and `high` is 255.
    plain: bool,
    /// The tail's table, if there is one.
    lookup: Lookup,
}

impl Ends {
    fn new(tail: &ByteTail<'_>) -> Self {
        Self {
            shift: [i16::from(tail.zero) - i16::from(tail.low); 32],
            low: [tail.low; 64],
            high: [tail.high; 64],
            wide: [0, 2, 4, 6, 1, 3, 5, 7],
            narrow: [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15],
            plain: tail.zero == tail.low && tail.high == 255,
            lookup: tail.table.map_or(Lookup::NONE, Lookup::new),
        }
    }
}

/// What a tile is asked to compute.
///
/// Tiles count on this: there are as many places as the tile has pixels, each of which lies at its panel's group;
/// behind each source all of `words` may be read, to the end of the last word or pair, and each target has the panel's
/// channels. The panel is one that the level's `pack` wrote, and `words` are of its kind. The stage, if there is one,
/// has `STAGE` to `OFFSETS` of the scratch, 64-byte aligned.
struct Tile<'a> {
    /// Its pixels.
    places: *const Place,
    /// Offsets of the kernel's words, or pairs of words, from `source`.
    words: &'a [usize],
    /// The panel.
    panel: *const u8,
    /// What is fetched to the second-level cache meanwhile, 64 bytes a word: a part of the next panel.
    ahead: *const u8,
    /// First of its channels in the group.
    channel: usize,
    /// How many it has.
    channels: usize,
    /// Whether sums have to be bounded, see [`Layout::pack`].
    careful: bool,
    ends: &'a Ends,
    /// Where its bytes go instead of the target when there is more to do, all of a panel's for pixel after pixel; or null.
    stage: *mut u8,
    /// Where the residual's other value lies for its pixels, at the group's first channel.
    others: *const *const u8,
}

/// What a level has.
struct Tiles {
    layout: Layout,
    /// Tiles of each kind; the `n`-th for `n + 1` pixels. Those of narrow kinds may be missing, where the layout has none.
    ///
    /// # Safety
    /// All tiles want what [`Tile`] says, and a CPU that has the level.
    wide: &'static [unsafe fn(&Tile<'_>)],
    narrow: &'static [unsafe fn(&Tile<'_>)],
    quad: &'static [unsafe fn(&Tile<'_>)],
    /// Whether tiles store whole panels only; bytes of others are staged.
    whole: bool,
    /// The table and the residual, done to the staged bytes of so many pixels, which are then stored.
    ///
    /// # Safety
    /// As of [`Tile`], for so many pixels whose bytes are in the stage; the residual's places are in `others`.
    finish: unsafe fn(&Tile<'_>, &ByteTail<'_>, usize),
    /// Bytes as numbers of 16 bits, `(from, to, count)`, where tiles read such.
    ///
    /// # Safety
    /// `count` bytes lie at `from`; there is room for as many numbers at `to`, aligned and elsewhere.
    widen: Option<unsafe fn(*const u8, *mut u16, usize)>,
}

/// Pixels of a slab at most.
const PIXELS: usize = 512;

/// Beginnings of the parts of the scratch: places; the residual's places; staged bytes; then offsets of words, the widened
/// input and what a last word reads behind it.
const OTHERS: usize = size_of::<Place>() * PIXELS;
const STAGE: usize = OTHERS + size_of::<*const u8>() * PIXELS;
const OFFSETS: usize = STAGE + 512;

/// Bytes of packed constants that a second-level cache holds beside a slab.
const NEAR: usize = 1 << 20;

/// Tiles of a slab: its input and output stay in a near cache while all panels work on it, in the first where panels are few
/// enough to come from the second, else in the second so that panels come from afar only once for many tiles.
fn slab(shape: &Shape, packed: usize, pixels: usize) -> usize {
    let fresh = shape.stride[0].min(shape.kernel[0]) * shape.stride[1].min(shape.kernel[1]);
    let pixel = shape.groups * (shape.inputs * fresh + shape.outputs);
    let cache = if packed <= NEAR { 24 << 10 } else { 256 << 10 };
    (cache / pixel).min(PIXELS) / pixels
}

/// Bytes of an input widened to 16 bits that are made at a time, unless a single output row wants more.
const WIDENED: usize = 64 << 10;

/// Rows of the input that some rows of the output want, and columns that a row wants.
fn extent(shape: &Shape, rows: usize) -> [usize; 2] {
    let reach = |axis: usize, size: usize| {
        (size - 1) * shape.stride[axis] + (shape.kernel[axis] - 1) * shape.dilation[axis] + 1
    };
    [reach(0, rows), reach(1, shape.size[1])]
}

/// Bytes of the widened input of some rows of the output.
fn widened(shape: &Shape, rows: usize) -> usize {
    let [height, width] = extent(shape, rows);
    2 * height * width * shape.groups * shape.inputs
}

/// Rows of the output whose widened input is made at a time.
fn widened_rows(shape: &Shape) -> usize {
    (1..shape.size[0]).take_while(|rows| widened(shape, rows + 1) <= WIDENED).last().map_or(1, |rows| rows + 1)
}

impl Tiles {
    fn scratch(&self, shape: &Shape) -> usize {
        let widened = if self.widen.is_some() { widened(shape, widened_rows(shape)) + 64 } else { 0 };
        self.offsets_end(shape) + widened.next_multiple_of(64)
    }

    fn offsets_end(&self, shape: &Shape) -> usize {
        let words = self.layout.words(shape);
        OFFSETS + (size_of::<usize>() * words.runs * (words.run + words.quads)).next_multiple_of(64)
    }

    /// Computes rows of a layer.
    ///
    /// # Safety
    /// The level's instructions are there; the layer is as `layer.rs` says.
    unsafe fn run(&self, layer: &ByteLayer<'_>, rows: Range<usize>) {
        let Some(widen) = self.widen else {
            // SAFETY: the caller's word.
            return unsafe { self.run_from(layer, layer.source, 0, rows) };
        };
        let shape = layer.shape;
        let together = widened_rows(shape);
        for first in rows.clone().step_by(together) {
            let rows = first..(first + together).min(rows.end);
            let [height, width] = extent(shape, rows.len());
            let channels = shape.groups * shape.inputs;
            // SAFETY: `scratch` has room for the widened rows, and the source has what the output's rows want.
            unsafe {
                let at = layer.scratch.add(self.offsets_end(shape));
                for y in 0..height {
                    let from = layer.source.pixel(first * shape.stride[0] + y, 0);
                    let to = at.cast::<u16>().add(y * width * channels);
                    if layer.source.pixel == channels {
                        widen(from, to, width * channels);
                    } else {
                        for x in 0..width {
                            widen(from.add(x * layer.source.pixel), to.add(x * channels), channels);
                        }
                    }
                }
                let source = Source { at: at.cast_const(), row: 2 * width * channels, pixel: 2 * channels };
                self.run_from(layer, source, first, rows);
            }
        }
    }

    /// Computes rows of a layer from a source that begins with what output row `origin` reads first.
    ///
    /// # Safety
    /// The level's instructions are there; the layer is as `layer.rs` says.
    #[inline(never)]
    unsafe fn run_from(&self, layer: &ByteLayer<'_>, source: Source<u8>, origin: usize, rows: Range<usize>) {
        let shape = layer.shape;
        let [_, width] = shape.size;
        let total = rows.len() * width;
        if total == 0 {
            return;
        }
        let (words, quads) = self.offsets(layer, source);
        let places = layer.scratch.cast::<Place>();
        // SAFETY: `scratch` has room for them.
        let (others, stage) = unsafe { (layer.scratch.add(OTHERS).cast::<*const u8>(), layer.scratch.add(STAGE)) };
        let tail = &layer.tail;
        let ends = Ends::new(tail);
        let finished = tail.table.is_none() && tail.residual.is_none();
        // SAFETY: `pack` wrote a header.
        let careful = unsafe { *layer.packed } != 0;

        // As many tiles as it takes, of equal sizes but for 1.
        let tiles = total.div_ceil(self.wide.len());
        let (size, larger) = (total / tiles, total % tiles);
        let slab = slab(shape, self.layout.bytes(shape), self.wide.len()).max(1);
        // SAFETY: `pack` wrote the panels.
        let mut panels = unsafe { layer.packed.add(HEADER) };
        for group in 0..shape.groups {
            let mut next = (rows.start, 0);
            for first in (0..tiles).step_by(slab) {
                let slab = first..(first + slab).min(tiles);
                let pixels = slab.len() * size + larger.clamp(slab.start, slab.end) - slab.start;
                // SAFETY: the pixels are within the images; a slab has `PIXELS` places or a single tile.
                next = unsafe { self.write_places(layer, (source, origin), group, next, (places, others), pixels) };
                let mut panel = panels;
                for Panel { kind, channel, channels, bytes } in self.layout.panels(shape) {
                    let (functions, words) = match kind {
                        Kind::Wide => (self.wide, words),
                        Kind::Narrow => (self.narrow, words),
                        Kind::Quad => (self.quad, quads),
                    };
                    let staged = !finished || self.whole && channels < 2 * self.layout.lanes;
                    let stage = if staged { stage } else { core::ptr::null_mut() };
                    let ends = &ends;
                    let ahead = panel.wrapping_add(bytes);
                    let mut tile =
                        Tile { places, words, panel, ahead, channel, channels, careful, ends, stage, others };
                    for at in slab.clone() {
                        let pixels = size + usize::from(at < larger);
                        // SAFETY: the panel and the places are there, and the level's instructions.
                        unsafe {
                            functions[pixels - 1](&tile);
                            if staged {
                                (self.finish)(&tile, tail, pixels);
                            }
                            tile.places = tile.places.add(pixels);
                            tile.ahead = tile.ahead.wrapping_add(64 * words.len());
                            tile.others = tile.others.add(pixels);
                        }
                    }
                    // SAFETY: `pack` wrote as much.
                    panel = unsafe { panel.add(bytes) };
                }
                if slab.end == tiles {
                    panels = panel;
                }
            }
        }
    }

    /// Writes the offsets of a kernel's words, and of its pairs of words, to the scratch.
    fn offsets<'a>(&self, layer: &ByteLayer<'a>, source: Source<u8>) -> (&'a [usize], &'a [usize]) {
        let Runs { columns, .. } = layer.shape.runs();
        let [dy, dx] = layer.shape.dilation;
        let words = self.layout.words(layer.shape);
        // SAFETY: `scratch` has room for the offsets.
        unsafe {
            let at = layer.scratch.add(OFFSETS).cast::<usize>();
            let pairs = at.add(words.runs * words.run);
            for run in 0..words.runs {
                let offset = run / columns * dy * source.row + run % columns * dx * source.pixel;
                for word in 0..words.run {
                    at.add(run * words.run + word).write(offset + 4 * word);
                }
                for pair in 0..words.quads {
                    pairs.add(run * words.quads + pair).write(offset + 8 * pair);
                }
            }
            let slice = |at: *mut usize, count| core::slice::from_raw_parts(at, count);
            (slice(at, words.runs * words.run), slice(pairs, words.runs * words.quads))
        }
    }

    /// Writes where a group's output pixels from `(y, x)` on lie; the answer is the pixel behind them.
    ///
    /// # Safety
    /// The pixels are within the output, and there is room for their places.
    unsafe fn write_places(
        &self,
        layer: &ByteLayer<'_>,
        (source, origin): (Source<u8>, usize),
        group: usize,
        (mut y, mut x): (usize, usize),
        (mut out, mut others): (*mut Place, *mut *const u8),
        mut pixels: usize,
    ) -> (usize, usize) {
        let shape = layer.shape;
        let [down, right] = shape.stride;
        let first = group * shape.inputs * (4 / self.layout.word);
        while pixels > 0 {
            let here = pixels.min(shape.size[1] - x);
            // SAFETY: the caller's word. The pointer behind a row's last pixel is not used, so it may lie anywhere.
            unsafe {
                let mut from = source.pixel((y - origin) * down, x * right).add(first);
                let mut target = layer.target.pixel(y, x).add(group * shape.outputs);
                for _ in 0..here {
                    out.write(Place { source: from, target });
                    out = out.add(1);
                    from = from.wrapping_add(right * source.pixel);
                    target = target.wrapping_add(layer.target.pixel);
                }
            }
            if let Some(residual) = layer.tail.residual {
                // SAFETY: as above.
                unsafe {
                    let mut from = residual.other.pixel(y, x).add(group * shape.outputs);
                    for _ in 0..here {
                        others.write(from);
                        others = others.add(1);
                        from = from.wrapping_add(residual.other.pixel);
                    }
                }
            }
            pixels -= here;
            (y, x) = if x + here == shape.size[1] { (y + 1, 0) } else { (y, x + here) };
        }
        (y, x)
    }
}
