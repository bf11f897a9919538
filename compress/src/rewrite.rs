//! A prepared network with quantisers.

use attar_models::op::{Dequantize, Quantize};
use attar_models::{Activation, Graph, GraphBuilder, Node, NodeId, Op, Rewritten, Weights};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::{Layer, Layout, Quantiser};
use crate::levels::{Calibrator, Levels, Scales};
use crate::observe::Observed;
use crate::placement::{Placement, moves};

/// How a network is quantised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which scales there may be.
    pub scales: Scales,
    /// Bits of a weight, 2 to 8. With 7, products of two neighbours fit into 16 bits, so that CPUs without VNNI or dot
    /// products come to the same answers in every runtime.
    pub weight_bits: u32,
    /// How ranges are found.
    pub calibrator: Calibrator,
}

impl Default for Settings {
    fn default() -> Self {
        Self { scales: Scales::Exact, weight_bits: 7, calibrator: Calibrator::Mse }
    }
}

/// A network in integers.
#[derive(Debug, Clone)]
pub struct Quantised {
    /// The network: it evaluates in floats to what integers come to, up to the rounding of sums of floats.
    pub rewritten: Rewritten,
    /// What in it hangs together.
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
}

impl Quantised {
    /// Steps of what each quantised layer reads, by its name: a step of its bias is this times the weight's.
    pub(crate) fn inputs(&self) -> Vec<(String, f32)> {
        let Layout { layers, quantisers } = &self.layout;
        layers.iter().map(|layer| (layer.node.name.clone(), quantisers[layer.input].levels.scale)).collect()
    }
}

/// Puts quantisers where the placement says, rounds weights (nearest, each output channel by itself) and biases. A quantiser
/// is called `NODE.q`, what it stands for `NODE.dq`; a value that [`Rewritten::moved`] names is the latter, where there is one.
///
/// With exact scales a ReLU6 is the quantiser's own end, at 6 in whole steps: a `Clip` of bytes, which every runtime fuses.
///
/// # Errors
/// Bits of weights that there are not; a value that was not observed; names that are taken.
pub fn quantise(
    graph: &Graph,
    weights: &Weights,
    placement: &Placement,
    observed: &Observed,
    settings: Settings,
) -> Result<Quantised> {
    if !(2..=8).contains(&settings.weight_bits) {
        return Err(Error::setting("weight bits", format!("{} is not 2 to 8", settings.weight_bits)));
    }
    let shape = <[usize; 3]>::try_from(graph.input_shape())
        .map_err(|_| Error::setting("input", format!("is {:?}, expected [C, H, W]", graph.input_shape())))?;
    let (builder, input) = GraphBuilder::new(graph.name(), shape)?;
    let mut emit = Emit {
        before: graph,
        weights,
        placement,
        observed,
        settings,
        builder,
        after: Weights::default(),
        values: vec![Value::default(); graph.nodes().len()],
        layout: Layout::default(),
    };
    emit.values[0].float = Some(input);
    for (id, node) in graph.iter() {
        emit.node(id, node)?;
    }
    emit.finish()
}

/// Where a value of the network before is found.
#[derive(Debug, Clone, Copy, Default)]
struct Value {
    /// As a float that was never rounded.
    float: Option<NodeId>,
    /// As whole numbers, and the quantiser that made them.
    numbers: Option<(NodeId, usize)>,
    /// As floats that the numbers stand for.
    dequantised: Option<NodeId>,
}

struct Emit<'a> {
    before: &'a Graph,
    weights: &'a Weights,
    placement: &'a Placement,
    observed: &'a Observed,
    settings: Settings,
    builder: GraphBuilder,
    after: Weights,
    values: Vec<Value>,
    layout: Layout,
}

impl Emit<'_> {
    fn node(&mut self, id: NodeId, node: &Node) -> Result<()> {
        if id == self.before.input() {
            return self.quantiser(id, None);
        }
        if moves(node, self.all_integer(), id) && self.numbers_pass(node) {
            return self.moved(id, node);
        }
        let ends_in_quantiser = self.clip(id, node);
        if ends_in_quantiser.is_some() {
            // The operation before it made a float that only this reads.
            self.values[id.index()].float = self.values[node.inputs[0].index()].float;
            return self.quantiser(id, ends_in_quantiser);
        }
        let inputs = node.inputs.iter().map(|input| self.as_float(*input)).collect::<Result<Vec<_>>>()?;
        let op = match &node.op {
            Op::Conv2d(_) | Op::Linear(_) if self.placement.is_integer(id) => self.layer(node)?,
            op => {
                self.keep_params(node);
                op.clone()
            }
        };
        self.values[id.index()].float = Some(self.builder.add(node.name.as_str(), op, &inputs)?);
        self.quantiser(id, None)
    }

    fn all_integer(&self) -> &[bool] {
        self.placement.all_integer()
    }

    /// Whether a node may do to bytes what it does to floats: zeros around an image are bytes 0, which must stand for 0.
    fn numbers_pass(&self, node: &Node) -> bool {
        match self.values[node.inputs[0].index()].numbers {
            Some((_, at)) => {
                self.layout.quantisers[at].levels.zero == 0 || !matches!(node.op, Op::Pad2d(_) | Op::PadChannels(_))
            }
            None => false,
        }
    }

    /// The same operation on numbers.
    fn moved(&mut self, id: NodeId, node: &Node) -> Result<()> {
        let Some((numbers, quantiser)) = self.values[node.inputs[0].index()].numbers else { return Ok(()) };
        let made = self.builder.add(node.name.as_str(), node.op.clone(), &[numbers])?;
        self.values[id.index()].numbers = Some((made, quantiser));
        Ok(())
    }

    /// The last number of a ReLU6 that a quantiser with exact scales makes itself; `None` for all else.
    fn clip(&self, id: NodeId, node: &Node) -> Option<Option<u8>> {
        let six = matches!(node.op, Op::Activation(Activation::Relu6));
        let own = self.settings.scales == Scales::Exact && self.placement.clamps(id).is_some();
        let levels = self.levels(id).filter(|_| six && own && self.placement.is_quantised(id))?;
        let steps = 6.0 / levels.scale;
        Some((steps < 255.0).then_some(steps as u8))
    }

    /// The levels of a node that is quantised.
    fn levels(&self, id: NodeId) -> Option<Levels> {
        let node = self.before.node(id);
        let highest = matches!(node.op, Op::Activation(Activation::Relu6)).then_some(6.0);
        let Settings { calibrator, scales, .. } = self.settings;
        self.observed.of(id).map(|seen| Levels::choose(seen, calibrator, scales, highest))
    }

    /// A quantiser behind a node, if one stands there. Behind zeros that were put around floats stands that of the image.
    /// `high` is said where it also is a ReLU6: the number that stands for 6, if there is one.
    fn quantiser(&mut self, id: NodeId, high: Option<Option<u8>>) -> Result<()> {
        let node = self.before.node(id);
        let passed = moves(node, self.all_integer(), id).then(|| self.values[node.inputs[0].index()].numbers).flatten();
        let fresh = match passed {
            Some(_) => None,
            None if self.placement.is_quantised(id) => Some(
                self.levels(id)
                    .ok_or_else(|| Error::setting(format!("node `{}`", node.name), "its values were not observed"))?,
            ),
            None => return Ok(()),
        };
        let Some(float) = self.values[id.index()].float else { return Ok(()) };
        let name = format!("{}.q", node.name);
        let op = Op::Quantize(Quantize { signed: false, high: high.flatten() });
        let made = self.builder.add(name.as_str(), op, &[float])?;
        let quantisers = &mut self.layout.quantisers;
        let at = passed.map_or(quantisers.len(), |(_, at)| at);
        if let Some(levels) = fresh {
            let (highest, values) = (high.flatten(), node.shape.iter().product());
            quantisers.push(Quantiser { nodes: Vec::new(), levels, highest, clamps: high.is_some(), values });
        }
        quantisers[at].nodes.push(name);
        self.values[id.index()].numbers = Some((made, at));
        Ok(())
    }

    /// A value as floats: dequantised where it is quantised.
    fn as_float(&mut self, id: NodeId) -> Result<NodeId> {
        let value = self.values[id.index()];
        if let Some(found) = value.dequantised.or(value.float.filter(|_| value.numbers.is_none())) {
            return Ok(found);
        }
        let node = self.before.node(id);
        let Some((numbers, quantiser)) = value.numbers else {
            return Err(Error::setting(format!("node `{}`", node.name), "has no value; this is a fault of Attar's"));
        };
        let name = format!("{}.dq", node.name);
        let made = self.builder.add(name.as_str(), Op::Dequantize(Dequantize {}), &[numbers])?;
        self.layout.quantisers[quantiser].nodes.push(name);
        self.values[id.index()].dequantised = Some(made);
        Ok(made)
    }

    fn keep_params(&mut self, node: &Node) {
        for param in node.params() {
            if let Some(array) = self.weights.get(&param.name) {
                self.after.0.insert(param.name, array.clone());
            }
        }
    }

    /// A layer that is to have its weight and bias in whole steps.
    fn layer(&mut self, node: &Node) -> Result<Op> {
        let Some((_, input)) = self.values[node.inputs[0].index()].numbers else {
            return Err(Error::setting(format!("node `{}`", node.name), "reads floats; this is a fault of Attar's"));
        };
        let (op, has_bias, outputs) = match &node.op {
            Op::Conv2d(conv) => {
                let mut after = conv.clone();
                (after.bias, after.quantized) = (true, true);
                (Op::Conv2d(after), conv.bias, conv.out_channels)
            }
            Op::Linear(linear) => {
                let mut after = *linear;
                (after.bias, after.quantized) = (true, true);
                (Op::Linear(after), linear.bias, linear.out_features)
            }
            other => (other.clone(), false, 0),
        };
        self.layout.layers.push(Layer { node: node.clone(), input, has_bias, outputs });
        Ok(op)
    }

    fn finish(mut self) -> Result<Quantised> {
        let output = self.as_float(self.before.output())?;
        let found = |value: &Value| value.dequantised.or(value.float.filter(|_| value.numbers.is_none()));
        let moved: Vec<Option<NodeId>> = self.values.iter().map(found).collect();
        for (name, id) in self.before.stages() {
            if let Some(after) = moved[id.index()] {
                self.builder.stage(name.as_str(), after);
            }
        }
        let graph = self.builder.finish(output);
        let scales: Vec<f32> = self.layout.quantisers.iter().map(|quantiser| quantiser.levels.scale).collect();
        self.layout.write_levels(&scales, &mut self.after)?;
        for layer in &self.layout.layers {
            layer.write(self.weights, scales[layer.input], None, self.settings, &mut self.after)?;
        }
        self.after.check(&graph)?;
        let rewritten = Rewritten { graph, weights: self.after, moved };
        Ok(Quantised { rewritten, layout: self.layout, settings: self.settings })
    }
}
