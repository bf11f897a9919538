//! What a network eats: datasets, decoding, preprocessing, augmentation, batches.

mod error;

pub use error::{Error, Result};
