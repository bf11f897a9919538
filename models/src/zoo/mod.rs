//! The zoo: networks by name.

mod blocks;
mod builder;
mod mobilenet_v2;
mod mobilenet_v3;
mod options;
mod resnet;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::Graph;
use blocks::Branch;
use mobilenet_v2::MobileNetV2;
use mobilenet_v3::MobileNetV3Small;
use resnet::{CifarResNet, ImageNetResNet};

pub use options::{OptionEntry, Options};

/// A network by name and options; the same text in recipes, cards and `attar models`.
///
/// It is how a network was *made*, not what it is: a saved network is its graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Name in the zoo, e.g. `resnet20`, `resnet8x4`, `resnet18`, `mobilenet_v2`.
    pub name: String,
    /// Number of classes.
    pub classes: usize,
    /// Shape of one input sample, `[C, H, W]`.
    pub input: [usize; 3],
    /// Options of its family, where they are not the usual ones; [`build`] checks them.
    #[serde(flatten)]
    pub options: Options,
}

impl NetworkSpec {
    /// A network with every option at its default. Nothing is checked before [`build`].
    pub fn new(name: impl Into<String>, classes: usize, input: [usize; 3]) -> Self {
        Self { name: name.into(), classes, input, options: Options::default() }
    }

    /// The same network with one option set.
    #[must_use]
    pub fn with(mut self, option: &str, value: impl Serialize) -> Self {
        self.options.set(option, value);
        self
    }
}

/// First layers of an ImageNet-style network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// As in torchvision. ResNets: 7x7 convolution of stride 2 and a 3x3 max pool of stride 2.
    #[default]
    Imagenet,
    /// For images near 32x32. ResNets: 3x3 convolution of stride 1, no pool (total stride 8). MobileNetV2: stride 1
    /// in `features.0` and `features.2` (total stride 8).
    Cifar,
}

/// Shortcut of a CIFAR ResNet where shapes change (He et al. 2015, section 4.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// Every second row and column, zero channels added half before and half after; no parameters.
    A,
    /// 1x1 convolution and batch norm.
    #[default]
    B,
}

/// A network of the zoo, with the input and classes of the data set it is known for.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name, as in [`NetworkSpec::name`].
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Usual input, `[C, H, W]`; others are fine.
    pub input: [usize; 3],
    /// Usual number of classes.
    pub classes: usize,
    family: Arc<dyn Family>,
}

/// Networks that are built alike and have the same options.
trait Family: Debug + Send + Sync {
    /// The options it has.
    fn options(&self) -> &'static [OptionEntry];

    /// Builds the graph of `spec`, whose name is known and whose sizes are sound.
    fn build(&self, spec: &NetworkSpec) -> Result<Graph>;
}

impl Entry {
    /// The network with its usual input and classes and default options.
    pub fn spec(&self) -> NetworkSpec {
        NetworkSpec::new(self.name, self.classes, self.input)
    }

    /// The options it has, with what they do.
    pub fn options(&self) -> &'static [OptionEntry] {
        self.family.options()
    }

    /// Whether it has an option of this name.
    pub fn has(&self, option: &str) -> bool {
        self.options().iter().any(|entry| entry.name == option)
    }
}

/// All networks, in the order in which `attar models` shows them.
pub fn catalog() -> Vec<Entry> {
    let slim = [16, 16, 32, 64];
    let wide = [32, 64, 128, 256];
    vec![
        cifar("resnet8", 8, slim),
        cifar("resnet14", 14, slim),
        cifar("resnet20", 20, slim),
        cifar("resnet32", 32, slim),
        cifar("resnet44", 44, slim),
        cifar("resnet56", 56, slim),
        cifar("resnet110", 110, slim),
        cifar("resnet8x4", 8, wide),
        cifar("resnet32x4", 32, wide),
        imagenet("resnet18", Branch::Basic, [2, 2, 2, 2]),
        imagenet("resnet34", Branch::Basic, [3, 4, 6, 3]),
        imagenet("resnet50", Branch::Bottleneck, [3, 4, 6, 3]),
        imagenet("resnet101", Branch::Bottleneck, [3, 4, 23, 3]),
        imagenet("resnet152", Branch::Bottleneck, [3, 8, 36, 3]),
        Entry {
            name: "mobilenet_v2",
            about: "MobileNetV2 (Sandler et al. 2018): inverted residuals, depthwise convolutions",
            input: [3, 224, 224],
            classes: 1000,
            family: Arc::new(MobileNetV2),
        },
        Entry {
            name: "mobilenet_v3_small",
            about: "MobileNetV3-Small (Howard et al. 2019): squeeze-and-excitation, hard-swish",
            input: [3, 224, 224],
            classes: 1000,
            family: Arc::new(MobileNetV3Small),
        },
    ]
}

/// A ResNet of the CIFAR family.
fn cifar(name: &'static str, depth: usize, widths: [usize; 4]) -> Entry {
    let about = if widths[1] == 16 {
        "CIFAR ResNet (He et al. 2015), 16-32-64 channels"
    } else {
        "CIFAR ResNet of the distillation benchmark, 64-128-256 channels"
    };
    Entry { name, about, input: [3, 32, 32], classes: 100, family: Arc::new(CifarResNet::new(depth, widths)) }
}

/// A torchvision ResNet.
fn imagenet(name: &'static str, branch: Branch, blocks: [usize; 4]) -> Entry {
    let about = match branch {
        Branch::Basic => "ImageNet ResNet (He et al. 2015), basic blocks",
        Branch::Bottleneck => "ImageNet ResNet (He et al. 2015), bottleneck blocks with the stride in the 3x3",
    };
    Entry { name, about, input: [3, 224, 224], classes: 1000, family: Arc::new(ImageNetResNet::new(branch, blocks)) }
}

/// Builds a network.
///
/// # Errors
/// An unknown name (with the nearest known one), an option that this network does not have, or a size that makes no
/// network.
pub fn build(spec: &NetworkSpec) -> Result<Graph> {
    let entries = catalog();
    let Some(entry) = entries.iter().find(|entry| entry.name == spec.name) else {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        return Err(Error::unknown("network", &spec.name, &names));
    };
    check_sizes(spec)?;
    entry.family.build(spec)
}

/// Refuses what would overflow or allocate without end: a spec may come from a file that somebody else wrote.
fn check_sizes(spec: &NetworkSpec) -> Result<()> {
    const MAX_CLASSES: usize = 1_000_000;
    const MAX_CHANNELS: usize = 4096;
    const MAX_EDGE: usize = 16_384;
    if spec.classes == 0 || spec.classes > MAX_CLASSES {
        return Err(Error::Setting {
            setting: "classes",
            problem: format!("{}, expected 1 to {MAX_CLASSES}", spec.classes),
        });
    }
    let [c, h, w] = spec.input;
    if c == 0 || c > MAX_CHANNELS || [h, w].iter().any(|edge| *edge == 0 || *edge > MAX_EDGE) {
        let problem =
            format!("{:?}, expected [channels 1 to {MAX_CHANNELS}, height and width 1 to {MAX_EDGE}]", spec.input);
        return Err(Error::Setting { setting: "input", problem });
    }
    Ok(())
}
