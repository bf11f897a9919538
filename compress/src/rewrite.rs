//! A prepared network with quantisers.

use attar_models::op::{Dequantize, Quantize};
use attar_models::quantised::param;
use attar_models::{Activation, Array, Graph, GraphBuilder, Node, NodeId, Op, Rewritten, Weights};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::levels::{Calibrator, Levels, Scales};
use crate::observe::Observed;
use crate::placement::{Placement, moves};
use crate::weights::{Row, bias_steps, round_row};

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
    /// Steps of what each quantised layer reads, by its name: a step of its bias is this times the weight's.
    pub(crate) inputs: Vec<(String, f32)>,
    pub(crate) settings: Settings,
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
        inputs: Vec::new(),
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
    /// As whole numbers.
    numbers: Option<(NodeId, Levels)>,
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
    inputs: Vec<(String, f32)>,
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
        if let Some(high) = ends_in_quantiser {
            // The operation before it made a float that only this reads.
            self.values[id.index()].float = self.values[node.inputs[0].index()].float;
            return self.quantiser(id, high);
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
            Some((_, levels)) => levels.zero == 0 || !matches!(node.op, Op::Pad2d(_) | Op::PadChannels(_)),
            None => false,
        }
    }

    /// The same operation on numbers.
    fn moved(&mut self, id: NodeId, node: &Node) -> Result<()> {
        let Some((numbers, levels)) = self.values[node.inputs[0].index()].numbers else { return Ok(()) };
        let made = self.builder.add(node.name.as_str(), node.op.clone(), &[numbers])?;
        self.values[id.index()].numbers = Some((made, levels));
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
    fn quantiser(&mut self, id: NodeId, high: Option<u8>) -> Result<()> {
        let node = self.before.node(id);
        let passed = moves(node, self.all_integer(), id).then(|| self.values[node.inputs[0].index()].numbers).flatten();
        let levels = match passed {
            Some((_, levels)) => levels,
            None if self.placement.is_quantised(id) => self
                .levels(id)
                .ok_or_else(|| Error::setting(format!("node `{}`", node.name), "its values were not observed"))?,
            None => return Ok(()),
        };
        let Some(float) = self.values[id.index()].float else { return Ok(()) };
        let name = format!("{}.q", node.name);
        let op = Op::Quantize(Quantize { signed: false, high });
        let made = self.builder.add(name.as_str(), op, &[float])?;
        self.set_levels(&name, levels)?;
        self.values[id.index()].numbers = Some((made, levels));
        Ok(())
    }

    /// A value as floats: dequantised where it is quantised.
    fn as_float(&mut self, id: NodeId) -> Result<NodeId> {
        let value = self.values[id.index()];
        if let Some(found) = value.dequantised.or(value.float.filter(|_| value.numbers.is_none())) {
            return Ok(found);
        }
        let node = self.before.node(id);
        let Some((numbers, levels)) = value.numbers else {
            return Err(Error::setting(format!("node `{}`", node.name), "has no value; this is a fault of Attar's"));
        };
        let name = format!("{}.dq", node.name);
        let made = self.builder.add(name.as_str(), Op::Dequantize(Dequantize {}), &[numbers])?;
        self.set_levels(&name, levels)?;
        self.values[id.index()].dequantised = Some(made);
        Ok(made)
    }

    fn set_levels(&mut self, name: &str, levels: Levels) -> Result<()> {
        for (suffix, value) in [("scale", levels.scale), ("zero_point", f32::from(levels.zero))] {
            self.after.0.insert(format!("{name}.{suffix}"), Array::new(vec![1], vec![value])?);
        }
        Ok(())
    }

    fn keep_params(&mut self, node: &Node) {
        for param in node.params() {
            if let Some(array) = self.weights.get(&param.name) {
                self.after.0.insert(param.name, array.clone());
            }
        }
    }

    /// A layer with its weight and bias in whole steps.
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
        let floats = param(self.weights, node, "weight")?;
        let bias = if has_bias { param(self.weights, node, "bias")?.to_vec() } else { vec![0.0; outputs] };
        let depth = (floats.len() / outputs.max(1)).max(1);
        let Settings { weight_bits, scales, .. } = self.settings;
        let rows = floats.chunks(depth).zip(&bias);
        let rows: Vec<Row> = rows.map(|(row, bias)| round_row(row, *bias, input.scale, weight_bits, scales)).collect();
        set_layer(&mut self.after, node, &rows, &bias, input.scale)?;
        self.inputs.push((node.name.clone(), input.scale));
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
        self.after.check(&graph)?;
        let rewritten = Rewritten { graph, weights: self.after, moved };
        Ok(Quantised { rewritten, inputs: self.inputs, settings: self.settings })
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
