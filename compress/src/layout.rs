//! What in a quantised network hangs together, and its parameters: of floats, steps and zero points the whole numbers that are
//! exported. Rounding after training and training in whole numbers both come through here.

use attar_models::quantised::param;
use attar_models::{Array, Graph, Node, NodeId, Weights};

use crate::error::{Error, Result};
use crate::levels::Levels;
use crate::rewrite::Settings;
use crate::weights::{Row, bias_steps, round_row, round_row_at};

/// A quantiser and whoever passes its numbers on or reads them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantiser {
    /// All nodes of its scale and its zero point, itself first.
    pub(crate) nodes: Vec<String>,
    /// As they were found on images.
    pub(crate) levels: Levels,
    /// Its last number, where that is not 255.
    pub(crate) highest: Option<u8>,
    /// Whether it is a ReLU6, too: then its scale is a part of the network.
    pub(crate) clamps: bool,
    /// Numbers of one sample.
    pub(crate) values: usize,
}

/// A layer in integers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    /// In floats.
    pub(crate) node: Node,
    /// The quantiser of what it reads: a step of its bias is one of that times the weight's.
    pub(crate) input: usize,
    /// Whether it has a bias in floats.
    pub(crate) has_bias: bool,
    pub(crate) outputs: usize,
}

/// All quantisers and layers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Layout {
    pub(crate) quantisers: Vec<Quantiser>,
    pub(crate) layers: Vec<Layer>,
}

impl Layout {
    /// Writes scales, one a quantiser, and zero points.
    pub(crate) fn write_levels(&self, scales: &[f32], into: &mut Weights) -> Result<()> {
        for (quantiser, scale) in self.quantisers.iter().zip(scales) {
            for name in &quantiser.nodes {
                let zero = f32::from(quantiser.levels.zero);
                for (suffix, value) in [("scale", *scale), ("zero_point", zero)] {
                    into.0.insert(format!("{name}.{suffix}"), Array::new(vec![1], vec![value])?);
                }
            }
        }
        Ok(())
    }
}

impl Layer {
    /// Writes its weight and bias in whole steps, from those in floats, where its input has steps of `input`. The steps of its
    /// weight are chosen by the weights, or are the `given` ones, one an output channel.
    pub(crate) fn write(
        &self,
        floats: &Weights,
        input: f32,
        given: Option<&[f32]>,
        settings: Settings,
        into: &mut Weights,
    ) -> Result<()> {
        let weight = param(floats, &self.node, "weight")?;
        let bias = match self.has_bias {
            true => param(floats, &self.node, "bias")?.to_vec(),
            false => vec![0.0; self.outputs],
        };
        let depth = self.depth(weight.len());
        let Settings { weight_bits: bits, scales, .. } = settings;
        let rounded = |(at, (row, bias)): (usize, (&[f32], &f32))| match given {
            None => round_row(row, *bias, input, bits, scales),
            Some(given) => round_row_at(row, given[at], (*bias, input), bits, scales),
        };
        let rows: Vec<Row> = weight.chunks(depth).zip(&bias).enumerate().map(rounded).collect();
        set_layer(into, &self.node, &rows, &bias, input)
    }

    /// Weights of one output channel, of so many in all.
    pub(crate) fn depth(&self, weights: usize) -> usize {
        (weights / self.outputs.max(1)).max(1)
    }
}

/// Writes a layer's weight, bias and scales, as floats that are whole steps.
pub(crate) fn set_layer(weights: &mut Weights, node: &Node, rows: &[Row], bias: &[f32], input: f32) -> Result<()> {
    let shape = node.params().find(|param| param.name.ends_with(".weight")).map(|param| param.shape);
    let floats = rows.iter().flat_map(|row| row.steps.iter().map(|steps| steps * row.scale)).collect::<Vec<f32>>();
    let scales: Vec<f32> = rows.iter().map(|row| row.scale).collect();
    let bias = bias.iter().zip(&scales).map(|(bias, scale)| whole_bias(*bias, input, *scale)).collect();
    let name = |suffix: &str| format!("{}.{suffix}", node.name);
    weights.0.insert(name("weight"), Array::new(shape.unwrap_or_default(), floats)?);
    weights.0.insert(name("bias"), Array::new::<f32>(vec![rows.len()], bias)?);
    weights.0.insert(name("weight_scale"), Array::new(vec![rows.len()], scales)?);
    Ok(())
}

/// The nearest whole number of steps, as a float.
pub(crate) fn whole_bias(bias: f32, input: f32, scale: f32) -> f32 {
    (bias_steps(bias, input, scale) * (f64::from(input) * f64::from(scale))) as f32
}

/// The node of this name.
pub(crate) fn find(graph: &Graph, name: &str) -> Result<NodeId> {
    let found = graph.iter().find(|(_, node)| node.name == name).map(|(id, _)| id);
    found.ok_or_else(|| Error::setting(format!("node `{name}`"), "is not in the network"))
}
