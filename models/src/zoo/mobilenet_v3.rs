//! MobileNetV3-Small (Howard et al. 2019, table 2) with torchvision's structure and names.

use super::blocks::{ConvNorm, InvertedResidual, Naming, Norm, Parts, divisible};
use super::builder::{HeadLayer, Row, build};
use super::options::{self, FamilyOptions, OptionEntry, options};
use super::{Family, NetworkSpec};
use crate::error::Result;
use crate::graph::Graph;
use crate::op::Activation::{self, HardSwish, Relu};

/// Kernel, hidden channels, channels, squeeze-and-excitation, activation, stride: the paper's table 2.
const SMALL: [(usize, usize, usize, bool, Activation, usize); 11] = [
    (3, 16, 16, true, Relu, 2),
    (3, 72, 24, false, Relu, 2),
    (3, 88, 24, false, Relu, 1),
    (5, 96, 40, true, HardSwish, 2),
    (5, 240, 40, true, HardSwish, 1),
    (5, 240, 40, true, HardSwish, 1),
    (5, 120, 48, true, HardSwish, 1),
    (5, 144, 48, true, HardSwish, 1),
    (5, 288, 96, true, HardSwish, 2),
    (5, 576, 96, true, HardSwish, 1),
    (5, 576, 96, true, HardSwish, 1),
];

/// The rows of [`SMALL`] that end a stage: the last of each resolution.
const STAGE_ENDS: [usize; 4] = [0, 2, 7, 10];

/// torchvision's settings of its batch norms.
const NORM: Norm = Norm { eps: 1e-3, momentum: 0.01 };

options! {
    /// Options of MobileNetV3.
    MobileNetV3Options {
        #[doc = "Width multiplier, more than 0 and at most 10; 1 unless said otherwise."]
        width: f64 = 1.0,
        #[doc = "Dropout probability before the classifier; 0.2 unless said otherwise."]
        dropout: f64 = 0.2,
    }
}

#[derive(Debug)]
pub(super) struct MobileNetV3Small;

impl Family for MobileNetV3Small {
    fn options(&self) -> &'static [OptionEntry] {
        MobileNetV3Options::ENTRIES
    }

    /// Stages are named as the torchvision module whose output they are: `features.1`, `features.3`, `features.8`,
    /// `features.11`; each is linear.
    fn build(&self, spec: &NetworkSpec) -> Result<Graph> {
        let MobileNetV3Options { width, dropout } = options::read(spec)?;
        options::check_width(width)?;
        let wide = |channels: usize| divisible(channels as f64 * width);
        let mut rows = vec![Row::new("features.0", conv(wide(16), 3, 2))];
        for (row, (kernel, hidden, channels, squeezes, activation, stride)) in SMALL.into_iter().enumerate() {
            let (hidden, channels, norm) = (wide(hidden), wide(channels), NORM);
            let squeezed = squeezes.then(|| divisible((hidden / 4) as f64));
            let parts = Parts::Block { squeezed };
            let block = InvertedResidual { hidden, channels, kernel, stride, norm, activation, parts };
            let name = format!("features.{}", rows.len());
            let stage = STAGE_ENDS.contains(&row).then(|| name.clone());
            rows.push(Row { name, block: block.into(), stage });
        }
        rows.push(Row::new(format!("features.{}", rows.len()), conv(6 * wide(96), 1, 1)));
        let head = vec![
            ("avgpool", HeadLayer::Pool),
            ("classifier.0", HeadLayer::Linear(wide(1024))),
            ("classifier.1", HeadLayer::Activation(HardSwish)),
            ("classifier.2", HeadLayer::Dropout(dropout)),
            ("classifier.3", HeadLayer::Linear(spec.classes)),
        ];
        build(spec, rows, head)
    }
}

fn conv(channels: usize, kernel: usize, stride: usize) -> ConvNorm {
    let (norm, activation) = (NORM, Some(HardSwish));
    ConvNorm { channels, kernel, stride, depthwise: false, norm, activation, naming: Naming::Numbered }
}
