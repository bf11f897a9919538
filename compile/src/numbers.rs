//! Parameters of nodes as the engine wants them.

use attar_edge::arithmetic::{multiplier, scaled_multiplier};
use attar_models::quantised::{Integers, param};
use attar_models::{Node, Weights};

use crate::error::{Error, Result};

/// Step and zero point of quantised numbers. The engine's bytes are unsigned: signed ones are shifted by 128.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Levels {
    pub(crate) scale: f32,
    pub(crate) zero: u8,
    /// What was added to signed numbers.
    pub(crate) shift: u8,
}

/// What a quantiser's numbers are.
pub(crate) fn levels_of(weights: &Weights, node: &Node, signed: bool) -> Result<Levels> {
    let first = |suffix: &str| Ok::<f32, Error>(param(weights, node, suffix)?.first().copied().unwrap_or_default());
    let (scale, zero) = (first("scale")?, first("zero_point")?);
    let shift = if signed { 128 } else { 0 };
    let shifted = zero as i32 + i32::from(shift);
    let zero = u8::try_from(shifted)
        .map_err(|_| Error::node(&node.name, format!("its zero point {zero} is no 8-bit number")))?;
    Ok(Levels { scale, zero, shift })
}

/// Weight of a convolution or linear layer as `[output][row][column][input]`, from `[output][input][row][column]`.
pub(crate) fn channels_last<T: Copy>(values: &[T], outputs: usize, inputs: usize, area: usize) -> Vec<T> {
    let depth = inputs * area;
    let places = (0..outputs).flat_map(|output| {
        (0..area).flat_map(move |tap| (0..inputs).map(move |input| output * depth + input * area + tap))
    });
    places.map(|place| values[place]).collect()
}

pub(crate) fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// What [`float_bytes`] made bytes of.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Multipliers of a layer's sums, in the engine's order.
pub(crate) fn multipliers(input: f32, weights: &[f32], output: f32) -> Vec<f32> {
    weights.iter().map(|weight| multiplier(input, *weight, output)).collect()
}

/// Multipliers of a layer's sums that become floats; `None` where a sum can be beyond 32 bits, or a multiplier is no number
/// of full precision.
pub(crate) fn scaled_multipliers(input: f32, integers: &Integers) -> Option<Vec<f32>> {
    let depth = integers.weights.len() / integers.bias.len().max(1);
    let fits = |(weights, bias): (&[i8], &i32)| {
        let products: i64 = weights.iter().map(|weight| i64::from(weight.unsigned_abs()) * 255).sum();
        products + i64::from(*bias).abs() <= i64::from(i32::MAX)
    };
    let multipliers: Vec<f32> = integers.scales.iter().map(|weight| scaled_multiplier(input, *weight)).collect();
    let all = integers.weights.chunks_exact(depth.max(1)).zip(&integers.bias).all(fits);
    (all && multipliers.iter().all(|multiplier| multiplier.is_normal())).then_some(multipliers)
}

/// Keeps sums of a layer within 32 bits: where a bias is so large that some image could lead beyond, it becomes the largest
/// that none does. ONNX Runtime's quantiser writes such biases for channels whose weights are next to nothing.
///
/// # Errors
/// The output channel where that would move the answer by more than a sixteenth of a step, or where the weights alone are
/// too many.
pub(crate) fn bounded(integers: &mut Integers, multipliers: &[f32]) -> std::result::Result<(), usize> {
    let depth = integers.weights.len() / integers.bias.len().max(1);
    for (channel, weights) in integers.weights.chunks_exact(depth.max(1)).enumerate() {
        let products: i64 = weights.iter().map(|weight| i64::from(weight.unsigned_abs()) * 255).sum();
        let bias = i64::from(integers.bias[channel]);
        let most = i64::from(i32::MAX) - products;
        let kept = bias.clamp(-most.max(0), most.max(0));
        let moved = (bias - kept).abs() as f64 * f64::from(multipliers[channel]).abs();
        if most < 0 || moved > 1.0 / 16.0 {
            return Err(channel);
        }
        integers.bias[channel] = kept as i32;
    }
    Ok(())
}
