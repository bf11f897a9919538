//! How pixels become the network's input, as data: what a card, a recipe and a bundle say of it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::scale;
use crate::size::{pair, pair_if_any};

/// How pixels become the network's input, in evaluation and on the device: one description, one
/// implementation ([`preprocess`](crate::preprocess())), in the order of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Channels of the input: 1 (grey) or 3 (RGB). Grey images are repeated, colour images weighted
    /// (ITU-R 601) to fit.
    pub channels: usize,
    /// Resize before the crop, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Centre crop `[height, width]` after the resize, if any; smaller images are padded with zeros
    /// as torchvision does.
    #[serde(default, deserialize_with = "pair_if_any", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::Pair>"))]
    pub crop: Option<[usize; 2]>,
    /// Per-channel mean of pixel values scaled to 0..1.
    pub mean: Vec<f32>,
    /// Per-channel standard deviation of pixel values scaled to 0..1.
    pub std: Vec<f32>,
}

/// A resize to a target with PIL's antialiased filters. It may be written as one number, the
/// shorter edge, or as `[height, width]`; then it is bilinear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resize {
    /// Target size.
    pub to: ResizeTo,
    /// Filter.
    pub interpolation: Interpolation,
}

/// What a resize aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ResizeTo {
    /// The shorter edge gets this length in pixels, the other follows the aspect ratio (rounded
    /// down, as torchvision).
    ShorterEdge(usize),
    /// Exactly `[height, width]`; one number may stand for both.
    Exact(
        #[serde(deserialize_with = "pair")]
        #[cfg_attr(feature = "schema", schemars(with = "crate::Pair"))]
        [usize; 2],
    ),
}

/// Resampling filter, with PIL's definitions (support grows with the scale when shrinking).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// Triangle filter; PIL's `BILINEAR`.
    Bilinear,
    /// Cubic filter with a = -0.5; PIL's `BICUBIC`.
    Bicubic,
}

impl Preprocessing {
    /// Scaling to 0..1 and normalisation only; for images that already have the network's size.
    pub fn normalise(mean: Vec<f32>, std: Vec<f32>) -> Self {
        Self { channels: mean.len(), resize: None, crop: None, mean, std }
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        let fail = |problem: String| Err(Error::Setting { setting: "preprocessing", problem });
        if self.channels != 1 && self.channels != 3 {
            return fail(format!("channels = {}, expected 1 or 3", self.channels));
        }
        if self.mean.len() != self.channels || self.std.len() != self.channels {
            return fail(format!(
                "{} means and {} standard deviations for {} channels",
                self.mean.len(),
                self.std.len(),
                self.channels
            ));
        }
        if let Some(problem) = scale::problem(&self.mean, &self.std) {
            return fail(problem);
        }
        let zero = match self.resize.map(|resize| resize.to) {
            Some(ResizeTo::ShorterEdge(edge)) => edge == 0,
            Some(ResizeTo::Exact(size)) => size.contains(&0),
            None => false,
        };
        if zero || self.crop.is_some_and(|crop| crop.contains(&0)) {
            return fail("a size of 0".to_owned());
        }
        Ok(())
    }
}
