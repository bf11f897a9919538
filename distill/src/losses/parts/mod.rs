//! What methods share: operations that Candle differentiates in one node, rows of logits, maps and their pairs, connectors.
//! A part knows no method.

pub(super) mod class_weights;
pub mod contrast;
pub mod differentiable;
pub(super) mod embedding;
pub mod logits;
pub mod maps;
pub(super) mod pairs;
pub(super) mod regressor;
pub(super) mod softmax;
