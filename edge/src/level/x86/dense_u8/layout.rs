//! How constants of a dense layer are laid out.
//!
//! A header of [`HEADER`] bytes, then group by group panel by panel. A panel begins with its sums' starts, then multipliers,
//! then bounds; word by word, each vector's weights follow.

use crate::layer::{ByteConstants, Runs, Shape};

/// Its first byte says whether sums have to be bounded; the second belongs to the level.
pub(super) const HEADER: usize = 64;

/// Vectors that a panel begins with, per vector of channels.
pub(super) const HEAD: usize = 3;

/// Vectors that a panel of [`Kind::Quad`] begins with.
pub(super) const QUAD_HEAD: usize = 4;

/// Sums are kept within plus and minus this where a multiplier is not below 1. See [`Layout::pack`].
const BOUND: i32 = 512;

/// Kinds of panels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Two vectors of channels.
    Wide,
    /// One vector of channels.
    Narrow,
    /// One vector of channels in two vectors of sums: a channel has two sums beside each other, of even and of odd words, so
    /// that two words of a pixel are read at once.
    Quad,
}

/// What differs between levels.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Channels of a vector.
    pub(super) lanes: usize,
    /// Weights of a word: 4 bytes or 2 numbers of 16 bits.
    pub(super) word: usize,
    /// Whether the last panel of a group may be [`Kind::Narrow`]; it may be [`Kind::Quad`] with all levels.
    pub(super) narrow: bool,
}

/// A panel of a group.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub(super) kind: Kind,
    /// First of its channels in the group.
    pub(super) channel: usize,
    /// How many it has.
    pub(super) channels: usize,
    pub(super) bytes: usize,
}

/// Words of a kernel.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) runs: usize,
    /// Words of a run.
    pub(super) run: usize,
    /// Pairs of words of a run.
    pub(super) quads: usize,
}

impl Layout {
    pub(super) fn words(self, shape: &Shape) -> Words {
        let Runs { rows, columns, length } = shape.runs();
        let run = length.div_ceil(self.word);
        Words { runs: rows * columns, run, quads: run.div_ceil(2) }
    }

    /// A group's panels.
    pub(super) fn panels(self, shape: &Shape) -> impl Iterator<Item = Panel> {
        let (outputs, Words { runs, run, quads }) = (shape.outputs, self.words(shape));
        // Pairs of words are the quicker by about an eighth.
        let one = if self.narrow && 2 * quads > run + run / 8 { Kind::Narrow } else { Kind::Quad };
        (0..outputs).step_by(2 * self.lanes).map(move |channel| {
            let channels = (outputs - channel).min(2 * self.lanes);
            let kind = if channels <= self.lanes { one } else { Kind::Wide };
            let vectors = match kind {
                Kind::Wide => 2 * (HEAD + runs * run),
                Kind::Narrow => HEAD + runs * run,
                Kind::Quad => QUAD_HEAD + 2 * runs * quads,
            };
            Panel { kind, channel, channels, bytes: 4 * self.lanes * vectors }
        })
    }

    pub(super) fn bytes(self, shape: &Shape) -> usize {
        let group: usize = self.panels(shape).map(|panel| panel.bytes).sum();
        (HEADER + shape.groups * group).next_multiple_of(64)
    }

    /// Lays out what `run` wants.
    ///
    /// A tile converts `f32(sum) * multiplier` to 32-bit numbers and lets saturation to a byte do the clamping. That is right
    /// where the product is within 32 bits: where multipliers are below 1. A channel with a larger one has its sums kept
    /// within [`BOUND`] (beyond it they are 0 or 255 whatever the zero point), and its multiplier within `2^20`.
    pub(super) fn pack(self, shape: &Shape, constants: ByteConstants<'_>, out: &mut [u8]) {
        let depth = shape.depth();
        self.pack_with(shape, (constants, depth), out, |channel, place, panel| {
            self.pack_weights(shape, place, &constants.weights[channel * depth..][..depth], panel);
        });
    }

    /// The same for a layer of `depth` products with the layout of `shape`, where `weights` writes those of a channel.
    pub(super) fn pack_with(
        self,
        shape: &Shape,
        (constants, depth): (ByteConstants<'_>, usize),
        out: &mut [u8],
        weights: impl Fn(usize, (Kind, usize), &mut [u8]),
    ) {
        const LARGEST: f32 = 1_048_576.0;
        out.fill(0);
        let (header, mut rest) = out.split_at_mut(HEADER);
        for group in 0..shape.groups {
            for Panel { kind, channel: first, channels, bytes } in self.panels(shape) {
                let (panel, behind) = rest.split_at_mut(bytes);
                rest = behind;
                for at in 0..channels {
                    let channel = group * shape.outputs + first + at;
                    let multiplier = constants.multiplier(channel);
                    let small = multiplier.abs() < 1.0;
                    header[0] |= u8::from(!small);
                    let [start, factor, bound] = self.head(kind, at);
                    put(panel, start, constants.folded_bias(channel, depth).to_le_bytes());
                    put(panel, factor, multiplier.clamp(-LARGEST, LARGEST).to_le_bytes());
                    put(panel, bound, (if small { i32::MAX } else { BOUND }).to_le_bytes());
                    weights(channel, (kind, at), panel);
                }
            }
        }
    }

    /// Weights of a channel; behind a run's end they are zeros.
    fn pack_weights(self, shape: &Shape, place: (Kind, usize), weights: &[u8], panel: &mut [u8]) {
        for (run, weights) in weights.chunks_exact(shape.runs().length).enumerate() {
            for (word, weights) in weights.chunks(self.word).enumerate() {
                let mut bytes = [0; 4];
                if self.word == 4 {
                    bytes[..weights.len()].copy_from_slice(weights);
                } else {
                    for (wide, &weight) in bytes.chunks_exact_mut(2).zip(weights) {
                        wide.copy_from_slice(&i16::from(weight as i8).to_le_bytes());
                    }
                }
                self.put_word(shape, place, (run, word), bytes, panel);
            }
        }
    }

    /// Writes a word of a channel's weights.
    pub(super) fn put_word(
        self,
        shape: &Shape,
        (kind, at): (Kind, usize),
        word: (usize, usize),
        bytes: [u8; 4],
        panel: &mut [u8],
    ) {
        put(panel, self.weight(self.words(shape), kind, at, word), bytes);
    }

    /// The vector and lane of a panel's channel. Two vectors are packed to 16 bits by an instruction that takes four of each
    /// in turn, so they have four channels in turn; sums of [`Kind::Quad`] are added by one that takes two of each in turn.
    fn lane(kind: Kind, at: usize) -> (usize, usize) {
        match kind {
            Kind::Wide => (at % 8 / 4, at / 8 * 4 + at % 4),
            Kind::Narrow => (0, at),
            Kind::Quad => (at % 4 / 2, 2 * (at / 4 * 2 + at % 2)),
        }
    }

    /// Where a channel's start, multiplier and bound lie in a panel, in units of 4 bytes.
    fn head(self, kind: Kind, at: usize) -> [usize; 3] {
        let (vector, lane) = Self::lane(kind, at);
        let here = self.lanes * vector + lane;
        match kind {
            Kind::Wide => [here, 2 * self.lanes + here, 4 * self.lanes + here],
            Kind::Narrow => [here, self.lanes + here, 2 * self.lanes + here],
            Kind::Quad => [here, 2 * self.lanes + at, 3 * self.lanes + at],
        }
    }

    /// Where a word of a channel's weights lies in a panel, in units of 4 bytes.
    fn weight(self, words: Words, kind: Kind, at: usize, (run, word): (usize, usize)) -> usize {
        let (vector, lane) = Self::lane(kind, at);
        let here = self.lanes * vector + lane;
        match kind {
            Kind::Wide => 2 * self.lanes * (HEAD + run * words.run + word) + here,
            Kind::Narrow => self.lanes * (HEAD + run * words.run + word) + here,
            Kind::Quad => self.lanes * (QUAD_HEAD + 2 * (run * words.quads + word / 2)) + here + word % 2,
        }
    }
}

fn put(panel: &mut [u8], at: usize, bytes: [u8; 4]) {
    panel[4 * at..][..4].copy_from_slice(&bytes);
}
