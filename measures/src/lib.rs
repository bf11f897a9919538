//! What numbers say: probabilities, calibration, accuracies and their intervals; and keyed
//! randomness.
//!
//! Every measure of the project has its one home here, on slices, in `f64`, so that training,
//! certificates and comparisons mean the same by it. Nothing here knows a tensor, a network or a
//! file.
//!
//! ```
//! use attar_measures::{Counts, Tally, score_interval};
//!
//! let mut tally = Tally::new(2);
//! tally.add(&[2.0, -1.0], 0)?;
//! tally.add(&[0.5, 0.1], 1)?;
//! assert_eq!(tally.measures().map(|measures| measures.top1), Some(50.0));
//!
//! // Of 1,000 images two classifiers were right alone about 3 and 9.
//! let interval = score_interval(&Counts { gained: 3.0, lost: 9.0, n: 1000.0 });
//! assert!(interval.low < -0.006 && interval.high > -0.006);
//! # Ok::<(), attar_measures::Error>(())
//! ```

mod confidence;
mod error;
mod interval;
mod logits;
pub mod random;
mod spread;
mod tally;
#[cfg(test)]
mod tests;

pub use confidence::{BINS, brier_score, calibration_error, risk_coverage_area};
pub use error::{Error, Result};
pub use interval::{CONFIDENCE, Counts, Interval, mcnemar_exact, score_interval, wilson_interval};
pub use logits::{argmax, log_softmax, log_sum_exp, softmax, top};
pub use spread::{MeanSd, median, nearest_rank, percent};
pub use tally::{Comparison, Likeness, Measures, Tally};
