//! The engine for devices: a plan of integer and float layers, checked once when it is loaded, then run without a check and
//! without allocating. No `std`, no dependencies; it knows neither ONNX nor JSON nor files.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod arithmetic;
#[allow(unsafe_code)]
pub mod layer;
#[allow(unsafe_code)]
mod level;
#[cfg(feature = "alloc")]
pub mod reference;
#[allow(unsafe_code)]
pub mod simple;

pub use level::Level;
