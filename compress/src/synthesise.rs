//! Images from a network alone: noise that is moved until what each batch norm sees has the mean and the deviation that it
//! remembers of the images of training (Cai et al. 2020, "ZeroQ: A Novel Zero Shot Quantization Framework", arXiv 2001.00281,
//! section 3.1; our reading: distances are in units of the norm's own deviation, so that layers count alike).

use attar_exec::Frozen;
use attar_measures::random::{Stream, purpose};
use attar_models::{Graph, NodeId, Op, Weights};
use candle_core::{Device, Tensor};

use crate::adam::adam;
use crate::error::{Error, Result};

/// How images are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Synthesis {
    /// How many.
    pub images: usize,
    /// Images in a batch, over which means and deviations are taken.
    pub batch: usize,
    /// Steps of Adam for each batch.
    pub steps: usize,
    /// Step size of Adam, in units of the network's input.
    pub learning_rate: f64,
    /// Decides the noise.
    pub seed: u64,
}

impl Default for Synthesis {
    fn default() -> Self {
        Self { images: 64, batch: 16, steps: 200, learning_rate: 0.1, seed: 0 }
    }
}

/// Images that were made.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthesised {
    /// Each `[C, H, W]`, as the network takes them.
    pub images: Vec<Vec<f32>>,
    /// Mean squared distance from the norms' statistics before the first step and after the last, mean of all batches.
    pub distance: [f64; 2],
}

/// Least share of a layer's largest factor with which a channel counts: one that hardly passes its norm says nothing.
const LEAST_FACTOR: f32 = 1e-3;

/// Makes images of a network with batch norms, not folded. `range` is what each channel of its input can be, lowest and highest;
/// images stay within. `done` hears how many steps of all batches are. Same network, same settings, same bits.
///
/// # Errors
/// A network without batch norms behind convolutions, settings of 0, a range for each channel missing; a device that failed.
pub fn synthesise(
    graph: &Graph,
    weights: &Weights,
    range: &[[f32; 2]],
    settings: &Synthesis,
    done: &mut dyn FnMut(usize),
) -> Result<Synthesised> {
    let Synthesis { images, batch, steps, learning_rate, seed } = *settings;
    if images == 0 || batch == 0 || steps == 0 || !(learning_rate > 0.0 && learning_rate.is_finite()) {
        return Err(Error::setting("synthesis", format!("{settings:?}, expected numbers above 0")));
    }
    let &[channels, height, width] = graph.input_shape() else {
        return Err(Error::setting("input", format!("is {:?}, expected [C, H, W]", graph.input_shape())));
    };
    if range.len() != channels {
        return Err(Error::setting("range", format!("of {} channels, expected {channels}", range.len())));
    }
    let targets = Target::all(graph, weights)?;
    let taps: Vec<NodeId> = targets.iter().map(|target| target.norm).collect();
    let network = Frozen::new(graph.clone(), weights, &Device::Cpu)?;
    let mut made = Synthesised { images: Vec::with_capacity(images), distance: [0.0; 2] };
    let batches = images.div_ceil(batch);
    for at in 0..batches {
        let shape = (batch, channels, height, width);
        let plane = height * width;
        let mut x = Stream::at(purpose("synthesise"), seed, 0, at as u64).normals(batch * channels * plane, 1.0);
        let bound = |x: &mut [f32]| {
            for (at, value) in x.iter_mut().enumerate() {
                let [low, high] = range[at / plane % channels];
                *value = value.clamp(low, high);
            }
        };
        bound(&mut x);
        let mut means = vec![[0.0; 2]; x.len()];
        for step in 0..steps {
            let tensor = Tensor::from_slice(&x, shape, &Device::Cpu)?;
            let mut distance = 0.0;
            let (outputs, tape) = network.forward(&tensor, &taps)?;
            let slopes = outputs.taps.iter().zip(&targets);
            let slopes = slopes.map(|(values, target)| Ok((target.norm, target.slope(values, &mut distance)?)));
            let gradient = network.backward(tape, slopes.collect::<Result<_>>()?)?;
            let distance = distance / targets.len() as f64;
            if step == 0 {
                made.distance[0] += distance / batches as f64;
            }
            let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            for ((value, gradient), means) in x.iter_mut().zip(gradient).zip(&mut means) {
                *value -= (learning_rate * adam(means, f64::from(gradient), step)) as f32;
            }
            bound(&mut x);
            done(at * steps + step + 1);
        }
        let tensor = Tensor::from_slice(&x, shape, &Device::Cpu)?;
        let values = network.eval(&tensor, &taps)?.taps;
        let mut distance = 0.0;
        for (values, target) in values.iter().zip(&targets) {
            target.slope(values, &mut distance)?;
        }
        made.distance[1] += distance / (targets.len() * batches) as f64;
        let left = images - made.images.len();
        made.images.extend(x.chunks(channels * plane).take(left).map(<[f32]>::to_vec));
    }
    Ok(made)
}

/// What a batch norm's value should be, in mean and deviation: its shift and its factor.
struct Target {
    norm: NodeId,
    factor: Vec<f32>,
    shift: Vec<f32>,
}

impl Target {
    fn all(graph: &Graph, weights: &Weights) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for (id, node) in graph.iter() {
            let behind_one = node.inputs.first().is_some_and(|of| matches!(graph.node(*of).op, Op::Conv2d(_)));
            if !matches!(node.op, Op::BatchNorm2d(_)) || !behind_one {
                continue;
            }
            let param = |suffix| attar_models::quantised::param(weights, node, suffix).map(<[f32]>::to_vec);
            all.push(Self { norm: id, factor: param("weight")?, shift: param("bias")? });
        }
        if all.is_empty() {
            let problem = "it has no batch norms behind convolutions, whose statistics images could be made of; exporters fold them";
            return Err(Error::setting(format!("network `{}`", graph.name()), problem));
        }
        Ok(all)
    }

    /// Adds the mean, over channels, of `((mean - shift) / factor)^2 + (deviation / |factor| - 1)^2` of values `[N, C, H, W]` to
    /// `distance`, and gives its slope in the values.
    fn slope(&self, values: &Tensor, distance: &mut f64) -> Result<Tensor> {
        let (batch, channels, height, width) = values.dims4()?;
        let plane = height * width;
        let numbers: Vec<f32> = values.flatten_all()?.to_vec1()?;
        let largest = self.factor.iter().fold(0f32, |most, factor| most.max(factor.abs()));
        let counts = |channel: usize| self.factor[channel].abs() > LEAST_FACTOR * largest;
        let counted = (0..channels).filter(|channel| counts(*channel)).count().max(1) as f64;
        let of = |channel: usize| (0..batch).map(move |n| (n * channels + channel) * plane);
        let mut slopes = vec![0f32; numbers.len()];
        for channel in (0..channels).filter(|channel| counts(*channel)) {
            let (factor, shift) = (f64::from(self.factor[channel]), f64::from(self.shift[channel]));
            let all = (batch * plane) as f64;
            let each = || of(channel).flat_map(|start| &numbers[start..start + plane]).map(|value| f64::from(*value));
            let mean = each().sum::<f64>() / all;
            let deviation = (each().map(|value| (value - mean).powi(2)).sum::<f64>() / all).sqrt().max(1e-8);
            let (off, wide) = ((mean - shift) / factor, deviation / factor.abs() - 1.0);
            *distance += (off * off + wide * wide) / counted;
            let (per_mean, per_value) =
                (2.0 * off / factor / all / counted, 2.0 * wide / factor.abs() / (all * deviation) / counted);
            for start in of(channel) {
                for (slope, value) in slopes[start..start + plane].iter_mut().zip(&numbers[start..start + plane]) {
                    *slope = (per_mean + per_value * (f64::from(*value) - mean)) as f32;
                }
            }
        }
        Ok(Tensor::from_vec(slopes, values.dims(), &Device::Cpu)?)
    }
}

#[cfg(test)]
mod tests {
    use attar_models::generated;
    use attar_models::zoo::{NetworkSpec, build};

    use super::*;

    fn network() -> (Graph, Weights) {
        let graph = build(&NetworkSpec::new("resnet8", 10, [3, 16, 16])).unwrap();
        let weights = generated::weights(&graph, 3);
        (graph, weights)
    }

    const RANGE: [[f32; 2]; 3] = [[-2.0, 2.0]; 3];

    #[test]
    fn the_slope_is_that_of_the_distance() {
        let target = Target { norm: network().0.input(), factor: vec![0.5, -2.0, 1e-6], shift: vec![0.3, -1.0, 5.0] };
        let numbers = generated::input([2, 3, 4, 5], 7);
        let distance = |numbers: &[f32]| {
            let mut distance = 0.0;
            let values = Tensor::from_slice(numbers, (2, 3, 4, 5), &Device::Cpu).unwrap();
            let slopes = target.slope(&values, &mut distance).unwrap();
            (distance, slopes.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        let (_, slopes) = distance(&numbers);
        for at in [0, 19, 25, 60, 90] {
            let moved = |by: f32| {
                let mut numbers = numbers.clone();
                numbers[at] += by;
                distance(&numbers).0
            };
            let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let found = f64::from(slopes[at]);
            assert!((found - expected).abs() < 1e-3 * expected.abs().max(0.05), "{at}: {found} {expected}");
        }
        assert!(slopes[40..60].iter().all(|slope| *slope == 0.0), "a channel that hardly passes says nothing");
    }

    #[test]
    fn noise_comes_close_to_what_the_norms_remember_and_stays_in_its_range() {
        let (graph, weights) = network();
        let settings = Synthesis { images: 6, batch: 4, steps: 40, ..Synthesis::default() };
        let mut heard = 0;
        let made = synthesise(&graph, &weights, &RANGE, &settings, &mut |done| heard = done).unwrap();
        assert_eq!((made.images.len(), made.images[0].len(), heard), (6, 3 * 16 * 16, 80));
        assert!(made.distance[1] < 0.5 * made.distance[0], "{:?}", made.distance);
        assert!(made.images.iter().flatten().all(|value| (-2.0..=2.0).contains(value)));
        assert_eq!(synthesise(&graph, &weights, &RANGE, &settings, &mut |_| {}).unwrap(), made);
    }

    #[test]
    fn what_cannot_be_made_is_said() {
        let (graph, weights) = network();
        let refused = |graph: &Graph, weights: &Weights, range: &[[f32; 2]], settings: Synthesis| {
            synthesise(graph, weights, range, &settings, &mut |_| {}).unwrap_err().to_string()
        };
        let none = Synthesis { steps: 0, ..Synthesis::default() };
        assert!(refused(&graph, &weights, &RANGE, none).contains("above 0"));
        assert!(refused(&graph, &weights, &RANGE[..1], Synthesis::default()).contains("expected 3"));
        let folded = attar_models::fold::fold_batch_norm(&graph, &weights).unwrap();
        let message = refused(&folded.graph, &folded.weights, &RANGE, Synthesis::default());
        assert!(message.contains("no batch norms"), "{message}");
    }
}
