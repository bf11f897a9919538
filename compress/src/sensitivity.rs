//! What each layer's rounding costs, by what the network answers.

use std::collections::BTreeSet;

use attar_exec::Network;
use attar_models::{Graph, NodeId, Op, Rewritten, Weights};
use candle_core::Device;

use crate::answers::{log_probabilities, mean_kl};
use crate::error::Result;
use crate::images::Images;
use crate::observe::Observed;
use crate::placement::Placement;
use crate::rewrite::{Settings, quantise};

/// A layer's share in what is lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Name of the layer.
    pub layer: String,
    /// Mean KL divergence of the answers from those in floats, in nats, when only this layer is in integers.
    pub alone: f64,
    /// By how much the mean KL divergence falls when this layer alone is given back to floats; negative where that is worse.
    pub given_back: f64,
}

impl Share {
    /// What giving the layer back is worth: both views of it.
    pub fn gain(&self) -> f64 {
        self.alone + self.given_back
    }
}

/// The shares of all layers, in execution order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// Mean KL divergence with all layers in integers.
    pub all: f64,
    /// How many images it is a mean over.
    pub images: usize,
    /// Of each layer.
    pub layers: Vec<Share>,
}

/// Finds what each layer's rounding costs: the network is run with that layer alone in integers, and with all but that one. What
/// is in `keep` stays in floats throughout. Weights are rounded to the nearest. `done` hears how many layers are.
///
/// # Errors
/// As [`quantise`].
pub fn sensitivity(
    graph: &Graph,
    weights: &Weights,
    keep: &BTreeSet<String>,
    observed: &Observed,
    settings: Settings,
    images: &Images<'_>,
    done: &mut dyn FnMut(usize),
) -> Result<Sensitivity> {
    let float = answers(graph, weights, images)?;
    let divergence = |keep: &BTreeSet<String>| -> Result<f64> {
        let placement = Placement::of(graph, keep)?;
        let Rewritten { graph, weights, .. } = quantise(graph, weights, &placement, observed, settings)?.rewritten;
        Ok(mean_kl(&float, &answers(&graph, &weights, images)?))
    };
    let all_layers: Vec<NodeId> = Placement::of(graph, keep)?.layers(graph);
    let all = divergence(keep)?;
    // All that computes stays in floats, but one.
    let computing = |graph: &Graph| -> BTreeSet<String> {
        let computes = |op: &Op| !matches!(op, Op::Input(_)) && !attar_models::quantised::moves_numbers(op);
        graph.nodes().iter().filter(|node| computes(&node.op)).map(|node| node.name.clone()).collect()
    };
    let mut layers = Vec::new();
    for (at, id) in all_layers.iter().enumerate() {
        let layer = graph.node(*id).name.clone();
        let mut others = computing(graph);
        others.remove(&layer);
        let mut without = keep.clone();
        without.insert(layer.clone());
        layers.push(Share { alone: divergence(&others)?, given_back: all - divergence(&without)?, layer });
        done(at + 1);
    }
    Ok(Sensitivity { all, images: images.len(), layers })
}

/// Log-probabilities of each image, one row an image.
fn answers(graph: &Graph, weights: &Weights, images: &Images<'_>) -> Result<Vec<Vec<f64>>> {
    let network = Network::from_weights(graph.clone(), weights, &Device::Cpu)?;
    let mut rows = Vec::with_capacity(images.len());
    for batch in images.batches() {
        rows.extend(log_probabilities(&network, &batch?)?);
    }
    Ok(rows)
}
