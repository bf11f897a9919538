//! Does the file on the small computer decide like the network that was trained?
pub mod interval;
mod verdict;
mod calibration;
pub use verdict::Verdict;
