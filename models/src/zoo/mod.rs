//! The zoo: networks by name.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Graph;

/// A network by name and options; the same text in recipes, cards and `attar models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Name in the zoo, e.g. `resnet20`, `resnet8x4`, `resnet18`, `mobilenet_v2`.
    pub name: String,
    /// Number of classes.
    pub classes: usize,
    /// Shape of one input sample, `[C, H, W]`.
    pub input: [usize; 3],
    /// First layers of an ImageNet-style network: `imagenet` (7x7 stride 2, max pool) or `cifar` (3x3 stride 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// Shortcut of a CIFAR ResNet where shapes change: `a` (subsample, zero channels) or `b` (1x1 convolution).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Shortcut>,
    /// Width multiplier (MobileNetV2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
}

/// First layers of an ImageNet-style network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// 7x7 stride 2 and a max pool.
    Imagenet,
    /// 3x3 stride 1, no pool.
    Cifar,
}

/// Shortcut of a CIFAR ResNet where shapes change (He et al. 2015, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// Subsample and pad with zero channels; no parameters.
    A,
    /// 1x1 convolution and batch norm.
    B,
}

/// Builds a network.
///
/// # Errors
/// An unknown name (with the nearest known one) or an option that this network does not have.
pub fn build(spec: &NetworkSpec) -> Result<Graph> {
    let _ = spec;
    Err(crate::Error::unknown("network", &spec.name, &["resnet20"]))
}
