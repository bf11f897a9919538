//! Integer steps.

use attar_edge::arithmetic::Sum;
use attar_edge::layer::FloatFunction;
use attar_edge::plan::{Convolution, Function, Kind, Step, Tail, Windowed};
use attar_models::quantised::Integers;
use attar_models::{NodeId, Op};

use super::Lowering;
use super::pattern::Pattern;
use crate::draft::NO_CONSTANT;
use crate::error::Result;
use crate::numbers::{bounded, float_bytes, multipliers};

impl Lowering<'_> {
    /// The step of a quantiser's pattern, and the value that it makes.
    pub(super) fn integer(&mut self, id: NodeId, pattern: &Pattern) -> Result<u32> {
        match pattern {
            Pattern::Table { source, table } => self.table(id, *source, table),
            Pattern::Layer { node, source, integers, range } => {
                let input = self.byte_value(*source)?;
                let size = self.layer_output(*node, input)?;
                let output = self.new_bytes(id, size)?;
                let (Some((scale, _)), Some((to, zero))) = (self.quantisation(input), self.quantisation(output)) else {
                    return self.refuse(id, "a layer of bytes between floats; this is a fault of Attar's");
                };
                let multipliers = multipliers(scale, &integers.scales, to);
                let mut integers = integers.clone();
                if let Err(channel) = bounded(&mut integers, &multipliers) {
                    let problem = format!("sums of its output channel {channel} can be beyond 2^31");
                    return self.refuse(*node, problem);
                }
                self.byte_layer(*node, [input, output], &integers, (&multipliers, byte_tail(zero, *range)))
            }
            Pattern::Mixed { source, integers, multipliers } => {
                let input = self.byte_value(*source)?;
                let size = self.layer_output(id, input)?;
                let output = self.draft.value(Kind::Floats, size);
                self.byte_layer(id, [input, output], integers, (multipliers, float_tail(FloatFunction::IDENTITY)))
            }
            Pattern::Add { node, sources, range } => self.add_bytes(id, *node, *sources, *range),
            Pattern::Tables { node, source, tables } => {
                let input = self.byte_value(*source)?;
                let input = self.laid_out(self.first(*node), input);
                let output = self.new_bytes(id, self.draft.tensor(input).size)?;
                let constants = self.draft.constant(tables.clone());
                self.draft.step(Step::ApplyEach { input, output, constants }, &self.node_of(*node).name);
                Ok(output)
            }
            Pattern::Multiply { node, sources, range } => {
                let inputs = [self.byte_value(sources[0])?, self.byte_value(sources[1])?];
                let inputs = self.pair(*node, inputs);
                let output = self.new_bytes(id, self.draft.tensor(inputs[0]).size)?;
                let end = Function::Bytes { low: range[0], high: range[1] };
                let name = &self.node_of(*node).name;
                self.draft.step(Step::Multiply { inputs, output, end }, name);
                Ok(output)
            }
            Pattern::Mean { node, source, range } => {
                let input = self.byte_value(*source)?;
                let output = self.new_bytes(id, super::size_of(self.node_of(*node)))?;
                let end = Function::Bytes { low: range[0], high: range[1] };
                let windowed = self.windows(*node, input, output, end);
                self.draft.step(Step::Mean(windowed), &self.node_of(*node).name);
                Ok(output)
            }
            Pattern::Max { node, source } => {
                let input = self.byte_value(*source)?;
                let output = self.new_bytes(id, super::size_of(self.node_of(*node)))?;
                self.max(*node, input, output)
            }
            Pattern::Move { node, sources } => {
                let inputs: Vec<u32> = sources.iter().map(|source| self.byte_value(*source)).collect::<Result<_>>()?;
                self.moved(*node, &inputs, Some(id))
            }
        }
    }

    /// The step of a layer that reads bytes.
    fn byte_layer(
        &mut self,
        node: NodeId,
        [input, output]: [u32; 2],
        integers: &Integers,
        (multipliers, tail): (&[f32], Tail),
    ) -> Result<u32> {
        let layer = self.layer(node, input, output)?;
        let weights = self.layer_weights(node, &integers.weights, input);
        let layer = Convolution {
            weights: self.draft.constant(weights.iter().map(|weight| *weight as u8).collect()),
            bias: self.draft.constant(integers.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect()),
            multipliers: self.draft.constant(float_bytes(multipliers)),
            tail,
            ..layer
        };
        self.draft.step(Step::Convolution(layer), &self.node_of(node).name);
        Ok(output)
    }

    /// Whole numbers that are only moved about, between a quantiser and what dequantises them.
    pub(super) fn moved_numbers(&mut self, id: NodeId) -> Result<u32> {
        let node = self.node_of(id);
        let inputs: Vec<u32> = node.inputs.iter().map(|input| self.byte_value(*input)).collect::<Result<_>>()?;
        match node.op {
            Op::MaxPool2d(_) => {
                let output = self.new_bytes(id, super::size_of(node))?;
                self.max(id, inputs[0], output)
            }
            _ => self.moved(id, &inputs, Some(id)),
        }
    }

    fn max(&mut self, id: NodeId, input: u32, output: u32) -> Result<u32> {
        let windowed = self.windows(id, input, output, Function::Bytes { low: 0, high: 255 });
        self.draft.step(Step::Max(windowed), &self.node_of(id).name);
        Ok(output)
    }

    pub(super) fn quantisation(&self, value: u32) -> Option<(f32, u8)> {
        self.draft.tensor(value).quantisation()
    }

    /// A function of bytes: nothing, where it changes nothing; the end of the layer before it, where nobody else reads that;
    /// else a step.
    fn table(&mut self, id: NodeId, source: NodeId, table: &[u8; 256]) -> Result<u32> {
        let input = self.byte_value(source)?;
        let own = self.new_bytes(id, self.draft.tensor(input).size)?;
        let identity = table.iter().enumerate().all(|(at, byte)| at == usize::from(*byte));
        if identity && self.draft.tensor(input).kind == self.draft.tensor(own).kind {
            return Ok(input);
        }
        let constant = self.draft.constant(table.to_vec());
        if self.alone(input)
            && let Some(maker) = self.draft.maker(input)
            && let (Step::Convolution(layer), _) = &mut self.draft.steps[maker]
            && layer.tail.table.is_none()
            && layer.tail.residual.is_none()
        {
            layer.tail.table = Some(constant);
            layer.output = own;
            return Ok(own);
        }
        let function = Function::Bytes { low: 0, high: 255 };
        let name = &self.node_of(self.first(id)).name;
        self.draft.step(Step::Apply { input, output: own, function, table: constant }, name);
        Ok(own)
    }

    /// A sum: the end of a layer that makes one of its operands, where nobody else reads that and the other is there by
    /// then; else a step.
    fn add_bytes(&mut self, id: NodeId, node: NodeId, sources: [NodeId; 2], range: [u8; 2]) -> Result<u32> {
        let inputs = [self.byte_value(sources[0])?, self.byte_value(sources[1])?];
        let inputs = self.pair(node, inputs);
        let [size, part] = inputs.map(|input| self.draft.tensor(input).size);
        let output = self.new_bytes(id, size)?;
        let pairs = [inputs[0], inputs[1], output].map(|value| self.quantisation(value).unwrap_or((1.0, 0)));
        let sum = Sum::new(pairs[0], pairs[1], pairs[2]);
        if !attar_edge::arithmetic::ratios_allowed(&sum) {
            let [a, b, c] = pairs.map(|(scale, _)| scale);
            let problem = format!(
                "the scales of its operands, {a} and {b}, and of its sum, {c}, are more than 2^20 apart, beyond which sums \
                 are not the same on every CPU"
            );
            return self.refuse(self.first(id), problem);
        }
        for own in [0, 1] {
            let other = inputs[1 - own];
            if size != part || inputs[0] == inputs[1] || !self.alone(inputs[own]) {
                continue;
            }
            let (Some(maker), others) = (self.draft.maker(inputs[own]), self.draft.maker(other)) else { continue };
            if others.is_none_or(|others| others >= maker) {
                continue;
            }
            if let (Step::Convolution(layer), _) = &mut self.draft.steps[maker]
                && layer.tail.residual.is_none()
            {
                layer.tail = Tail { residual: Some(other), sum, swapped: own == 1, range, ..layer.tail };
                layer.output = output;
                return Ok(output);
            }
        }
        let end = Function::Bytes { low: range[0], high: range[1] };
        let name = &self.node_of(self.first(id)).name;
        self.draft.step(Step::Add { inputs, output, end }, name);
        Ok(output)
    }

    /// The window of a pooling node.
    pub(super) fn windows(&self, id: NodeId, input: u32, output: u32, end: Function) -> Windowed {
        let two = |pair: [usize; 2]| pair.map(|size| size as u32);
        let [height, width, _] = self.draft.tensor(input).size;
        let whole = Windowed {
            input,
            output,
            kernel: [height, width],
            stride: [1, 1],
            padding: [0, 0],
            padding_end: [0, 0],
            count_padding: false,
            end,
        };
        match &self.node_of(id).op {
            Op::MaxPool2d(pool) | Op::AvgPool2d(pool) => Windowed {
                kernel: two(pool.kernel),
                stride: two(pool.stride),
                padding: two(pool.padding),
                padding_end: two(pool.padding_end()),
                count_padding: pool.count_include_pad,
                ..whole
            },
            _ => whole,
        }
    }
}

/// The end of a layer of bytes that requantises and clamps.
fn byte_tail(zero: u8, range: [u8; 2]) -> Tail {
    Tail {
        residual: None,
        function: Function::Bytes { low: range[0], high: range[1] },
        zero,
        table: None,
        sum: Sum { first: 1.0, second: 1.0, offset: 0.0 },
        swapped: false,
        range: [0, 255],
    }
}

/// The end of a layer of floats.
pub(super) fn float_tail(function: FloatFunction) -> Tail {
    Tail { function: Function::Floats(function), ..byte_tail(0, [0, 255]) }
}

/// A layer that is only geometry yet.
pub(super) fn bare(input: u32, output: u32) -> Convolution {
    Convolution {
        input,
        output,
        groups: 1,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
        weights: NO_CONSTANT,
        bias: NO_CONSTANT,
        multipliers: NO_CONSTANT,
        tail: float_tail(FloatFunction::IDENTITY),
    }
}

/// Whether a value holds bytes.
pub(super) fn is_bytes(kind: Kind) -> bool {
    kind != Kind::Floats
}
