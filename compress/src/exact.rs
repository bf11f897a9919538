//! Whether a quantised network has the same bits in every runtime, however it fuses: a property that is checked node by node.
//!
//! Runtimes compute a quantised network in integers, or in floats as its text says. Both come to the same bits where scales
//! are powers of two (then every product is a whole number times a power of two), where no sum is beyond the 2^24 to which
//! floats hold whole numbers, and where zero points are even (then it is the same whether a runtime rounds before or after it
//! adds them). Weights of 8 bits need a CPU with VNNI or dot products in ONNX Runtime; that is no matter of the file.

use attar_models::op::Pool2d;
use attar_models::quantised::{Integers, integers, moves_numbers, param};
use attar_models::{Activation, Graph, Node, NodeId, Op, Weights};

use crate::error::Result;
use crate::weights::{EXACT_SUM, largest_sum};

/// Operands of a sum may have scales this far apart: then it is a whole number of the smaller within 2^24.
const SCALE_RATIO: f32 = 65536.0;

/// A node at which runtimes may part, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inexact {
    /// Name of the node.
    pub node: String,
    /// What is not exact there.
    pub why: String,
}

/// All nodes of a quantised network at which runtimes may part; none, if every runtime must come to the same bits.
///
/// # Errors
/// Weights that are not those of the graph.
pub fn exactness(graph: &Graph, weights: &Weights) -> Result<Vec<Inexact>> {
    weights.check(graph)?;
    let mut found = Vec::new();
    for (id, node) in graph.iter() {
        if let Some(why) = inexact(graph, weights, id, node)? {
            found.push(Inexact { node: node.name.clone(), why });
        }
    }
    Ok(found)
}

fn inexact(graph: &Graph, weights: &Weights, id: NodeId, node: &Node) -> Result<Option<String>> {
    let scale_of = |at: usize| input_scale(graph, weights, node.inputs[at]);
    Ok(match &node.op {
        Op::Input(_) => None,
        Op::Quantize(_) | Op::Dequantize(_) => {
            let (scale, zero) = (param(weights, node, "scale")?[0], param(weights, node, "zero_point")?[0]);
            match (is_power_of_two(scale), zero % 2.0 == 0.0) {
                (false, _) => Some(format!("its scale {scale} is no power of two")),
                (_, false) => Some(format!("its zero point {zero} is odd")),
                _ => None,
            }
        }
        Op::Conv2d(_) | Op::Linear(_) => layer(graph, weights, id, scale_of(0)?)?,
        Op::Add(_) | Op::Mul(_) => match (scale_of(0)?, scale_of(1)?) {
            (Some(a), Some(b)) if (a / b).max(b / a) <= SCALE_RATIO => None,
            (Some(a), Some(b)) => Some(format!("the scales {a} and {b} of its operands are more than 2^16 apart")),
            _ => Some("computes with floats that were not quantised".to_owned()),
        },
        Op::AvgPool2d(pool) => mean(pool, scale_of(0)?),
        Op::Activation(Activation::Relu | Activation::Relu6) => None,
        Op::Activation(other) => Some(format!("computes {} in floats", other.name())),
        op if moves_numbers(op) => None,
        other => Some(format!("computes {} in floats", other.kind())),
    })
}

/// The scale of the numbers that a value of floats stands for.
fn input_scale(graph: &Graph, weights: &Weights, id: NodeId) -> Result<Option<f32>> {
    let node = graph.node(id);
    match &node.op {
        Op::Dequantize(_) => Ok(param(weights, node, "scale")?.first().copied()),
        op if moves_numbers(op) => input_scale(graph, weights, node.inputs[0]),
        _ => Ok(None),
    }
}

fn layer(graph: &Graph, weights: &Weights, id: NodeId, input: Option<f32>) -> Result<Option<String>> {
    let Some(input) = input else { return Ok(Some("computes with floats that were not quantised".to_owned())) };
    let Some(Integers { weights, bias, scales }) = integers(graph, weights, id, input)? else {
        return Ok(Some("its weight or bias is no whole number of steps".to_owned()));
    };
    if let Some(scale) = scales.iter().find(|scale| !is_power_of_two(**scale)) {
        return Ok(Some(format!("the scale {scale} of a weight is no power of two")));
    }
    let steps: Vec<f32> = weights.iter().map(|weight| f32::from(*weight)).collect();
    let depth = (steps.len() / scales.len().max(1)).max(1);
    let sums = steps.chunks(depth).zip(&bias).map(|(row, bias)| largest_sum(row, f64::from(*bias)));
    let (channel, largest) =
        sums.enumerate().fold((0, 0.0), |most, (at, sum)| if sum > most.1 { (at, sum) } else { most });
    Ok((largest > EXACT_SUM).then(|| format!("sums of its output channel {channel} reach {largest:.3e}, beyond 2^24")))
}

/// Means divide by how many they are of: exact for powers of two; for all else every sum there can be is tried, as integers
/// are requantised, and as floats are divided or multiplied by the inverse. All outputs of that many scales are tried, since
/// halves fall on ties at every one of them alike.
fn mean(pool: &Pool2d, input: Option<f32>) -> Option<String> {
    let Some(scale) = input else { return Some("computes with floats that were not quantised".to_owned()) };
    let count = pool.kernel[0] * pool.kernel[1];
    let padded = [pool.padding, pool.padding_end()] != [[0; 2]; 2] || pool.ceil_mode;
    if padded && !pool.count_include_pad {
        return Some("means of windows that reach beyond the image are of differing numbers of values".to_owned());
    }
    let n = count as f32;
    let parts = (-3i32..=3).any(|shift| {
        let to = scale * (shift as f32).exp2();
        let multiplier = scale / (to * n);
        (0..=255 * count as u32).any(|sum| {
            let sum = sum as f32;
            let fused = (sum * multiplier).round_ties_even();
            let divided = (sum * scale / n / to).round_ties_even();
            let inverse = (sum * scale * (1.0 / n) / to).round_ties_even();
            fused != divided || fused != inverse
        })
    });
    parts.then(|| format!("a mean of {count} values can fall on either side of a tie"))
}

fn is_power_of_two(scale: f32) -> bool {
    scale.is_normal() && scale > 0.0 && scale.to_bits() & 0x007f_ffff == 0
}
