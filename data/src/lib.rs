//! What a network eats: data sets, augmentation, batches.
//!
//! A [`Source`] in a recipe opens into [`Splits`] of [`Dataset`]s; a [`Dataset`] gives images of 8-bit pixels
//! ([`attar_pixels::Image`]) and labels; [`train_batch`] and [`eval_batch`] make the network's input of many in
//! parallel, as [`attar_pixels::preprocess()`] does of one. Everything random is keyed by (seed, epoch, sample),
//! so the same batch has the same bits for any number of threads.

mod aligned;
mod augment;
mod batch;
mod calibration;
mod check;
mod cifar;
pub mod corrupt;
mod dataset;
mod error;
pub mod fetch;
mod files;
mod fingerprint;
mod folder;
mod idx;
mod lead;
pub mod measure;
mod sampling;
mod scan;
mod source;
mod turn;

pub use augment::{Augment, ColourJitter, Draw, Fill, Moves, Paint, RandAugment, RandomErasing, Sampling};
pub use batch::{Batch, Pipeline, eval_batch, train_batch};
pub use calibration::CalibrationImages;
pub use check::{Duplicate, Report, SplitReport, check};
pub use dataset::{Dataset, InMemory, Splits};
pub use error::{Error, Result};
pub use fingerprint::{fingerprint, pixel_hashes};
pub use folder::{Finding, LeftOut, Survey};
pub use lead::Lead;
pub use sampling::{balanced_order, epoch_order, hold_out};
pub use scan::{Cache, Hashed, Scan, Seen, cache_folder, scan};
pub use source::Source;
pub use turn::{in_turn, spread_in_turn};
