//! A plan in the making: steps over values that have no place in memory yet.

use std::collections::BTreeMap;

use attar_edge::plan::{Convolution, Kind, Said, Step, Tensor, Writer};

/// Steps in order, and the values that they work on.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Borders, places and lives are found when all steps are known.
    pub(crate) values: Vec<Tensor>,
    pub(crate) steps: Vec<(Step, String)>,
    constants: Vec<Vec<u8>>,
}

impl Draft {
    pub(crate) fn value(&mut self, kind: Kind, size: [u32; 3]) -> u32 {
        self.values.push(Tensor { kind, size, border: 0, offset: 0, life: [0; 2] });
        self.values.len() as u32 - 1
    }

    pub(crate) fn tensor(&self, value: u32) -> Tensor {
        self.values[value as usize]
    }

    /// Keeps constants and gives their number; they get their place when the plan is written.
    pub(crate) fn constant(&mut self, bytes: Vec<u8>) -> u32 {
        if let Some(at) = self.constants.iter().position(|known| bytes.len() == 256 && *known == bytes) {
            return at as u32;
        }
        self.constants.push(bytes);
        self.constants.len() as u32 - 1
    }

    /// Constants by their number.
    pub(crate) fn constants(&self, number: u32) -> &[u8] {
        &self.constants[number as usize]
    }

    pub(crate) fn step(&mut self, step: Step, name: &str) {
        self.steps.push((step, name.to_owned()));
    }

    /// The last step that writes a value, by its place.
    pub(crate) fn maker(&self, value: u32) -> Option<usize> {
        self.steps.iter().rposition(|(step, _)| step.output() == Some(value))
    }

    /// Takes away steps whose values nothing reads.
    pub(crate) fn without_unused(&mut self) {
        let mut read = vec![false; self.values.len()];
        let mut kept = Vec::new();
        for (step, name) in std::mem::take(&mut self.steps).into_iter().rev() {
            let used = step.output().is_none_or(|output| read[output as usize]) || matches!(step, Step::Load { .. });
            if used {
                step.inputs().for_each(|input| read[input as usize] = true);
                kept.push((step, name));
            }
        }
        kept.reverse();
        self.steps = kept;
    }

    /// All of it as bytes; values that no step touches are left out.
    pub(crate) fn write(&self, said: Said) -> Vec<u8> {
        let mut writer = Writer::default();
        let mut places = BTreeMap::new();
        let used = |value: u32| self.steps.iter().any(|(step, _)| touches(step, value));
        for value in (0..self.values.len() as u32).filter(|value| used(*value)) {
            places.insert(value, writer.tensor(self.tensor(value)));
        }
        let mut written = BTreeMap::new();
        for (step, name) in &self.steps {
            let place = |value: u32| places[&value];
            let constant = |number: u32| {
                *written.entry(number).or_insert_with(|| writer.constant(&self.constants[number as usize]))
            };
            let step = numbered(*step, place, constant);
            writer.step(step, name);
        }
        writer.finish(said)
    }
}

/// Whether a step reads or writes a value.
fn touches(step: &Step, value: u32) -> bool {
    step.output() == Some(value) || step.inputs().any(|input| input == value)
}

/// A step with its tensors' and constants' numbers in the plan.
fn numbered(mut step: Step, place: impl Fn(u32) -> u32, mut constant: impl FnMut(u32) -> u32) -> Step {
    match &mut step {
        Step::Load { output } => *output = place(*output),
        Step::Store { input } => *input = place(*input),
        Step::Convolution(Convolution { input, output, weights, bias, multipliers, tail, .. }) => {
            (*input, *output) = (place(*input), place(*output));
            *weights = constant(*weights);
            *bias = constant(*bias);
            if *multipliers != NO_CONSTANT {
                *multipliers = constant(*multipliers);
            }
            tail.table = tail.table.map(&mut constant);
            tail.residual = tail.residual.map(place);
        }
        Step::Add { inputs, output, .. } | Step::Multiply { inputs, output, .. } => {
            *inputs = inputs.map(&place);
            *output = place(*output);
        }
        Step::Apply { input, output, table, .. } => {
            (*input, *output) = (place(*input), place(*output));
            if *table != NO_CONSTANT {
                *table = constant(*table);
            }
        }
        Step::Max(windowed) | Step::Mean(windowed) => {
            (windowed.input, windowed.output) = (place(windowed.input), place(windowed.output));
        }
        Step::Quantize { input, output }
        | Step::Dequantize { input, output }
        | Step::Softmax { input, output }
        | Step::Reshape { input, output } => {
            (*input, *output) = (place(*input), place(*output));
        }
        Step::Normalise { input, output, weights, bias, .. } => {
            (*input, *output) = (place(*input), place(*output));
            (*weights, *bias) = (constant(*weights), constant(*bias));
        }
        Step::ApplyEach { input, output, constants } => {
            (*input, *output) = (place(*input), place(*output));
            *constants = constant(*constants);
        }
        Step::Copy(copy) => {
            (copy.input, copy.output) = (place(copy.input), place(copy.output));
            copy.table = copy.table.map(&mut constant);
        }
    }
    step
}

/// Where a step has no constant of this kind.
pub(crate) const NO_CONSTANT: u32 = u32::MAX;
