//! Residual networks (He et al. 2015): the CIFAR family and torchvision's ImageNet family.

use super::blocks::{Block, Branch, ConvNorm, Naming, Norm, Residual};
use super::builder::{HeadLayer, Row, build};
use super::options::{self, FamilyOptions, OptionEntry, options};
use super::{Family, NetworkSpec, Shortcut, Stem};
use crate::error::Result;
use crate::graph::Graph;
use crate::op::{Activation, Pool2d};

options! {
    /// Options of the CIFAR family.
    CifarOptions {
        #[doc = "Shortcut where shapes change: `b` (1x1 convolution and batch norm) or `a` (every second row and column, zero channels around, no parameters; He et al. 2015, section 4.2); `b` unless said otherwise, as in RepDistiller and mdistiller."]
        shortcut: Shortcut = Shortcut::B,
    }
}

options! {
    /// Options of torchvision's family.
    ImageNetOptions {
        #[doc = "First layers: `imagenet` (7x7 convolution of stride 2, 3x3 max pool of stride 2) or, for images near 32x32, `cifar` (3x3 convolution of stride 1, no pool; total stride 8); `imagenet` unless said otherwise."]
        stem: Stem = Stem::Imagenet,
    }
}

/// Stage `i` has `blocks[i]` blocks of `widths[i + 1]` channels; `widths[0]` is the stem's.
#[derive(Debug)]
pub(super) struct ResNet {
    branch: Branch,
    widths: Vec<usize>,
    blocks: Vec<usize>,
}

/// A ResNet of `6n + 2` layers for small images; `widths` are those of the stem and of the three stages.
#[derive(Debug)]
pub(super) struct CifarResNet(ResNet);

impl CifarResNet {
    pub(super) fn new(depth: usize, widths: [usize; 4]) -> Self {
        Self(ResNet { branch: Branch::Basic, widths: widths.to_vec(), blocks: vec![(depth - 2) / 6; 3] })
    }
}

impl Family for CifarResNet {
    fn options(&self) -> &'static [OptionEntry] {
        CifarOptions::ENTRIES
    }

    fn build(&self, spec: &NetworkSpec) -> Result<Graph> {
        let CifarOptions { shortcut } = options::read(spec)?;
        self.0.build(spec, Stem::Cifar, shortcut)
    }
}

/// A torchvision ResNet.
#[derive(Debug)]
pub(super) struct ImageNetResNet(ResNet);

impl ImageNetResNet {
    pub(super) fn new(branch: Branch, blocks: [usize; 4]) -> Self {
        Self(ResNet { branch, widths: vec![64, 64, 128, 256, 512], blocks: blocks.to_vec() })
    }
}

impl Family for ImageNetResNet {
    fn options(&self) -> &'static [OptionEntry] {
        ImageNetOptions::ENTRIES
    }

    fn build(&self, spec: &NetworkSpec) -> Result<Graph> {
        let ImageNetOptions { stem } = options::read(spec)?;
        self.0.build(spec, stem, Shortcut::B)
    }
}

impl ResNet {
    /// Stages `layer1`, ... end at the last ReLU of their last block; the head is `fc`.
    fn build(&self, spec: &NetworkSpec, stem: Stem, shortcut: Shortcut) -> Result<Graph> {
        let mut rows = stem_rows(self.widths[0], stem);
        for (stage, (&width, &count)) in self.widths[1..].iter().zip(&self.blocks).enumerate() {
            let name = format!("layer{}", stage + 1);
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let block = Residual { branch: self.branch, width, stride, shortcut };
                let stage = (index + 1 == count).then(|| name.clone());
                rows.push(Row { name: format!("{name}.{index}"), block: block.into(), stage });
            }
        }
        build(spec, rows, vec![("avgpool", HeadLayer::Pool), ("fc", HeadLayer::Linear(spec.classes))])
    }
}

fn stem_rows(channels: usize, stem: Stem) -> Vec<Row> {
    let conv = |kernel, stride| ConvNorm {
        channels,
        kernel,
        stride,
        depthwise: false,
        norm: Norm::DEFAULT,
        activation: Some(Activation::Relu),
        naming: Naming::ResNetStem,
    };
    match stem {
        Stem::Imagenet => {
            let pool = Block::MaxPool(Pool2d::square(3, 2, 1));
            vec![Row::new("stem", conv(7, 2)), Row::new("maxpool", pool)]
        }
        Stem::Cifar => vec![Row::new("stem", conv(3, 1))],
    }
}
