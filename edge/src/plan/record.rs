//! Records of tensors.

use crate::layer::{f32_at, i32_at};

/// Bytes of a record.
pub(super) const TENSOR: usize = 48;

/// An image in working memory, channels last, with a border that holds its zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor {
    /// Bytes with a scale and a zero point, or floats.
    pub kind: Kind,
    /// Height, width, channels.
    pub size: [u32; 3],
    /// Rows and columns around it, on each side.
    pub border: u32,
    /// Where it lies in the arena: the first byte of its border.
    pub offset: u64,
    /// The steps that first write it and last touch it: between them, its memory is its own.
    pub life: [u32; 2],
}

/// What the elements of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `(byte - zero) * scale`.
    Bytes {
        /// Step of a byte.
        scale: f32,
        /// The byte that means 0.
        zero: u8,
    },
    /// Floats of 32 bits.
    Floats,
}

impl Tensor {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| i32_at(bytes, at) as u32;
        let kind = match word(0) {
            0 => Kind::Bytes { scale: f32_at(bytes, 6), zero: u8::try_from(word(5)).ok()? },
            1 => Kind::Floats,
            _ => return None,
        };
        let offset = u64::from(word(8)) | u64::from(word(9)) << 32;
        let (size, life) = ([word(1), word(2), word(3)], [word(10), word(11)]);
        Some(Self { kind, size, border: word(4), offset, life })
    }

    #[cfg(feature = "alloc")]
    pub(super) fn write(&self) -> [u8; TENSOR] {
        let (kind, zero, scale) = match self.kind {
            Kind::Bytes { scale, zero } => (0, u32::from(zero), scale),
            Kind::Floats => (1, 0, 0.0),
        };
        let [height, width, channels] = self.size;
        let words = [kind, height, width, channels, self.border, zero, scale.to_bits(), 0];
        let mut bytes = [0; TENSOR];
        words.iter().enumerate().for_each(|(at, word)| bytes[4 * at..][..4].copy_from_slice(&word.to_le_bytes()));
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.life[0].to_le_bytes());
        bytes[44..].copy_from_slice(&self.life[1].to_le_bytes());
        bytes
    }

    /// Bytes of an element.
    pub fn width(&self) -> u64 {
        match self.kind {
            Kind::Bytes { .. } => 1,
            Kind::Floats => 4,
        }
    }

    /// Elements from a row to the next.
    pub fn row(&self) -> usize {
        (self.size[1] + 2 * self.border) as usize * self.size[2] as usize
    }

    /// Elements of the image without its border.
    pub fn elements(&self) -> usize {
        self.size.iter().map(|size| *size as usize).product()
    }

    /// Bytes with the border, without slack; the sizes were checked to multiply without overflow.
    pub fn bytes(&self) -> u64 {
        u64::from(self.size[0] + 2 * self.border) * self.row() as u64 * self.width()
    }

    /// Elements from the first of the border to that of pixel `y, x`, counted from the border's corner.
    pub(crate) fn place(&self, y: usize, x: usize) -> usize {
        y * self.row() + x * self.size[2] as usize
    }

    /// Scale and zero point of bytes.
    pub fn quantisation(&self) -> Option<(f32, u8)> {
        match self.kind {
            Kind::Bytes { scale, zero } => Some((scale, zero)),
            Kind::Floats => None,
        }
    }
}
