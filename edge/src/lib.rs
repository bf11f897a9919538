//! The engine for devices: a plan of integer and float layers, checked once when it is loaded, then run without a check and
//! without allocating. No `std`, no dependencies; it knows neither ONNX nor JSON nor files.
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
