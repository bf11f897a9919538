//! The head of a plan.

use super::{ALIGNMENT, HEADER, MAGIC, VERSION, codec, record};
use crate::arithmetic::ARITHMETIC;
use crate::error::{Error, Result};
use crate::layer::{f32_at, i32_at};

/// How bytes of an image become the network's input: `(byte / divisor - mean[c]) / std[c]`, each step rounded to `f32`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// What a byte is divided by, 255 mostly.
    pub divisor: f32,
    /// Means of red, green, blue.
    pub mean: [f32; 3],
    /// Standard deviations of red, green, blue.
    pub std: [f32; 3],
}

impl Preprocessing {
    /// A byte of a channel as the network's input.
    pub fn value(&self, channel: usize, byte: u8) -> f32 {
        (f32::from(byte) / self.divisor - self.mean[channel]) / self.std[channel]
    }
}

/// What a plan says of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Header {
    /// Bytes of working memory that its tensors lie in.
    pub arena: u64,
    /// `[C, H, W]` of the image.
    pub input: [u32; 3],
    /// Number of logits.
    pub classes: u32,
    /// How bytes of an image become input.
    pub preprocessing: Option<Preprocessing>,
    /// sha256 of the file that the network was read from.
    pub source: [u8; 32],
    pub(crate) tensors: u32,
    pub(crate) steps: u32,
    pub(crate) constants: usize,
    pub(crate) names: usize,
}

/// Most tensors and most steps: a bound for the time that checks take.
const MOST: u32 = 4096;

impl Header {
    /// Where records of tensors begin.
    pub(super) const TENSORS: usize = HEADER;

    /// Where records of steps begin.
    pub(super) fn steps_at(&self) -> usize {
        Self::TENSORS + self.tensors as usize * record::TENSOR
    }

    /// Where constants begin.
    pub(super) fn constants_at(&self) -> usize {
        (self.steps_at() + self.steps as usize * codec::STEP).next_multiple_of(ALIGNMENT as usize)
    }

    /// Where names begin.
    pub(super) fn names_at(&self) -> usize {
        self.constants_at() + self.constants
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(&MAGIC) {
            return Err(Error::NotAPlan);
        }
        let short = Error::Length { expected: HEADER as u64, found: bytes.len() as u64 };
        let head = bytes.get(..HEADER).ok_or(short)?;
        let word = |at: usize| i32_at(&head[at..], 0) as u32;
        let wide = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let floats = |at: usize| [0, 1, 2].map(|i| f32_at(&head[at..], i));
        if word(8) != VERSION {
            return Err(Error::Version { found: word(8) });
        }
        if word(12) != ARITHMETIC {
            return Err(Error::Arithmetic { found: word(12) });
        }
        if wide(16) != bytes.len() as u64 {
            return Err(Error::Length { expected: wide(16), found: bytes.len() as u64 });
        }
        let part = |at: usize| usize::try_from(wide(at)).ok().filter(|length| *length <= bytes.len());
        let beyond = Error::Plan("its parts are longer than the plan");
        let [constants, names] = [part(40).ok_or(beyond)?, part(48).ok_or(beyond)?];
        let (tensors, steps) = (word(32), word(36));
        if tensors > MOST || steps > MOST {
            return Err(Error::Plan("it has more than 4096 tensors or steps"));
        }
        let preprocessing = Preprocessing { divisor: f32_at(&head[76..], 0), mean: floats(80), std: floats(92) };
        let mut source = [0; 32];
        source.copy_from_slice(&head[104..136]);
        let header = Self {
            arena: wide(24),
            input: [word(56), word(60), word(64)],
            classes: word(68),
            preprocessing: (word(72) != 0).then_some(preprocessing),
            source,
            tensors,
            steps,
            constants,
            names,
        };
        match header.names_at().checked_add(names) {
            Some(end) if end == bytes.len() => Ok(header),
            end => Err(Error::Length { expected: end.unwrap_or(usize::MAX) as u64, found: bytes.len() as u64 }),
        }
    }

    /// The bytes of a header; the checksum is set when all is written.
    #[cfg(feature = "alloc")]
    pub(super) fn write(&self) -> [u8; HEADER] {
        let mut head = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        let length = (self.names_at() + self.names) as u64;
        let words = [(8, VERSION), (12, ARITHMETIC), (32, self.tensors), (36, self.steps), (68, self.classes)];
        words.iter().for_each(|(at, word)| put(*at, &word.to_le_bytes()));
        let wide = [(16, length), (24, self.arena), (40, self.constants as u64), (48, self.names as u64)];
        wide.iter().for_each(|(at, word)| put(*at, &word.to_le_bytes()));
        (0..3).for_each(|i| put(56 + 4 * i, &self.input[i].to_le_bytes()));
        if let Some(Preprocessing { divisor, mean, std }) = self.preprocessing {
            put(72, &1u32.to_le_bytes());
            put(76, &divisor.to_le_bytes());
            (0..3).for_each(|i| put(80 + 4 * i, &mean[i].to_le_bytes()));
            (0..3).for_each(|i| put(92 + 4 * i, &std[i].to_le_bytes()));
        }
        put(104, &self.source);
        head
    }
}

/// Where the checksum stands.
pub(super) const CHECKSUM: usize = 136;

/// CRC-32 (ISO 3309) of a plan without its checksum.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = nibbles();
    let step = |crc: u32, byte: &u8| {
        let crc = crc ^ u32::from(*byte);
        let crc = (crc >> 4) ^ TABLE[(crc & 15) as usize];
        (crc >> 4) ^ TABLE[(crc & 15) as usize]
    };
    let (before, behind) = bytes.split_at(CHECKSUM);
    !behind[4..].iter().fold(before.iter().fold(!0, step), step)
}

const fn nibbles() -> [u32; 16] {
    let mut table = [0; 16];
    let mut at = 0;
    while at < 16 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}
