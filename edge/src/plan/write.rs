//! Plans as bytes: what the compiler writes.

use alloc::vec;
use alloc::vec::Vec;

use super::header::{CHECKSUM, checksum};
use super::{ALIGNMENT, HEADER, Header, Preprocessing, Step, Tensor};

/// Collects the parts of a plan. Same parts in the same order, same bytes.
#[derive(Debug, Default)]
pub struct Writer {
    tensors: Vec<Tensor>,
    steps: Vec<(Step, [u32; 2])>,
    constants: Vec<u8>,
    names: Vec<u8>,
}

/// What a plan says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    /// `[C, H, W]` of the image.
    pub input: [u32; 3],
    /// Number of logits.
    pub classes: u32,
    /// How bytes of an image become input.
    pub preprocessing: Option<Preprocessing>,
    /// sha256 of the file that the network was read from.
    pub source: [u8; 32],
    /// Bytes of working memory.
    pub arena: u64,
}

impl Writer {
    /// Adds a tensor and gives its number.
    pub fn tensor(&mut self, tensor: Tensor) -> u32 {
        self.tensors.push(tensor);
        self.tensors.len() as u32 - 1
    }

    /// Adds constants and gives where they stand; they begin at a multiple of 64.
    pub fn constant(&mut self, bytes: &[u8]) -> u32 {
        let at = self.constants.len().next_multiple_of(ALIGNMENT as usize);
        self.constants.resize(at, 0);
        self.constants.extend(bytes);
        at as u32
    }

    /// Adds a step, called as the node that it computes.
    pub fn step(&mut self, step: Step, name: &str) {
        let place = [self.names.len() as u32, name.len() as u32];
        self.names.extend(name.as_bytes());
        self.steps.push((step, place));
    }

    /// All of it as bytes.
    pub fn finish(self, said: Said) -> Vec<u8> {
        let Said { input, classes, preprocessing, source, arena } = said;
        let header = Header {
            arena,
            input,
            classes,
            preprocessing,
            source,
            tensors: self.tensors.len() as u32,
            steps: self.steps.len() as u32,
            constants: self.constants.len(),
            names: self.names.len(),
        };
        let mut bytes = vec![0; HEADER];
        bytes.copy_from_slice(&header.write());
        self.tensors.iter().for_each(|tensor| bytes.extend(tensor.write()));
        self.steps.iter().for_each(|(step, name)| bytes.extend(step.write(*name)));
        bytes.resize(header.constants_at(), 0);
        bytes.extend(self.constants);
        bytes.extend(self.names);
        let sum = checksum(&bytes);
        bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}
