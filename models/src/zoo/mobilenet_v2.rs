//! MobileNetV2 (Sandler et al. 2018) with torchvision's structure and names.

use super::blocks::{ConvNorm, InvertedResidual, Naming, Norm, Parts, divisible};
use super::builder::{HeadLayer, Row, build};
use super::options::{self, FamilyOptions, OptionEntry, options};
use super::{Family, NetworkSpec, Stem};
use crate::error::Result;
use crate::graph::Graph;
use crate::op::Activation;

/// Expansion, channels, number of blocks, stride of the first one (the paper's table 2).
const SETTINGS: [[usize; 4]; 7] =
    [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];

/// The rows of [`SETTINGS`] whose last block ends a stage: the last of each resolution, before the stride grows.
const STAGE_ENDS: [usize; 4] = [1, 2, 4, 6];

options! {
    /// Options of MobileNetV2.
    MobileNetV2Options {
        #[doc = "First layers: `imagenet` as in torchvision, or `cifar` for images near 32x32, with stride 1 in `features.0` and `features.2` (total stride 8); `imagenet` unless said otherwise."]
        stem: Stem = Stem::Imagenet,
        #[doc = "Width multiplier, more than 0 and at most 10; 1 unless said otherwise."]
        width: f64 = 1.0,
        #[doc = "Dropout probability before the classifier; 0.2 unless said otherwise."]
        dropout: f64 = 0.2,
    }
}

#[derive(Debug)]
pub(super) struct MobileNetV2;

impl Family for MobileNetV2 {
    fn options(&self) -> &'static [OptionEntry] {
        MobileNetV2Options::ENTRIES
    }

    /// Stages are named as the torchvision module whose output they are: `features.3`, `features.6`, `features.13`,
    /// `features.17`; each is linear (no ReLU6 at its end).
    fn build(&self, spec: &NetworkSpec) -> Result<Graph> {
        let MobileNetV2Options { stem, width, dropout } = options::read(spec)?;
        options::check_width(width)?;
        // The two strides that the usual CIFAR adaptation sets to 1.
        let first_stride = match stem {
            Stem::Imagenet => 2,
            Stem::Cifar => 1,
        };
        let mut inside = divisible(32.0 * width);
        let mut rows = vec![Row::new("features.0", conv(inside, 3, first_stride))];
        for (setting, [expansion, channels, count, stride]) in SETTINGS.into_iter().enumerate() {
            let channels = divisible(channels as f64 * width);
            for repeat in 0..count {
                let stride = match (repeat, setting) {
                    (0, 1) => first_stride,
                    (0, _) => stride,
                    _ => 1,
                };
                let (norm, activation) = (Norm::DEFAULT, Activation::Relu6);
                let hidden = inside * expansion;
                let block =
                    InvertedResidual { hidden, channels, kernel: 3, stride, norm, activation, parts: Parts::Conv };
                rows.push(Row::new(format!("features.{}", rows.len()), block));
                inside = channels;
            }
            if let (true, Some(last)) = (STAGE_ENDS.contains(&setting), rows.last_mut()) {
                last.stage = Some(last.name.clone());
            }
        }
        rows.push(Row::new(format!("features.{}", rows.len()), conv(divisible(1280.0 * width.max(1.0)), 1, 1)));
        let head = vec![
            ("avgpool", HeadLayer::Pool),
            ("classifier.0", HeadLayer::Dropout(dropout)),
            ("classifier.1", HeadLayer::Linear(spec.classes)),
        ];
        build(spec, rows, head)
    }
}

fn conv(channels: usize, kernel: usize, stride: usize) -> ConvNorm {
    let (norm, activation) = (Norm::DEFAULT, Some(Activation::Relu6));
    ConvNorm { channels, kernel, stride, depthwise: false, norm, activation, naming: Naming::Numbered }
}
