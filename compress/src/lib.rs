//! Networks made smaller: 8-bit integers after training ("post-training quantisation") and in training.
//!
//! 1. [`prepare`] folds batch norms and takes out what only training needs.
//! 2. [`Placement`] says which operations are computed in integers, and at which values quantisers stand.
//! 3. [`observe`] runs calibration images through the float network and keeps a histogram of each of these values.
//! 4. [`quantise`] chooses scales and zero points, rounds weights and biases, and returns a network with quantisers, which
//!    evaluates here, is written to ONNX as it is, and is compiled to integer steps.
//! 5. [`Latent`] are the floats that such a network learns by, and what rounds them by the same functions after every step.
//! 6. [`exactness`] says whether every runtime must come to the same bits, and if not, because of which node.
//!
//! Arithmetic and layout are those of ONNX's `QuantizeLinear` and `DequantizeLinear` with unsigned 8-bit activations and
//! signed 8-bit weights (U8S8), a scale for each output channel of a weight.

mod adam;
mod adaround;
mod answers;
mod bias;
mod equalise;
mod error;
mod exact;
mod images;
mod latent;
mod layout;
mod levels;
mod moments;
mod norms;
mod observe;
mod placement;
mod prepare;
mod rewrite;
mod sensitivity;
mod synthesise;
mod tune;
mod weights;

pub use adaround::{AdaRound, adaround};
pub use bias::correct_biases;
pub use equalise::{Equalised, equalise};
pub use error::{Error, Result};
pub use exact::{Inexact, exactness};
pub use images::Images;
pub use latent::Latent;
pub use levels::{Calibrator, Levels, Scales};
pub use norms::re_estimate_norms;
pub use observe::{Histogram, Observed, observe};
pub use placement::Placement;
pub use prepare::prepare;
pub use rewrite::{Quantised, Settings, quantise};
pub use sensitivity::{Sensitivity, Share, sensitivity};
pub use synthesise::{Synthesis, Synthesised, synthesise};
pub use tune::{Tuned, Tuning, tune};
