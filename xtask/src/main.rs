//! Chores: tests, ONNX Runtime, distribution.
fn main() {}
