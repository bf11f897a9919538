//! How a network leaves: the ONNX writer and the bundle, a directory that a device can be given.
//!
//! Nothing here runs a network. [`onnx::write`] maps a graph node by node; [`bundle::write`] joins the model in its
//! formats with labels, preprocessing, reference answers and checksums.

mod error;
pub mod onnx;

pub use error::{Error, Result};
