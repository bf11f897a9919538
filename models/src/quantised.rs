//! What quantised networks have in common, whoever reads them: which operations only move whole numbers about, and the
//! integers of a layer.
//!
//! A layer that is `quantized` holds its weight as floats that are whole numbers times `weight_scale`, so that whoever
//! computes in floats needs to know nothing; its bias is a whole number of steps of the input's scale times the weight's.

use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId};
use crate::op::Op;
use crate::weights::Weights;

/// Whether an operation's outputs are some of its inputs' numbers, so that it does the same to numbers of 8 bits as to what
/// they stand for. Zeros around an image are the number 0.
pub fn moves_numbers(op: &Op) -> bool {
    matches!(
        op,
        Op::MaxPool2d(_)
            | Op::Flatten(_)
            | Op::Dropout(_)
            | Op::StochasticDepth(_)
            | Op::Reshape(_)
            | Op::Concat(_)
            | Op::SliceChannels(_)
            | Op::ChannelShuffle(_)
            | Op::Subsample(_)
            | Op::Pad2d(_)
            | Op::PadChannels(_)
    )
}

/// A quantised layer's weights, biases and scales, in integers.
#[derive(Debug, Clone, PartialEq)]
pub struct Integers {
    /// `[output][input][row][column]`, as the network has them.
    pub weights: Vec<i8>,
    /// One for each output channel, in steps of the input's scale times the weight's; zeros where the layer has none.
    pub bias: Vec<i32>,
    /// A step of the weight for each output channel.
    pub scales: Vec<f32>,
}

/// The integers of a convolution or linear layer whose input has steps of `input`; `None` where it is not quantised, or where
/// weight or bias are no whole steps.
///
/// # Errors
/// [`Error::Node`] where its parameters are not there as floats.
pub fn integers(graph: &Graph, weights: &Weights, id: NodeId, input: f32) -> Result<Option<Integers>> {
    let node = graph.node(id);
    let (quantized, has_bias) = match &node.op {
        Op::Conv2d(conv) => (conv.quantized, conv.bias),
        Op::Linear(linear) => (linear.quantized, linear.bias),
        _ => return Ok(None),
    };
    if !quantized {
        return Ok(None);
    }
    let (floats, scales) = (param(weights, node, "weight")?, param(weights, node, "weight_scale")?);
    let depth = floats.len() / scales.len().max(1);
    let mut whole = Vec::with_capacity(floats.len());
    for (at, float) in floats.iter().enumerate() {
        let scale = scales[at / depth.max(1)];
        match steps(*float, f64::from(scale)).and_then(|steps| i8::try_from(steps).ok()) {
            Some(step) if f32::from(step) * scale == *float => whole.push(step),
            _ => return Ok(None),
        }
    }
    let floats = if has_bias { param(weights, node, "bias")? } else { &[] };
    let mut bias = vec![0; scales.len()];
    for ((bias, float), scale) in bias.iter_mut().zip(floats).zip(scales) {
        match steps(*float, f64::from(input) * f64::from(*scale)) {
            Some(steps) => *bias = steps,
            None => return Ok(None),
        }
    }
    Ok(Some(Integers { weights: whole, bias, scales: scales.to_vec() }))
}

/// The numbers of one parameter of a node.
///
/// # Errors
/// [`Error::Node`] where it is not there as floats.
pub fn param<'w>(weights: &'w Weights, node: &Node, suffix: &str) -> Result<&'w [f32]> {
    let array = weights.get(&format!("{}.{suffix}", node.name));
    let floats = array.and_then(|array| array.f32().ok());
    floats.ok_or_else(|| {
        let problem = format!("its {suffix} is not there as floats");
        Error::Node { node: node.name.clone(), problem }
    })
}

/// How many steps a float is, if it is a whole number of them to the precision of floats.
fn steps(float: f32, step: f64) -> Option<i32> {
    let steps = f64::from(float) / step;
    let whole = steps.round_ties_even();
    let off = (steps - whole).abs();
    // A product of three floats is off by three roundings at most.
    (off <= 1e-3_f64.max(whole.abs() * 3e-7) && whole.abs() < 2_147_483_648.0).then_some(whole as i32)
}
