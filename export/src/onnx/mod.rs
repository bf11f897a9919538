//! ONNX: the messages of the format, and the writer that maps a graph to them.

mod composed;
pub mod proto;
mod write;

pub use write::{CONSTANT_MARK, Options, SUPPORTED_OPSETS, write};

#[cfg(test)]
mod tests;
