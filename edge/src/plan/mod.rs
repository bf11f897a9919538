//! The plan: a network as a file that runs where it lies, in memory, in flash, in a program's own constants.
//!
//! Little endian, readable at any alignment. A header of [`HEADER`] bytes; records of tensors and of steps; constants; names.
//! Constants are canonical (weights `[output][row][column][input]`, `i8` or `f32`), so that a plan fits every CPU: a level
//! packs them as it likes when an engine is prepared. `docs/plan.md` has the layout field by field.

mod check;
mod check_channels;
mod codec;
mod header;
mod lives;
mod record;
mod step;
#[cfg(feature = "alloc")]
mod write;

pub use header::{Header, Preprocessing};
pub use record::{Kind, Tensor};
pub use step::{Convolution, Copy, Function, Step, Tail, Windowed};
#[cfg(feature = "alloc")]
pub use write::{Said, Writer};

use crate::error::{Error, Result};
use crate::layer::i32_at;

/// Version of the format.
pub const VERSION: u32 = 1;

/// The first bytes of every plan.
pub const MAGIC: [u8; 8] = *b"ATTARPLN";

/// Bytes of the header.
pub const HEADER: usize = 192;

/// Bytes behind each tensor that kernels may read.
pub const SLACK: u64 = 64;

/// Where constants begin, and tensors in the arena: a multiple of a vector.
pub const ALIGNMENT: u64 = 64;

/// A plan whose every number was checked: what it says can be done without looking again.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl<'a> Model<'a> {
    /// Reads a plan where it lies, at any alignment, and checks it: extents, lifetimes, bounds of sums.
    ///
    /// # Errors
    /// What is wrong with it, with the number of the tensor or step.
    pub fn load(bytes: &'a [u8]) -> Result<Self> {
        if cfg!(target_endian = "big") {
            return Err(Error::Plan("plans are little endian; a big-endian CPU does not read them"));
        }
        let model = Self { bytes, header: Header::read(bytes)? };
        check::check(&model)?;
        Ok(model)
    }

    /// Of bytes that [`Model::load`] has accepted before.
    #[cfg(feature = "alloc")]
    pub(crate) fn accepted(bytes: &'a [u8], header: Header) -> Self {
        Self { bytes, header }
    }

    /// Whether the bytes are those that were written: a checksum, for files that travel.
    pub fn intact(&self) -> bool {
        i32_at(&self.bytes[header::CHECKSUM..], 0) as u32 == header::checksum(self.bytes)
    }

    /// What the plan says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// A tensor by its number.
    pub(crate) fn tensor(&self, number: u32) -> Tensor {
        let record = Tensor::read(&self.bytes[Header::TENSORS + number as usize * record::TENSOR..]);
        record.unwrap_or(Tensor { kind: Kind::Floats, size: [1; 3], border: 0, offset: 0, life: [0; 2] }) // never: it was checked
    }

    /// All tensors.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor> + '_ {
        (0..self.header.tensors).map(|number| self.tensor(number))
    }

    /// A step by its number.
    pub(crate) fn step(&self, number: u32) -> Step {
        self.read_step(number).unwrap_or(Step::Store { input: 0 }) // never: it was checked
    }

    fn read_step(&self, number: u32) -> Result<Step> {
        let at = self.header.steps_at() + number as usize * codec::STEP;
        Step::read(&self.bytes[at..][..codec::STEP]).map_err(|problem| Error::Step { step: number, problem })
    }

    /// All steps in order.
    pub fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        (0..self.header.steps).map(|number| self.step(number))
    }

    /// The name of the node that a step computes, as the network has it; empty where the plan carries none.
    pub fn name(&self, step: u32) -> &'a str {
        let at = self.header.steps_at() + step as usize * codec::STEP;
        let [start, length] = codec::name_of(&self.bytes[at..][..codec::STEP]);
        let names = &self.bytes[self.header.names_at()..];
        let name = names.get(start as usize..).and_then(|rest| rest.get(..length as usize));
        name.and_then(|name| core::str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// `length` bytes of constants from `at`.
    pub(crate) fn constants(&self, at: u32, length: usize) -> &'a [u8] {
        &self.bytes[self.header.constants_at() + at as usize..][..length]
    }

    /// Multiply-accumulates of its convolutions and linear layers for one image.
    pub fn macs(&self) -> u64 {
        self.steps().fold(0, |macs: u64, step| macs.saturating_add(step.macs(self)))
    }
}

/// The name of a step in bytes that begin like a plan, whether or not it passes the checks; for whoever makes plans.
pub fn name_in(bytes: &[u8], step: u32) -> Option<&str> {
    let header = Header::read(bytes).ok()?;
    (step < header.steps).then(|| Model { bytes, header }.name(step))
}
