//! Bias correction: rounding moves the mean of what a layer makes, and its bias takes that back (Nagel et al. 2019, "Data-Free
//! Quantization", section 4.2, the empirical form: means over images).

use attar_exec::Network;
use attar_models::{Graph, NodeId, Weights};
use candle_core::Device;

use crate::error::{Error, Result};
use crate::images::Images;
use crate::layout::whole_bias;
use crate::levels::Scales;
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
    let names: Vec<(String, f32)> = quantised.inputs();
    let float = Network::from_weights(graph.clone(), weights, &Device::Cpu)?;
    let taps = names.iter().map(|(name, _)| node(&float, name)).collect::<Result<Vec<_>>>()?;
    let wanted = means(&float, &taps, images)?;
    for (at, ((name, input), wanted)) in names.iter().zip(&wanted).enumerate() {
        let rounded = network(quantised)?;
        let tap = node(&rounded, name)?;
        if let [found] = &means(&rounded, &[tap], images)?[..] {
            let missing: Vec<f64> = wanted.iter().zip(found).map(|(wanted, found)| wanted - found).collect();
            shift(quantised, name, *input, &missing)?;
        }
        done(at + 1);
    }
    Ok(())
}

fn network(quantised: &Quantised) -> Result<Network> {
    let rewritten = &quantised.rewritten;
    Ok(Network::from_weights(rewritten.graph.clone(), &rewritten.weights, &Device::Cpu)?)
}

fn node(network: &Network, name: &str) -> Result<NodeId> {
    let found = network.graph().iter().find(|(_, node)| node.name == name).map(|(id, _)| id);
    found.ok_or_else(|| Error::setting(format!("node `{name}`"), "is not in the network"))
}

/// Means of each channel of nodes' values.
fn means(network: &Network, taps: &[NodeId], images: &Images<'_>) -> Result<Vec<Vec<f64>>> {
    let channels = |id: &NodeId| network.graph().node(*id).shape[0];
    let mut sums: Vec<Vec<f64>> = taps.iter().map(|id| vec![0.0; channels(id)]).collect();
    let mut counts = vec![0usize; taps.len()];
    for batch in images.batches() {
        let outputs = network.eval(&batch?, taps)?;
        for ((tensor, sums), count) in outputs.taps.iter().zip(&mut sums).zip(&mut counts) {
            let (values, channels) = (tensor.flatten_all()?.to_vec1::<f32>()?, sums.len());
            let area = (values.len() / (tensor.dim(0)? * channels).max(1)).max(1);
            for (at, plane) in values.chunks(area).enumerate() {
                sums[at % channels] += plane.iter().map(|value| f64::from(*value)).sum::<f64>();
            }
            *count += values.len() / channels.max(1);
        }
    }
    for (sums, count) in sums.iter_mut().zip(counts) {
        sums.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
    }
    Ok(sums)
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
