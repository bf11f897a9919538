//! Rounding that is learned: each weight goes up or down as the layer's output asks (AdaRound: Nagel et al. 2020, "Up or Down?
//! Adaptive Rounding for Post-Training Quantization", arXiv 2004.10568, sections 3.2 and 3.3).

mod patches;
mod rounding;

use std::ops::Range;

use attar_exec::Network;
use attar_measures::random::Stream;
use attar_models::quantised::param;
use attar_models::{Activation, Graph, Node, Op, Weights};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::images::Images;
use crate::layout::{find, set_layer, whole_bias};
use crate::levels::Scales;
use crate::placement::readers;
use crate::rewrite::Quantised;
use crate::weights::{EXACT_SUM, Row, bias_steps, largest_sum, most_steps};
use patches::patches;
use rounding::{Layer, learn};

/// How rounding is learned; the defaults are the paper's but for the number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdaRound {
    /// Steps of Adam for each layer. The paper takes 10,000; at 8 bits a tenth is as good.
    pub steps: usize,
    /// Positions of images in a step.
    pub batch: usize,
    /// Positions that are kept of a layer's inputs and outputs.
    pub positions: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Weight of the sum that draws each weight up or down; the loss beside it is a mean over positions of a sum over channels.
    pub lambda: f64,
    /// Decides which positions are looked at, and when.
    pub seed: u64,
}

impl Default for AdaRound {
    fn default() -> Self {
        Self { steps: 1000, batch: 256, positions: 8192, learning_rate: 1e-2, lambda: 0.01, seed: 0 }
    }
}

/// Rounds the weights of all quantised layers anew, in execution order: what a layer reads is what the integers before it make
/// (asymmetric reconstruction), what it should come to is its output in floats, both behind the ReLU or ReLU6 that follows.
/// `graph` and `weights` are the prepared network that was quantised. Scales stay; with exact scales sums stay within floats.
/// `layers` are those to be rounded now, of those in integers: all at once, or one after the other, each time with the same
/// settings. Same images, same bits.
///
/// # Errors
/// Settings that are not positive; a device that failed.
pub fn adaround(
    graph: &Graph,
    weights: &Weights,
    quantised: &mut Quantised,
    images: &Images<'_>,
    settings: AdaRound,
    layers: Range<usize>,
) -> Result<()> {
    if settings.steps == 0 || settings.batch == 0 || settings.positions == 0 {
        return Err(Error::setting("AdaRound", "steps, batch and positions are at least 1"));
    }
    let float = Network::from_weights(graph.clone(), weights, &Device::Cpu)?;
    let clamps = readers(graph);
    for (name, input) in quantised.inputs().iter().skip(layers.start).take(layers.len()) {
        let tap = find(graph, name)?;
        let node = graph.node(tap);
        let after = &quantised.rewritten;
        let rounded = Network::from_weights(after.graph.clone(), &after.weights, &Device::Cpu)?;
        let own = find(&after.graph, name)?;
        let mut stream = Stream::named(settings.seed, name);
        let reads = after.graph.node(own).inputs[0];
        let samples = patches(node, (&rounded, reads), (&float, tap), images, settings.positions, &mut stream)?;
        let clamp = clamps[tap.index()].as_slice();
        let clamp = match clamp {
            [only] => clamp_of(&graph.node(*only).op),
            _ => None,
        };
        let layer = layer(node, weights, &after.weights, quantised.settings.weight_bits, clamp)?;
        let steps = learn(&layer, &samples, settings, &mut stream)?;
        store(quantised, node, *input, &layer, &steps)?;
    }
    Ok(())
}

/// What a ReLU or ReLU6 leaves of a number.
fn clamp_of(op: &Op) -> Option<[f32; 2]> {
    match op {
        Op::Activation(Activation::Relu) => Some([0.0, f32::INFINITY]),
        Op::Activation(Activation::Relu6) => Some([0.0, 6.0]),
        _ => None,
    }
}

/// A layer's weights in floats, and the steps that they are rounded to.
fn layer(node: &Node, floats: &Weights, rounded: &Weights, bits: u32, clamp: Option<[f32; 2]>) -> Result<Layer> {
    let groups = match &node.op {
        Op::Conv2d(conv) => conv.groups,
        _ => 1,
    };
    Ok(Layer {
        weight: param(floats, node, "weight")?.to_vec(),
        scales: param(rounded, node, "weight_scale")?.to_vec(),
        bias: param(rounded, node, "bias")?.to_vec(),
        most: most_steps(bits),
        groups,
        clamp: clamp.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]),
    })
}

/// Takes the learned steps over, but for rows whose sums would leave what floats hold exactly.
fn store(quantised: &mut Quantised, node: &Node, input: f32, layer: &Layer, steps: &[f32]) -> Result<()> {
    let exact = quantised.settings.scales == Scales::Exact;
    let depth = layer.depth();
    let rows = steps.chunks(depth).zip(layer.weight.chunks(depth)).zip(layer.scales.iter().zip(&layer.bias));
    let rows = rows.map(|((steps, floats), (scale, bias))| {
        let learned = Row { scale: *scale, steps: steps.to_vec() };
        let sum = largest_sum(&learned.steps, bias_steps(*bias, input, *scale));
        if exact && sum > EXACT_SUM { Row::at(floats, *scale, layer.most) } else { learned }
    });
    let rows: Vec<Row> = rows.collect();
    let bias: Vec<f32> = layer.bias.iter().zip(&layer.scales).map(|(b, scale)| whole_bias(*b, input, *scale)).collect();
    set_layer(&mut quantised.rewritten.weights, node, &rows, &bias, input)
}
