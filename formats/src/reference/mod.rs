//! Reference answers: what the very weights that are exported answer, before folding, so that every
//! runtime can be held against the trainer. A folder `reference/` in a run and in its bundle.

mod attacks;
mod goldens;
mod predictions;

pub use attacks::Attacks;
pub use goldens::{GoldenKind, Goldens};
pub use predictions::{Answer, Predictions, Split};

/// Best logits kept of each image.
pub const TOP: usize = 5;

/// All logits of an image are kept up to so many classes.
pub const FULL_LOGITS: usize = 100;
