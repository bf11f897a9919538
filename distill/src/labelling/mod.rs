//! Soft labels written: a plan's teacher is asked about every augmented training image, and a store of before learns to name
//! its images.

mod stamp;
mod write;

pub use stamp::{Stamped, stamp};
pub use write::{Progress, write};
