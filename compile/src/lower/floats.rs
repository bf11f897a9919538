//! Float steps.

use attar_edge::layer::FloatFunction;
use attar_edge::plan::{Convolution, Function, Kind, Step};
use attar_models::op::BatchNorm2d;
use attar_models::quantised::param;
use attar_models::{Activation, NodeId, Op};

use super::Lowering;
use super::bytes::{bare, float_tail};
use crate::draft::NO_CONSTANT;
use crate::error::Result;
use crate::numbers::{float_bytes, floats};

impl Lowering<'_> {
    /// The nodes whose floats a node reads.
    pub(super) fn float_inputs(&self, id: NodeId) -> Vec<NodeId> {
        let inputs = &self.node_of(id).inputs;
        match &self.node_of(id).op {
            Op::Conv2d(_) => {
                inputs.iter().map(|input| self.padded(*input).map_or(*input, |(inner, _)| inner)).collect()
            }
            _ => inputs.clone(),
        }
    }

    /// The step of a node that computes in floats, and the value that it makes.
    pub(super) fn float(&mut self, id: NodeId) -> Result<u32> {
        let node = self.node_of(id);
        let inputs: Vec<u32> =
            self.float_inputs(id).into_iter().map(|input| self.float_value(input)).collect::<Result<_>>()?;
        let name = node.name.as_str();
        match &node.op {
            Op::Conv2d(_) | Op::Linear(_) => self.float_layer(id, inputs[0]),
            Op::Activation(activation) => Ok(self.applied(id, inputs[0], function(*activation))),
            Op::BatchNorm2d(norm) => {
                let (scale, shift) = self.normalisation(id, norm)?;
                Ok(self.scaled(id, inputs[0], &scale, &shift))
            }
            Op::Scale(_) => {
                let scale = param(self.weights, node, "weight")?.to_vec();
                let shift = match self.weights.get(&format!("{name}.bias")) {
                    Some(_) => param(self.weights, node, "bias")?.to_vec(),
                    None => vec![0.0; scale.len()],
                };
                Ok(self.scaled(id, inputs[0], &scale, &shift))
            }
            Op::PRelu(_) => {
                let slopes = param(self.weights, node, "weight")?;
                match slopes.first() {
                    Some(slope) if slopes.iter().all(|other| other == slope) => {
                        Ok(self.applied(id, inputs[0], FloatFunction::LeakyRelu { slope: *slope }))
                    }
                    _ => {
                        let input = self.laid_out(self.first(id), inputs[0]);
                        let output = self.new_floats(self.draft.tensor(input).size);
                        let channels = self.draft.tensor(input).size[2] as usize;
                        let slopes: Vec<f32> = slopes.iter().copied().cycle().take(channels).collect();
                        let constants = self.draft.constant(float_bytes(&slopes));
                        self.draft.step(Step::ApplyEach { input, output, constants }, name);
                        Ok(output)
                    }
                }
            }
            Op::Add(_) => Ok(self.add_floats(id, [inputs[0], inputs[1]])),
            Op::Mul(_) => {
                let inputs = self.pair(id, [inputs[0], inputs[1]]);
                let output = self.new_floats(self.draft.tensor(inputs[0]).size);
                let end = Function::Floats(FloatFunction::IDENTITY);
                self.draft.step(Step::Multiply { inputs, output, end }, name);
                Ok(output)
            }
            Op::MaxPool2d(_) | Op::AvgPool2d(_) | Op::GlobalAvgPool(_) => {
                let output = self.new_floats(super::size_of(node));
                let windowed = self.windows(id, inputs[0], output, Function::Floats(FloatFunction::IDENTITY));
                let is_max = matches!(node.op, Op::MaxPool2d(_));
                self.draft.step(if is_max { Step::Max(windowed) } else { Step::Mean(windowed) }, name);
                Ok(output)
            }
            Op::Flatten(_)
            | Op::Reshape(_)
            | Op::Dropout(_)
            | Op::StochasticDepth(_)
            | Op::Concat(_)
            | Op::SliceChannels(_)
            | Op::ChannelShuffle(_)
            | Op::Subsample(_)
            | Op::PadChannels(_)
            | Op::Pad2d(_) => self.moved(id, &inputs, None),
            Op::LayerNorm2d(norm) => {
                let input = self.laid_out(self.first(id), inputs[0]);
                let output = self.new_floats(self.draft.tensor(input).size);
                let [weights, bias] = ["weight", "bias"].map(|suffix| param(self.weights, node, suffix));
                let [weights, bias] = [float_bytes(weights?), float_bytes(bias?)].map(|it| self.draft.constant(it));
                self.draft.step(Step::Normalise { input, output, weights, bias, eps: norm.eps as f32 }, name);
                Ok(output)
            }
            Op::Softmax(_) => {
                let input = self.laid_out(self.first(id), inputs[0]);
                let output = self.new_floats(self.draft.tensor(input).size);
                self.draft.step(Step::Softmax { input, output }, name);
                Ok(output)
            }
            Op::Input(_) | Op::Quantize(_) | Op::Dequantize(_) => {
                self.refuse(id, "it computes no floats; this is a fault of Attar's")
            }
        }
    }

    fn new_floats(&mut self, size: [u32; 3]) -> u32 {
        self.draft.value(Kind::Floats, size)
    }

    fn float_layer(&mut self, id: NodeId, input: u32) -> Result<u32> {
        let node = self.node_of(id);
        let output = self.layer_output(id, input)?;
        let output = self.new_floats(output);
        let weights = self.layer_weights(id, param(self.weights, node, "weight")?, input);
        let channels = self.draft.tensor(output).size[2] as usize;
        let bias = match self.weights.get(&format!("{}.bias", node.name)) {
            Some(_) => param(self.weights, node, "bias")?.to_vec(),
            None => vec![0.0; channels],
        };
        let layer = Convolution {
            weights: self.draft.constant(float_bytes(&weights)),
            bias: self.draft.constant(float_bytes(&bias)),
            ..self.layer(id, input, output)?
        };
        self.draft.step(Step::Convolution(layer), &node.name);
        Ok(output)
    }

    /// A function: the end of the step before it, where nobody else reads that and it has none; else a step.
    fn applied(&mut self, id: NodeId, input: u32, function: FloatFunction) -> u32 {
        if self.alone(input)
            && let Some(maker) = self.draft.maker(input)
        {
            let end = match &mut self.draft.steps[maker].0 {
                Step::Convolution(layer) => Some(&mut layer.tail.function),
                Step::Add { end, .. } | Step::Multiply { end, .. } => Some(end),
                _ => None,
            };
            if let Some(end) = end.filter(|end| **end == Function::Floats(FloatFunction::IDENTITY)) {
                *end = Function::Floats(function);
                return input;
            }
        }
        let output = self.new_floats(self.draft.tensor(input).size);
        let function = Function::Floats(function);
        self.draft.step(Step::Apply { input, output, function, table: NO_CONSTANT }, &self.node_of(id).name);
        output
    }

    /// A sum: the end of a layer that makes one of its operands, where nobody else reads that and the other is there by
    /// then; else a step.
    fn add_floats(&mut self, id: NodeId, inputs: [u32; 2]) -> u32 {
        let inputs = self.pair(id, inputs);
        let [a, b] = inputs.map(|input| self.draft.tensor(input).size);
        for own in [0, 1] {
            if a != b || inputs[0] == inputs[1] || !self.alone(inputs[own]) {
                continue;
            }
            let (Some(maker), Some(others)) = (self.draft.maker(inputs[own]), self.draft.maker(inputs[1 - own])) else {
                continue;
            };
            if others < maker
                && let (Step::Convolution(layer), _) = &mut self.draft.steps[maker]
                && layer.tail == float_tail(FloatFunction::IDENTITY)
                && layer.multipliers == NO_CONSTANT
            // those of bytes are not added to
            {
                layer.tail.residual = Some(inputs[1 - own]);
                return inputs[own];
            }
        }
        let output = self.new_floats(a);
        let end = Function::Floats(FloatFunction::IDENTITY);
        self.draft.step(Step::Add { inputs, output, end }, &self.node_of(id).name);
        output
    }

    /// A factor and a shift a channel: within the layer before it, where nobody else reads that and it ends with its sums;
    /// else as a depthwise convolution of one tap.
    fn scaled(&mut self, id: NodeId, input: u32, scale: &[f32], shift: &[f32]) -> u32 {
        let input = self.laid_out(self.first(id), input);
        if self.alone(input)
            && let Some(maker) = self.draft.maker(input)
            && let Step::Convolution(layer) = self.draft.steps[maker].0
            && layer.tail == float_tail(FloatFunction::IDENTITY)
            && layer.multipliers == NO_CONSTANT
        {
            let [weights, bias] = [layer.weights, layer.bias].map(|number| floats(self.draft.constants(number)));
            let depth = weights.len() / scale.len().max(1);
            let weights: Vec<f32> = weights.iter().enumerate().map(|(at, w)| w * scale[at / depth.max(1)]).collect();
            let bias: Vec<f32> = bias.iter().zip(scale.iter().zip(shift)).map(|(b, (s, t))| b * s + t).collect();
            let [weights, bias] = [weights, bias].map(|values| self.draft.constant(float_bytes(&values)));
            self.draft.steps[maker].0 = Step::Convolution(Convolution { weights, bias, ..layer });
            return input;
        }
        let size = self.draft.tensor(input).size;
        let output = self.new_floats(size);
        let layer = Convolution {
            groups: size[2],
            weights: self.draft.constant(float_bytes(scale)),
            bias: self.draft.constant(float_bytes(shift)),
            ..bare(input, output)
        };
        self.draft.step(Step::Convolution(layer), &self.node_of(id).name);
        output
    }

    /// A batch norm that stands behind no convolution, as factor and shift.
    fn normalisation(&self, id: NodeId, norm: &BatchNorm2d) -> Result<(Vec<f32>, Vec<f32>)> {
        let node = self.node_of(id);
        let of = |suffix: &str| param(self.weights, node, suffix);
        let (weight, bias) = (of("weight")?, of("bias")?);
        let (mean, variance) = (of("running_mean")?, of("running_var")?);
        let factor = |at: usize| f64::from(weight[at]) / (f64::from(variance[at]) + norm.eps).sqrt();
        let scale = (0..weight.len()).map(|at| factor(at) as f32).collect();
        let shift =
            (0..weight.len()).map(|at| (f64::from(bias[at]) - f64::from(mean[at]) * factor(at)) as f32).collect();
        Ok((scale, shift))
    }
}

/// A function as the engine has it.
pub(super) fn function(activation: Activation) -> FloatFunction {
    match activation {
        Activation::Relu => FloatFunction::Clamp { low: 0.0, high: f32::INFINITY },
        Activation::Relu6 => FloatFunction::Clamp { low: 0.0, high: 6.0 },
        Activation::HardSwish => FloatFunction::HardSwish,
        Activation::HardSigmoid => FloatFunction::HardSigmoid,
        Activation::Sigmoid => FloatFunction::Sigmoid,
        Activation::Silu => FloatFunction::Silu,
        Activation::LeakyRelu(slope) => FloatFunction::LeakyRelu { slope: slope.value() },
        Activation::Gelu => FloatFunction::Gelu,
        Activation::GeluTanh => FloatFunction::GeluTanh,
    }
}
