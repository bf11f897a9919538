//! How a network leaves: the bundle, a directory that a device can be given.
//!
//! Nothing here runs a network. [`write_bundle`] joins the model in its
//! formats with labels, preprocessing, reference answers and checksums.

pub mod bundle;
mod error;
mod source;

pub use bundle::write_bundle;
pub use error::{Error, Result};
pub use source::{Goldens, Network, Source};
