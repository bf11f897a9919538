//! Means and deviations of what nodes of a network come to on images.

use attar_exec::Network;
use attar_models::NodeId;

use crate::error::{Error, Result};
use crate::images::Images;
use crate::rewrite::Quantised;

/// Of a channel, over images and positions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    /// The standard deviation.
    pub(crate) deviation: f64,
}

/// The moments of each channel of nodes' values, by their names.
pub(crate) fn moments(network: &Network, names: &[&str], images: &Images<'_>) -> Result<Vec<Vec<Moments>>> {
    let taps = names.iter().map(|name| node(network, name)).collect::<Result<Vec<_>>>()?;
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

/// The network in integers, to be asked.
pub(crate) fn network(quantised: &Quantised) -> Result<Network> {
    let rewritten = &quantised.rewritten;
    Ok(Network::from_weights(rewritten.graph.clone(), &rewritten.weights, &candle_core::Device::Cpu)?)
}

fn node(network: &Network, name: &str) -> Result<NodeId> {
    let found = network.graph().iter().find(|(_, node)| node.name == name).map(|(id, _)| id);
    found.ok_or_else(|| Error::setting(format!("node `{name}`"), "is not in the network"))
}
