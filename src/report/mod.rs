//! Pictures of a run for people who would rather look than read.

mod chart;
mod classes;
mod confusion;
mod dots;
pub mod measures;
pub mod run;

pub use dots::{Dots, dot_plot};

/// Whether a page may hold images of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// Flipped images are shown.
    Shown,
    /// Private data: names only.
    Withheld,
}
