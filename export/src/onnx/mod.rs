//! ONNX: the messages of the format, and the writer that maps a graph to them.

mod numbers;
pub mod proto;
mod windows;
mod write;

pub use write::{CONSTANT_MARK, Options, SUPPORTED_OPSETS, write};

#[cfg(test)]
mod tests;
