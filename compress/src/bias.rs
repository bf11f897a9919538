//! Bias correction: rounding moves the mean of what a layer makes, and its bias takes that back (Nagel et al. 2019, "Data-Free
//! Quantization", section 4.2, the empirical form: means over images).

use attar_models::{Graph, Weights};

use crate::error::Result;
use crate::images::Images;
use crate::layout::whole_bias;
use crate::levels::Scales;
use crate::moments::{Seen, layer_by_layer};
use crate::rewrite::Quantised;
use crate::weights::{EXACT_SUM, largest_sum};

/// Corrects the biases of all quantised layers in execution order, each with all before it corrected: a bias takes up what the
/// mean of its channel, over images and positions, is less than that of the network in floats. `graph` and `weights` are the
/// prepared network that was quantised. Biases stay whole numbers of steps, and with exact scales sums stay within floats.
/// `done` hears how many layers are.
///
/// # Errors
/// A device that failed.
pub fn correct_biases(
    graph: &Graph,
    weights: &Weights,
    quantised: &mut Quantised,
    images: &Images<'_>,
    done: &mut dyn FnMut(usize),
) -> Result<()> {
    let layers = quantised.inputs();
    let change = |quantised: &mut Quantised, layer: &Seen<'_>| {
        let missing = layer.wanted.iter().zip(layer.found).map(|(wanted, found)| wanted.mean - found.mean);
        shift(quantised, layer.name, layer.input, &missing.collect::<Vec<f64>>())
    };
    layer_by_layer((graph, weights), quantised, &layers, images, change, done)
}

/// Adds to the biases of a layer.
fn shift(quantised: &mut Quantised, name: &str, input: f32, by: &[f64]) -> Result<()> {
    let exact = quantised.settings.scales == Scales::Exact;
    let weights = &mut quantised.rewritten.weights;
    let floats = |suffix: &str| -> Result<Vec<f32>> {
        let array = weights.get(&format!("{name}.{suffix}"));
        Ok(array.map(|array| array.f32().map(<[f32]>::to_vec)).transpose()?.unwrap_or_default())
    };
    let (weight, scales, bias) = (floats("weight")?, floats("weight_scale")?, floats("bias")?);
    let depth = (weight.len() / scales.len().max(1)).max(1);
    let moved = bias.iter().zip(&scales).zip(by).zip(weight.chunks(depth));
    let moved = moved.map(|(((bias, scale), by), row)| {
        let next = whole_bias((f64::from(*bias) + by) as f32, input, *scale);
        let steps: Vec<f32> = row.iter().map(|weight| weight / scale).collect();
        let most = largest_sum(&steps, f64::from(next) / (f64::from(input) * f64::from(*scale)));
        // A channel whose sums would leave what floats hold stays as it is.
        if exact && most > EXACT_SUM { *bias } else { next }
    });
    let moved: Vec<f32> = moved.collect();
    if let Some(array) = weights.0.get_mut(&format!("{name}.bias")) {
        array.f32_mut()?.copy_from_slice(&moved);
    }
    Ok(())
}
