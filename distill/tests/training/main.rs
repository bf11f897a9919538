//! Training from a recipe to a finished run directory, on a data set that the test makes: what is refused before the
//! first batch, what comes out, and that a killed run ends with the same bits.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod diverge;
mod integers;
mod labels;
mod learn;
mod leave;
mod logits;
mod peers_and_views;
mod places;
mod resident;
mod resume;
mod scene;
mod schemes;
mod sight;
mod start;
mod teachers;
mod tune;
mod wrong;
