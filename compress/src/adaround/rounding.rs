//! Up or down, for one layer.

use attar_measures::random::Stream;
use candle_core::{Device, Tensor};

use super::AdaRound;
use super::patches::Samples;
use crate::adam::adam;
use crate::error::Result;

/// Ends of the stretched sigmoid (Louizos et al. 2018, as the paper takes them).
const STRETCH: [f64; 2] = [-0.1, 1.1];

/// What draws weights up or down sets in after this part of the steps; its exponent falls from the first to the second.
const QUIET: f64 = 0.2;
const EXPONENT: [f64; 2] = [20.0, 2.0];

/// One layer.
pub(super) struct Layer {
    /// `[output][input of its group][row][column]`, in floats.
    pub(super) weight: Vec<f32>,
    /// A step of each output channel.
    pub(super) scales: Vec<f32>,
    /// As it will be.
    pub(super) bias: Vec<f32>,
    /// The largest number of steps.
    pub(super) most: f32,
    pub(super) groups: usize,
    /// What is left of outputs by what follows.
    pub(super) clamp: [f32; 2],
}

impl Layer {
    /// Weights of an output channel.
    pub(super) fn depth(&self) -> usize {
        (self.weight.len() / self.scales.len().max(1)).max(1)
    }
}

/// `h(V)`, 0 to 1, and its slope.
fn stretched(v: f64) -> (f64, f64) {
    let sigmoid = 1.0 / (1.0 + (-v).exp());
    let [low, high] = STRETCH;
    let value = sigmoid * (high - low) + low;
    let slope = if (0.0..=1.0).contains(&value) { sigmoid * (1.0 - sigmoid) * (high - low) } else { 0.0 };
    (value.clamp(0.0, 1.0), slope)
}

/// Learns which weights go up, and returns whole steps.
pub(super) fn learn(layer: &Layer, samples: &Samples, settings: AdaRound, stream: &mut Stream) -> Result<Vec<f32>> {
    let depth = layer.depth();
    let scale = |at: usize| layer.scales[at / depth];
    let floors: Vec<f32> = layer.weight.iter().enumerate().map(|(at, weight)| (weight / scale(at)).floor()).collect();
    // It begins where h is the part that rounding takes away.
    let begin = |(at, weight): (usize, &f32)| {
        let part = f64::from(weight / scale(at) - floors[at]).clamp(1e-4, 1.0 - 1e-4);
        let sigmoid = (part - STRETCH[0]) / (STRETCH[1] - STRETCH[0]);
        (sigmoid / (1.0 - sigmoid)).ln()
    };
    let mut v: Vec<f64> = layer.weight.iter().enumerate().map(begin).collect();
    let mut means = vec![[0.0f64; 2]; v.len()];
    for step in 0..settings.steps {
        let chosen: Vec<usize> = (0..settings.batch).map(|_| stream.below(samples.count as u64) as usize).collect();
        let soft: Vec<(f64, f64)> = v.iter().map(|v| stretched(*v)).collect();
        let steps = |at: usize| (floors[at] + soft[at].0 as f32).clamp(-layer.most, layer.most);
        let weight: Vec<f32> = (0..v.len()).map(|at| steps(at) * scale(at)).collect();
        let slopes = slopes(layer, &weight, samples, &chosen)?;
        let done = step as f64 / settings.steps as f64;
        let drawn = (done - QUIET) / (1.0 - QUIET);
        let exponent = EXPONENT[0] + (EXPONENT[1] - EXPONENT[0]) * drawn;
        for at in 0..v.len() {
            let (h, slope) = soft[at];
            let mut gradient = f64::from(slopes[at]) * f64::from(scale(at)) * slope;
            if drawn > 0.0 {
                let middle = 2.0 * h - 1.0;
                let pull = exponent * middle.abs().powf(exponent - 1.0) * 2.0 * middle.signum();
                gradient -= settings.lambda * pull * slope;
            }
            v[at] -= settings.learning_rate * adam(&mut means[at], gradient, step);
        }
    }
    let up = |v: f64| if stretched(v).0 >= 0.5 { 1.0 } else { 0.0 };
    let steps = floors.iter().zip(&v).map(|(floor, v)| (floor + up(*v)).clamp(-layer.most, layer.most));
    Ok(steps.collect())
}

/// Slopes in the weights of the mean over positions of the squared distance of outputs behind the clamp.
fn slopes(layer: &Layer, weight: &[f32], samples: &Samples, chosen: &[usize]) -> Result<Vec<f32>> {
    let (outputs, groups, depth) = (layer.scales.len(), layer.groups.max(1), layer.depth());
    let (batch, per_group) = (chosen.len(), outputs / groups);
    let width = groups * depth;
    let inputs: Vec<f32> = chosen.iter().flat_map(|at| &samples.inputs[at * width..][..width]).copied().collect();
    let [low, high] = layer.clamp;
    let error = |made: f32, position: usize, output: usize| {
        let made = made + layer.bias[output];
        let wanted = samples.outputs[chosen[position] * outputs + output];
        let passes = made > low && made < high;
        if passes { 2.0 / batch as f32 * (made - wanted.clamp(low, high)) } else { 0.0 }
    };
    if groups == 1 {
        let inputs = Tensor::from_vec(inputs, (batch, depth), &Device::Cpu)?;
        let weight = Tensor::from_slice(weight, (outputs, depth), &Device::Cpu)?;
        let made = inputs.matmul(&weight.t()?)?.flatten_all()?.to_vec1::<f32>()?;
        let errors = made.iter().enumerate().map(|(at, made)| error(*made, at / outputs, at % outputs)).collect();
        let errors = Tensor::from_vec(errors, (batch, outputs), &Device::Cpu)?;
        return Ok(errors.t()?.matmul(&inputs)?.flatten_all()?.to_vec1()?);
    }
    let mut slopes = vec![0.0; weight.len()];
    for (position, row) in inputs.chunks(width).enumerate() {
        for output in 0..outputs {
            let input = &row[output / per_group * depth..][..depth];
            let own = &weight[output * depth..][..depth];
            let made: f32 = input.iter().zip(own).map(|(x, w)| x * w).sum();
            let error = error(made, position, output);
            let own = &mut slopes[output * depth..][..depth];
            own.iter_mut().zip(input).for_each(|(slope, x)| *slope += error * x);
        }
    }
    Ok(slopes)
}
