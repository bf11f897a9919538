//! Stored soft labels: a teacher's answers to every augmented training image, written once, so that students learn from them
//! without the teacher (the idea of FKD: Shen and Xing 2022, arXiv 2112.01528; there the crops are stored too, here they
//! follow from the seed).
//!
//! A store is a directory: `store.json` ([`Manifest`]) says what the answers are to, `epoch-0001.labels` holds one record a
//! sample. Of many classes only the likeliest are kept, and what is left of the probability is spread over the others.
//! Here is the format; [`labelling`](crate::labelling) asks a teacher and writes.

mod manifest;
mod record;
mod store;

pub use manifest::{AnswersKey, Manifest};
pub(crate) use manifest::{MANIFEST, VERSION, epoch_file};
pub(crate) use record::encode;
pub(crate) use store::Store;
