//! Rows of blocks to a graph: the one builder of every family.

use super::NetworkSpec;
use super::blocks::Block;
use crate::error::Result;
use crate::graph::{Graph, GraphBuilder, NodeId};
use crate::op::{Activation, Dropout, GlobalAvgPool, Linear, Op};

/// A block under a name, which is torchvision's, and the stage that ends with it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) block: Block,
    pub(super) stage: Option<String>,
}

impl Row {
    /// A block that ends no stage.
    pub(super) fn new(name: impl Into<String>, block: impl Into<Block>) -> Self {
        Self { name: name.into(), block: block.into(), stage: None }
    }
}

/// A layer behind the last block; features from the mean over each channel on.
#[derive(Debug)]
pub(super) enum HeadLayer {
    /// `[C, H, W] -> [C]`.
    Pool,
    /// Dropout with this probability.
    Dropout(f64),
    /// Linear with bias, to this many features.
    Linear(usize),
    /// Element by element.
    Activation(Activation),
}

/// Builds the rows one behind the other, then the head.
pub(super) fn build(spec: &NetworkSpec, rows: Vec<Row>, head: Vec<(&'static str, HeadLayer)>) -> Result<Graph> {
    let (mut b, mut x) = GraphBuilder::new(spec.name.as_str(), spec.input)?;
    for row in rows {
        x = row.block.add(&mut b, &row.name, x)?;
        if let Some(stage) = row.stage {
            b.stage(stage, x);
        }
    }
    for (name, layer) in head {
        x = add_head_layer(&mut b, name, &layer, x)?;
    }
    Ok(b.finish(x))
}

fn add_head_layer(b: &mut GraphBuilder, name: &str, layer: &HeadLayer, x: NodeId) -> Result<NodeId> {
    let op = match *layer {
        HeadLayer::Pool => Op::GlobalAvgPool(GlobalAvgPool {}),
        HeadLayer::Dropout(p) => Op::Dropout(Dropout { p }),
        HeadLayer::Activation(activation) => Op::Activation(activation),
        HeadLayer::Linear(out_features) => {
            Op::Linear(Linear { in_features: b.shape(x)[0], out_features, bias: true, quantized: false })
        }
    };
    b.add(name, op, &[x])
}
