//! Depthwise convolutions of bytes: blocks of channels, rows and columns handed to the strips of a level.
//!
//! Four rows of bytes are interleaved, so that each word of a vector holds a column of up to four taps of a channel and one
//! instruction multiplies and adds it. A strip walks along an output row; each interleaved column serves all of the kernel's
//! columns, and, with weights that are shifted by one row, two output rows.

mod avx2;
mod avx512;
mod five;
mod half;
mod pack;
mod tail;
mod tiles;
mod vnni;

use core::ops::Range;

use crate::layer::{ByteConstants, ByteKernel, ByteLayer, Shape};
use crate::level::scalar;
use crate::simple::{Addition, Simple};
use pack::{Block, Order, blocks};

/// What is done with 16-channel lanes at a level, and how its constants lie.
struct Level {
    /// 16-byte lanes of a vector.
    lanes: usize,
    /// Whether `three` and `five` have words in the order of parity.
    parity: bool,
    /// Whether weights are pairs of 16 bits instead of four bytes.
    pairs: bool,
    /// Whether there are strips of two output rows, and for 3 x 3 with stride 1 no others.
    two_rows: bool,
    /// Whether there are strips for 5 x 5.
    five: bool,
    /// Strips, for `1 << index` lanes' worth of row groups.
    strips: &'static [Strips],
    /// For what follows the tile's tail.
    simple: Simple,
}

/// The strips for one number of groups of rows.
struct Strips {
    /// Kernels of 3 x 3, a row each: `[stride - 1][whether bytes are kept as they are]`.
    three: [[Strip; 2]; 2],
    /// The same, two rows each, stride 1.
    three_two: [Strip; 2],
    /// Kernels of 5 x 5: `[stride - 1]`.
    five: [Strip; 2],
    /// Any.
    any: Strip,
}

/// # Safety
/// As of [`Walk`]; the CPU has the level.
type Strip = unsafe fn(&Walk<'_>);

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Three,
    ThreeTwo,
    Five,
    Any,
}

/// The work in one block of channels: strips of one or two output rows for each group of lanes.
///
/// Strips count on this: up to row `last`, and the one below it where they have two rows, the output is the caller's
/// alone, and of each of its pixels all taps in the rows of `offsets` are there, behind which a vector may be read;
/// constants are as `pack` wrote them for this level and kind of strip.
struct Walk<'a> {
    shape: &'a Shape,
    /// Whether weights are also there shifted by one row.
    shifted: bool,
    /// The block's constants.
    block: *const u8,
    /// The first tap of the first output.
    at: *const u8,
    /// Bytes from there to that of the next row of the output.
    row: usize,
    /// Bytes from a pixel of the input to the next.
    pixel: usize,
    /// Distances from a first tap to the rows of the kernel; the last is repeated to make fours.
    offsets: &'a [[usize; 4]],
    /// The first output.
    out: *mut u8,
    /// Bytes from a row of the output to the next, and from a pixel.
    out_row: usize,
    out_pixel: usize,
    strips: usize,
    /// The last row where a group may begin.
    last: usize,
    /// Channels of the block that there are.
    channels: usize,
    zero: u8,
    low: u8,
    high: u8,
}

impl Walk<'_> {
    /// Where the `G` groups of `ROWS` rows of a strip begin, in the input and the output. Where there are too few rows, some
    /// are computed twice.
    #[inline(always)]
    fn strip<const G: usize, const ROWS: usize>(&self, strip: usize) -> ([*const u8; 4], [*mut u8; 4]) {
        let row = |group: usize| ((strip * G + group.min(G - 1)) * ROWS).min(self.last);
        let rows = [row(0), row(1), row(2), row(3)];
        (rows.map(|y| self.at.wrapping_add(y * self.row)), rows.map(|y| self.out.wrapping_add(y * self.out_row)))
    }
}

/// Most fours of rows of a kernel that a walk knows at once; higher ones are computed by the plain level.
const FOURS: usize = 4;

macro_rules! kernels {
    ($($name:ident: $level:expr;)*) => {$(
        pub(super) const $name: ByteKernel = {
            const LEVEL: Level = $level;
            fn packed(shape: &Shape) -> usize {
                LEVEL.packed(shape)
            }
            fn pack(shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
                LEVEL.pack(shape, constants, out);
            }
            /// # Safety
            /// As of [`ByteKernel::run`].
            unsafe fn run(layer: &ByteLayer<'_>, rows: Range<usize>) {
                // SAFETY: the caller's word.
                unsafe { LEVEL.run(layer, rows) };
            }
            ByteKernel { packed, pack, scratch: scalar::none, run }
        };
    )*};
}

kernels! {
    AVX2: Level {
        lanes: 2, parity: false, pairs: true, two_rows: false, five: true, strips: &avx2::STRIPS, simple: super::simple::avx2::TABLE,
    };
    AVX_VNNI: Level {
        lanes: 2, parity: false, pairs: false, two_rows: false, five: true, strips: &vnni::STRIPS, simple: super::simple::avx2::TABLE,
    };
    AVX512_VNNI: Level {
        lanes: 4, parity: true, pairs: false, two_rows: true, five: true, strips: &avx512::STRIPS, simple: super::simple::avx512::TABLE,
    };
}

/// Rows that are computed for every block of channels before the next ones: a multiple of what any strip computes.
const TOGETHER: usize = 8;

impl Level {
    /// Whether weights are also there shifted by one row.
    fn shifted(&self, shape: &Shape) -> bool {
        self.two_rows && shape.kernel == [3; 2] && shape.stride == [1; 2] && shape.dilation == [1; 2]
    }

    /// The strips of a block, where there are enough rows; `careful` as a block's header says.
    fn kind(&self, shape: &Shape, groups: usize, careful: bool) -> Kind {
        let step = shape.stride[1];
        match shape.kernel {
            _ if careful || shape.dilation[1] != 1 || step > 2 => Kind::Any,
            [3, 3] if self.shifted(shape) => Kind::ThreeTwo,
            [3, 3] if step == 2 || !self.two_rows => Kind::Three,
            [5, 5] if self.five && groups < 4 => Kind::Five,
            _ => Kind::Any,
        }
    }

    /// Which channels lie where.
    fn order(&self, kind: Kind) -> Order {
        if self.parity && matches!(kind, Kind::Three | Kind::Five) { Order::Parity } else { Order::Halves }
    }

    /// # Safety
    /// As `ByteKernel::run`; the CPU has the level.
    unsafe fn run(&self, layer: &ByteLayer<'_>, rows: Range<usize>) {
        let shape = layer.shape;
        if shape.kernel[0] > 4 * FOURS {
            // SAFETY: the caller's word; `pack` wrote what the plain level packs.
            return unsafe { (scalar::BYTES.run)(layer, rows) };
        }
        let mut start = rows.start;
        while start < rows.end {
            let end = rows.end.min(start + TOGETHER);
            for block in blocks(shape, self.lanes) {
                // SAFETY: the caller's word.
                unsafe { self.block(layer, &block, start..end) };
            }
            // SAFETY: the caller's word.
            unsafe { self.rest(layer, start..end) };
            start = end;
        }
    }

    /// Some rows of one block of channels.
    ///
    /// # Safety
    /// As of `run`, where the kernel is not too high for strips; the block is one of [`blocks`].
    unsafe fn block(&self, layer: &ByteLayer<'_>, block: &Block, rows: Range<usize>) {
        let (shape, tail) = (layer.shape, &layer.tail);
        let strips = &self.strips[block.groups.trailing_zeros() as usize];
        let plain = usize::from(tail.zero == 0 && tail.low == 0 && tail.high == 255);
        // SAFETY: `pack` wrote a header.
        let careful = unsafe { *layer.packed } != 0;
        let (high, step) = (shape.kernel[0], shape.stride[1]);
        let kind = self.kind(shape, block.groups, careful);
        let two = kind == Kind::ThreeTwo && rows.len() >= 2;
        let strip = match kind {
            Kind::ThreeTwo if two => strips.three_two[plain],
            Kind::Three => strips.three[step - 1][plain],
            Kind::Five => strips.five[step - 1],
            Kind::ThreeTwo | Kind::Any => strips.any,
        };
        let one = if two { 2 } else { 1 };
        // Rows behind the kernel's last have weights of 0, and one that is there is read for them.
        let mut offsets = [[0; 4]; FOURS];
        for (at, offset) in offsets[..high.div_ceil(4)].as_flattened_mut().iter_mut().enumerate() {
            *offset = at.min(high + one - 2) * shape.dilation[0] * layer.source.row;
        }
        // SAFETY: rows are the output's; the block's channels are the image's.
        unsafe {
            strip(&Walk {
                shape,
                shifted: self.shifted(shape),
                block: layer.packed.add(self.place(shape, block.number)),
                at: layer.source.pixel(rows.start * shape.stride[0], 0).add(block.first),
                row: layer.source.row * shape.stride[0],
                pixel: layer.source.pixel,
                offsets: &offsets[..high.div_ceil(4)],
                out: layer.target.pixel(rows.start, 0).add(block.first),
                out_row: layer.target.row,
                out_pixel: layer.target.pixel,
                strips: rows.len().div_ceil(block.groups * one),
                last: rows.len() - one,
                channels: block.channels,
                zero: tail.zero,
                low: tail.low,
                high: tail.high,
            });
        }
    }

    /// The table and the residual addition.
    ///
    /// # Safety
    /// As of `run`, whose strips have written these rows.
    unsafe fn rest(&self, layer: &ByteLayer<'_>, rows: Range<usize>) {
        let (width, channels) = (layer.shape.size[1], layer.shape.channels());
        // Pixels without a gap are computed as one.
        let whole = layer.target.pixel == channels
            && layer.tail.residual.is_none_or(|residual| residual.other.pixel == channels);
        let (pixels, length) = if whole { (1, width * channels) } else { (width, channels) };
        for (y, x) in rows.flat_map(|y| (0..pixels).map(move |x| (y, x))) {
            // SAFETY: the pixel is the output's, and so is the residual's; element by element one may be written in place.
            unsafe {
                let out = layer.target.pixel(y, x);
                if let Some(table) = layer.tail.table {
                    (self.simple.table)(out, out, length, table);
                }
                if let Some(residual) = &layer.tail.residual {
                    let how = Addition { sum: residual.sum, low: residual.low, high: residual.high };
                    let other = residual.other.pixel(y, x);
                    let (first, second) =
                        if residual.swapped { (other, out.cast_const()) } else { (out.cast_const(), other) };
                    (self.simple.add_u8)(first, second, out, length, &how);
                }
            }
        }
    }
}
