//! A model that takes pixels and gives classes, and how it compares with what it is made of.

use serde::{Deserialize, Serialize};

/// An ONNX file with preprocessing in front of a bundle's model and its best classes behind: `image` `uint8`
/// `[height, width, C]` in, `probabilities` and `classes` `[k]` out. It lies in the bundle beside the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EndToEndModel {
    /// Path in the bundle, e.g. `model.end-to-end.onnx`.
    pub file: String,
    /// sha256 of the bundle's model that it was made from.
    pub made_from: String,
    /// How many classes it gives.
    pub top: usize,
    /// How it compared when it was made.
    pub compared: Compared,
}

/// How a model with its preprocessing compares with the same in two steps, in one runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Compared {
    /// Name of the runtime that ran both.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// Images: the goldens, and seeded ones of several sizes.
    pub images: usize,
    /// Of them, goldens.
    pub goldens: usize,
    /// Largest difference of a preprocessed pixel, in steps of 255.
    pub pixel_max_diff: f64,
    /// Share of the pixels that differ by half a step or more, 0 to 1.
    pub pixels_off: f64,
    /// Images whose first class is another one.
    pub flips: usize,
    /// Largest difference of a probability of the classes that are given.
    pub probability_max_diff: f64,
}
