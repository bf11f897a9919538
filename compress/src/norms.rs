//! Batch norms that are estimated anew in the network of integers (as AIMET does after training in integers; section "BN
//! re-estimation" of Qualcomm's documentation): a norm that was folded into its convolution still divides by the deviation that
//! the convolution had in floats, and rounding has changed that. Our reading for norms that are folded: what a channel's mean
//! and deviation were in floats, they become again in integers, on the same images.

use attar_models::{Graph, Op, Weights};

use crate::error::{Error, Result};
use crate::images::Images;
use crate::layout::whole_bias;
use crate::levels::Scales;
use crate::moments::{Seen, layer_by_layer};
use crate::rewrite::Quantised;
use crate::weights::smallest_scale;

/// A channel whose deviation would change by more than this, up or down, is one of next to no values: it stays as it is.
const MOST_RATIO: f64 = 2.0;

/// Gives each channel of the quantised convolutions, layer after layer, the mean and the deviation that it has in floats, over
/// images and positions: by its scale, which its weights' whole numbers do not see, and its bias. `graph` and `weights` are the
/// prepared network that was quantised. `done` hears how many layers are.
///
/// # Errors
/// Exact scales: powers of two have no room for it. A device that failed.
pub fn re_estimate_norms(
    graph: &Graph,
    weights: &Weights,
    quantised: &mut Quantised,
    images: &Images<'_>,
    done: &mut dyn FnMut(usize),
) -> Result<()> {
    if quantised.settings.scales == Scales::Exact {
        return Err(Error::setting("re-estimation of norms", "moves the scales of weights, and powers of two stay"));
    }
    let is_convolution =
        |name: &str| graph.nodes().iter().any(|node| node.name == name && matches!(node.op, Op::Conv2d(_)));
    let layers = quantised.inputs().into_iter().filter(|(name, _)| is_convolution(name)).collect::<Vec<_>>();
    layer_by_layer((graph, weights), quantised, &layers, images, restore, done)
}

/// Moves scales and biases of a layer, so that what was found becomes what is wanted.
fn restore(quantised: &mut Quantised, layer: &Seen<'_>) -> Result<()> {
    let name = layer.name;
    let channels = |suffix: &str| -> Result<Vec<f32>> {
        let array = quantised.rewritten.weights.get(&format!("{name}.{suffix}"));
        Ok(array.map(|array| array.f32().map(<[f32]>::to_vec)).transpose()?.unwrap_or_default())
    };
    let [mut weight, mut scales, mut biases] = [channels("weight")?, channels("weight_scale")?, channels("bias")?];
    let depth = (weight.len() / scales.len().max(1)).max(1);
    let rows = weight.chunks_mut(depth).zip(scales.iter_mut().zip(&mut biases));
    for ((row, (scale, bias)), (wanted, found)) in rows.zip(layer.wanted.iter().zip(layer.found)) {
        let ratio = wanted.deviation / found.deviation;
        if !(1.0 / MOST_RATIO..=MOST_RATIO).contains(&ratio) {
            continue;
        }
        let next_scale = (f64::from(*scale) * ratio) as f32;
        let next_bias = (wanted.mean - ratio * (found.mean - f64::from(*bias))) as f32;
        // A bias must stay within its integers.
        if next_scale < smallest_scale(next_bias, layer.input, Scales::Free) {
            continue;
        }
        row.iter_mut().for_each(|weight| *weight = (*weight / *scale).round() * next_scale);
        (*scale, *bias) = (next_scale, whole_bias(next_bias, layer.input, next_scale));
    }
    for (suffix, values) in [("weight", weight), ("weight_scale", scales), ("bias", biases)] {
        if let Some(array) = quantised.rewritten.weights.0.get_mut(&format!("{name}.{suffix}")) {
            array.f32_mut()?.copy_from_slice(&values);
        }
    }
    Ok(())
}
