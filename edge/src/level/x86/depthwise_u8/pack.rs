//! The constants of a depthwise layer, block of channels by block, in the order in which bytes are interleaved.

use super::{FOURS, Level};
use crate::layer::{ByteConstants, Shape};
use crate::level::scalar;

/// Channels that are computed together.
pub(super) struct Block {
    /// Which block it is.
    pub(super) number: usize,
    /// Its first channel.
    pub(super) first: usize,
    /// Its channels.
    pub(super) channels: usize,
    /// Into how many parts a vector is cut, each of which holds the same channels of other rows: 1, 2 or 4.
    pub(super) groups: usize,
}

/// The blocks of a layer for vectors of so many lanes of 16 channels.
pub(super) fn blocks(shape: &Shape, lanes: usize) -> impl Iterator<Item = Block> {
    let all = shape.channels();
    (0..all.div_ceil(16 * lanes)).map(move |number| {
        let first = number * 16 * lanes;
        let channels = (all - first).min(16 * lanes);
        let groups = lanes / channels.div_ceil(16).next_power_of_two();
        Block { number, first, channels, groups }
    })
}

/// Which of 16 channels the words of a lane hold, in each of four vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// What unpacking bytes and words makes: 0 to 3, 4 to 7, and so on.
    Halves,
    /// 0, 2, 4, 6; 8, 10, 12, 14; the odd ones likewise.
    Parity,
}

/// Bytes before the first block; the first of them is not 0 where a sum times its multiplier may be beyond an `i32`.
const HEADER: usize = 64;

/// Multipliers beyond this saturate every sum but 0, as this does.
const MOST: f32 = 256.0;

impl Level {
    /// Bytes of a vector.
    fn vector(&self) -> usize {
        16 * self.lanes
    }

    /// Bytes of the weights of four rows of one column.
    fn column(&self) -> usize {
        4 * self.vector() * if self.pairs { 2 } else { 1 }
    }

    /// Where a block's constants lie: biases, multipliers, weights.
    pub(super) fn place(&self, shape: &Shape, number: usize) -> usize {
        let sets = if self.shifted(shape) { 2 } else { 1 };
        let columns = shape.kernel[0].div_ceil(4) * shape.kernel[1] * sets;
        HEADER + number * (8 * self.vector() + columns * self.column())
    }

    pub(super) fn packed(&self, shape: &Shape) -> usize {
        if shape.kernel[0] > 4 * FOURS {
            return (scalar::BYTES.packed)(shape);
        }
        self.place(shape, blocks(shape, self.lanes).count()).next_multiple_of(64)
    }

    pub(super) fn pack(&self, shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
        if shape.kernel[0] > 4 * FOURS {
            return (scalar::BYTES.pack)(shape, constants, out);
        }
        out.fill(0);
        let careful = (0..shape.channels()).any(|channel| is_large(shape, constants, channel));
        out[0] = u8::from(careful);
        for block in blocks(shape, self.lanes) {
            let out = &mut out[self.place(shape, block.number)..];
            let order = self.order(self.kind(shape, block.groups, careful));
            for word in 0..self.vector() {
                // Word `element` of the lanes of vector `quarter`, of four: what unpacking makes of the bytes of 16 channels.
                let (quarter, lane, element) = (word / (4 * self.lanes), word / 4 % self.lanes, word % 4);
                let channel = match order {
                    Order::Halves => 4 * quarter + element,
                    Order::Parity => quarter % 2 * 8 + element * 2 + quarter / 2,
                };
                let local = 16 * (lane % (self.lanes / block.groups)) + channel;
                if local < block.channels {
                    self.pack_channel(shape, constants, block.first + local, (word, order), out);
                }
            }
        }
    }

    /// The constants of a channel, at a word of the four vectors that hold one number a channel.
    fn pack_channel(
        &self,
        shape: &Shape,
        constants: ByteConstants<'_>,
        channel: usize,
        (word, order): (usize, Order),
        out: &mut [u8],
    ) {
        let [high, wide] = shape.kernel;
        let depth = shape.depth();
        let multiplier = constants.multiplier(channel);
        // Infinities and what is no number stay.
        let multiplier = if multiplier.is_finite() { multiplier.clamp(-MOST, MOST) } else { multiplier };
        out[4 * word..][..4].copy_from_slice(&constants.folded_bias(channel, depth).to_le_bytes());
        out[4 * self.vector() + 4 * word..][..4].copy_from_slice(&multiplier.to_le_bytes());
        let sets = if self.shifted(shape) { 2 } else { 1 };
        for column in 0..high.div_ceil(4) * wide * sets {
            let (set, x, four) = (column % sets, column / sets % wide, column / sets / wide);
            let at = 8 * self.vector() + column * self.column();
            for tap in 0..4 {
                let Some(y) = (4 * four + tap).checked_sub(set).filter(|y| *y < high) else { continue };
                let weight = constants.weight(channel, depth, y * wide + x);
                if self.pairs {
                    // Taps 0 and 2, and in another vector 1 and 3.
                    let words = self.vector() / 4;
                    let at = at + (word / words * 2 + tap % 2) * self.vector() + word % words * 4 + tap / 2 * 2;
                    out[at..][..2].copy_from_slice(&i16::from(weight).to_le_bytes());
                } else {
                    let rows = (high - 4 * four).min(4);
                    let odd = word / (8 * self.lanes);
                    let byte = match (order, rows) {
                        (Order::Halves, _) | (Order::Parity, 4) => tap,
                        (Order::Parity, 3) => tap + tap / 2 * odd,
                        (Order::Parity, _) => 2 * tap + odd,
                    };
                    out[at + 4 * word + byte] = weight as u8;
                }
            }
        }
    }
}

/// Whether a channel's largest sum times its multiplier is perhaps beyond an `i32`.
fn is_large(shape: &Shape, constants: ByteConstants<'_>, channel: usize) -> bool {
    let depth = shape.depth();
    let most = (0..depth).map(|at| 255 * i64::from(constants.weight(channel, depth, at).unsigned_abs()));
    let most = most.sum::<i64>() + i64::from(constants.folded_bias(channel, depth)).abs();
    let multiplier = constants.multiplier(channel).abs();
    // Not a `>=`: what is no number is large.
    !(multiplier.is_finite() && most as f64 * f64::from(multiplier.min(MOST)) < f64::from(1 << 30))
}
