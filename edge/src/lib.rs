//! The engine for devices: a plan of integer and float layers, checked once when it is loaded, then run without a check and
//! without allocating. No `std`, no dependencies; it knows neither ONNX nor JSON nor files.
//!
//! [`Model::load`] reads a plan where it lies and checks every number of it; [`Model::memory`] says how much memory a level
//! wants; [`Model::prepare`] packs constants into it; [`Engine::run`] makes logits of an image. [`Session`] does this with
//! memory of its own, [`Threads`] share a layer's rows out. `attar compile` makes plans; by hand, one that copies its image
//! to its two logits is
//!
//! ```
//! # fn main() -> attar_edge::Result<()> {
//! use attar_edge::plan::{Kind, Said, Step, Tensor, Writer};
//! use attar_edge::{Input, Level, Model};
//!
//! let mut writer = Writer::default();
//! // One pixel of two channels; bytes that mean (byte - 128) / 64.
//! let kind = Kind::Bytes { scale: 1.0 / 64.0, zero: 128 };
//! let image = writer.tensor(Tensor { kind, size: [1, 1, 2], border: 0, offset: 0, life: [0, 1] });
//! writer.step(Step::Load { output: image }, "image");
//! writer.step(Step::Store { input: image }, "logits");
//! let said = Said { input: [2, 1, 1], classes: 2, preprocessing: None, source: [0; 32], arena: 128 };
//! let bytes = writer.finish(said);
//!
//! // In a program for a device, `bytes` are `include_bytes!` and the two arrays static.
//! let model = Model::load(&bytes)?;
//! let level = Level::best();
//! let memory = model.memory(level)?;
//! let (mut packed, mut arena) = (vec![0; memory.packed], vec![0; memory.arena]);
//! let engine = model.prepare(level, &mut packed)?;
//! let mut logits = [0.0; 2];
//! engine.run(Input::Floats(&[0.5, -1.26]), &mut logits, &mut arena)?;
//! assert_eq!(logits, [0.5, -1.265625]);
//! # Ok(())
//! # }
//! ```
//!
//! # What is there
//!
//! Levels `scalar`, `avx2` (exact: no instruction of it saturates), `avx-vnni` and `avx512-vnni`; on little-endian
//! AArch64 `neon` and `neon-dotprod` (without `std`, where the program is compiled for it). One image at a time. Integer
//! layers have the same bits at every level and with any number of threads, those of [`mod@reference`]; floats are the
//! same with any number of threads, and to rounding at every level.
//!
//! What holds, and by which tests: `compile/tests/engine` runs random networks, tampered plans and canaries between tensors at
//! every level that the CPU has; `compile/tests/allocation.rs` counts allocations; `edge/tests/stack.rs` reads the tiles'
//! disassembly for vectors on the stack; `cargo xtask neon` runs this crate's tests on AArch64 CPUs that qemu plays.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod arithmetic;
pub mod error;
#[allow(unsafe_code)]
pub mod layer;
#[allow(unsafe_code)]
mod level;
pub mod plan;
#[cfg(feature = "alloc")]
pub mod reference;
#[allow(unsafe_code)]
mod run;
#[allow(unsafe_code)]
pub mod simple;

pub use error::{Error, Result};
pub use level::Level;
pub use plan::Model;
#[cfg(feature = "alloc")]
pub use run::Session;
#[cfg(feature = "std")]
pub use run::Threads;
pub use run::{Alone, Done, Engine, Input, Memory, Team};
