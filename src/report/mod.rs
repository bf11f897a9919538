//! Pictures of a run for people who would rather look than read.

mod chart;
mod classes;
mod confusion;
pub(crate) mod dots;
pub(crate) mod measures;
pub(crate) mod run;

/// Whether a page may hold images of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Images {
    /// Flipped images are shown.
    Shown,
    /// Private data: names only.
    Withheld,
}
