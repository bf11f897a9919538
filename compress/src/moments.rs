//! Means and deviations of what layers of a network come to on images, in floats and in integers.

use attar_exec::Network;
use attar_models::{Graph, NodeId, Weights};
use candle_core::Device;

use crate::error::Result;
use crate::images::Images;
use crate::layout::find;
use crate::rewrite::Quantised;

/// Of a channel, over images and positions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    /// The standard deviation.
    pub(crate) deviation: f64,
}

/// A layer that is to be changed, and the moments of each of its channels.
pub(crate) struct Seen<'a> {
    pub(crate) name: &'a str,
    /// Steps of what it reads.
    pub(crate) input: f32,
    /// In floats.
    pub(crate) wanted: &'a [Moments],
    /// In integers, all layers before it changed.
    pub(crate) found: &'a [Moments],
}

/// Changes quantised layers, which are named with the steps of what they read, in their order. `graph` and `weights` are the
/// prepared network that was quantised. `done` hears how many layers are.
pub(crate) fn layer_by_layer(
    (graph, weights): (&Graph, &Weights),
    quantised: &mut Quantised,
    layers: &[(String, f32)],
    images: &Images<'_>,
    change: impl Fn(&mut Quantised, &Seen<'_>) -> Result<()>,
    done: &mut dyn FnMut(usize),
) -> Result<()> {
    let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
    let network = |graph: &Graph, weights: &Weights| Network::from_weights(graph.clone(), weights, &Device::Cpu);
    let wanted = moments(&network(graph, weights)?, &names, images)?;
    for (at, ((name, input), wanted)) in layers.iter().zip(&wanted).enumerate() {
        let after = &quantised.rewritten;
        if let [found] = &moments(&network(&after.graph, &after.weights)?, &[name.as_str()], images)?[..] {
            change(quantised, &Seen { name, input: *input, wanted, found })?;
        }
        done(at + 1);
    }
    Ok(())
}

/// The moments of each channel of nodes' values, by their names.
fn moments(network: &Network, names: &[&str], images: &Images<'_>) -> Result<Vec<Vec<Moments>>> {
    let taps = names.iter().map(|name| find(network.graph(), name)).collect::<Result<Vec<_>>>()?;
    let channels = |id: &NodeId| network.graph().node(*id).shape[0];
    // Sums, and sums of squares.
    let mut sums: Vec<Vec<[f64; 2]>> = taps.iter().map(|id| vec![[0.0; 2]; channels(id)]).collect();
    let mut counts = vec![0usize; taps.len()];
    for batch in images.batches() {
        let outputs = network.eval(&batch?, &taps)?;
        for ((tensor, sums), count) in outputs.taps.iter().zip(&mut sums).zip(&mut counts) {
            let (values, channels) = (tensor.flatten_all()?.to_vec1::<f32>()?, sums.len());
            let area = (values.len() / (tensor.dim(0)? * channels).max(1)).max(1);
            for (at, plane) in values.chunks(area).enumerate() {
                let [sum, squares] = &mut sums[at % channels];
                *sum += plane.iter().map(|value| f64::from(*value)).sum::<f64>();
                *squares += plane.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
            }
            *count += values.len() / channels.max(1);
        }
    }
    let of = |([sum, squares], count): ([f64; 2], usize)| {
        let count = count.max(1) as f64;
        let mean = sum / count;
        Moments { mean, deviation: (squares / count - mean * mean).max(0.0).sqrt() }
    };
    let of_node = |(sums, count): (Vec<[f64; 2]>, usize)| sums.into_iter().map(|sums| of((sums, count))).collect();
    Ok(sums.into_iter().zip(counts).map(of_node).collect())
}
