//! What a network in integers learns by: floats behind its whole numbers, which optimisers move and which are rounded anew
//! after every step, by the functions that rounding after training has ([`crate::quantise`]).
//!
//! * Weights and biases of layers, as floats ("latent" or "shadow" weights; Courbariaux et al. 2015, arXiv 1511.00363). A
//!   gradient passes straight through rounding, and stops where a weight is clamped.
//! * Logarithms to base 2 of scales, one for each quantiser and for each output channel of a weight, as distances from where
//!   they began. With exact scales they are rounded to whole powers of two, straight through (Jain et al. 2020, arXiv
//!   1903.08066). Their gradient is that of learned step sizes (LSQ: Esser et al. 2020, arXiv 1902.08153, equation 3), with its
//!   factor of `1 / sqrt(N Q)`, and divided by `s ln 2`: so a step of gradient descent moves the scale `s` itself as it does there.
//! * All else as it is. Zero points stay.

use std::collections::BTreeSet;
use std::f64::consts::LN_2;

use attar_exec::{Network, Params, Slots};
use attar_models::{Graph, Op, Role, Weights};
use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::layout::{Layer, Layout, Quantiser};
use crate::levels::Scales;
use crate::rewrite::{Quantised, Settings};
use crate::weights::most_steps;

/// Scales go from 2^-120 to 2^60: dividing by them, and by products of two, overflows no float.
const SCALES: [f32; 2] = [7.523_164e-37, 1.152_921_5e18];

/// The floats that a network in integers learns by. Layers have `NODE.weight` and `NODE.bias` as in floats; where scales learn,
/// `NODE.weight_scale` is where they began, and `NODE.weight_step` how many powers of two they have moved. A quantiser has
/// `NODE.scale` and `NODE.step`. What is not quantised keeps its names.
#[derive(Debug, Clone)]
pub struct Latent {
    layout: Layout,
    settings: Settings,
    learns_scales: bool,
    params: Params,
    /// Parameters of the network of which backward need find no gradient.
    fixed: BTreeSet<String>,
}

impl Latent {
    /// Those of a network, `graph` and `weights` as it was prepared, that was `quantised` and not changed since. Batch norms
    /// that are still in it keep what they have: they normalise by their running statistics, as when it is deployed.
    ///
    /// # Errors
    /// Weights that are not those of the network.
    pub fn of(graph: &Graph, weights: &Weights, quantised: &Quantised, learns_scales: bool) -> Result<Self> {
        weights.check(graph)?;
        let (after, rounded) = (&quantised.rewritten.graph, &quantised.rewritten.weights);
        let mut latent = Self {
            layout: quantised.layout.clone(),
            settings: quantised.settings,
            learns_scales,
            params: Params::default(),
            fixed: BTreeSet::new(),
        };
        latent.keep_the_rest(after, rounded)?;
        for at in 0..latent.layout.layers.len() {
            latent.layer(at, weights, rounded)?;
        }
        for at in 0..latent.layout.quantisers.len() {
            latent.quantiser(at)?;
        }
        Ok(latent)
    }

    fn keep_the_rest(&mut self, after: &Graph, weights: &Weights) -> Result<()> {
        let layers: BTreeSet<&str> = self.layout.layers.iter().map(|layer| layer.node.name.as_str()).collect();
        let rest = after.nodes().iter().filter(|node| !layers.contains(node.name.as_str()));
        for node in rest.filter(|node| !matches!(node.op, Op::Quantize(_) | Op::Dequantize(_))) {
            for param in node.params() {
                let stays = matches!(node.op, Op::BatchNorm2d(_)) && param.role.is_trained();
                if stays {
                    self.fixed.insert(param.name.clone());
                }
                let role = if stays { Role::Constant } else { param.role };
                add(&mut self.params, &param.name, floats(weights, &param.name)?.to_vec(), &param.shape, role)?;
            }
        }
        Ok(())
    }

    fn layer(&mut self, at: usize, weights: &Weights, rounded: &Weights) -> Result<()> {
        let layer = &mut self.layout.layers[at];
        let name = |suffix: &str| format!("{}.{suffix}", layer.node.name);
        let outputs = [layer.outputs];
        let (weight, params) = (name("weight"), &mut self.params);
        let shape = weights.get(&weight).map(|array| array.shape.clone()).unwrap_or_default();
        add(params, &weight, floats(weights, &weight)?.to_vec(), &shape, Role::Weight)?;
        let bias = match layer.has_bias {
            true => floats(weights, &name("bias"))?.to_vec(),
            false => vec![0.0; layer.outputs],
        };
        add(params, &name("bias"), bias, &outputs, Role::Bias)?;
        if self.learns_scales {
            let scales = floats(rounded, &name("weight_scale"))?.to_vec();
            add(params, &name("weight_scale"), scales, &outputs, Role::Constant)?;
            add(params, &name("weight_step"), vec![0.0; layer.outputs], &outputs, Role::Step)?;
        }
        layer.has_bias = true;
        Ok(())
    }

    fn quantiser(&mut self, at: usize) -> Result<()> {
        let quantiser = &self.layout.quantisers[at];
        let Quantiser { nodes, levels, .. } = quantiser;
        let first = nodes.first().map(String::as_str).unwrap_or_default();
        add(&mut self.params, &format!("{first}.scale"), vec![levels.scale], &[1], Role::Constant)?;
        if self.learns(quantiser) {
            add(&mut self.params, &format!("{first}.step"), vec![0.0], &[1], Role::Step)?;
        } else {
            self.fixed.extend(nodes.iter().map(|node| format!("{node}.scale")));
        }
        Ok(())
    }

    /// The end of one that is a ReLU6, too, stands in the graph.
    fn learns(&self, quantiser: &Quantiser) -> bool {
        self.learns_scales && !quantiser.clamps
    }

    /// The floats, as they are now.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The floats, for an optimiser or a checkpoint to change.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Tells a network which gradients [`Latent::gradients`] asks it for: those of what learns, of scales, too, where they do.
    /// What is `frozen`, by its name there, stays as it is, and so do norms.
    pub fn let_learn(&self, network: &mut Network, mut frozen: BTreeSet<String>) {
        frozen.extend(self.fixed.iter().cloned());
        network.fix(&frozen);
        if self.learns_scales {
            network.learn_scales();
        }
    }

    /// The network's parameters, whole numbers of whole steps, from floats as [`Latent::params`] has them.
    ///
    /// # Errors
    /// Floats that are not those of this network; a device that failed.
    pub fn numbers(&self, params: &Params) -> Result<Weights> {
        let all = params.to_weights()?;
        let scales: Vec<f32> =
            self.layout.quantisers.iter().map(|quantiser| self.scale(&all, quantiser)).collect::<Result<_>>()?;
        let mut numbers = Weights::default();
        self.layout.write_levels(&scales, &mut numbers)?;
        for layer in &self.layout.layers {
            let given = self.learns_scales.then(|| self.weight_scales(&all, layer)).transpose()?;
            layer.write(&all, scales[layer.input], given.as_deref(), self.settings, &mut numbers)?;
        }
        for (name, array) in all.0 {
            if !is_step(&name) {
                numbers.0.entry(name).or_insert(array);
            }
        }
        Ok(numbers)
    }

    fn scale(&self, all: &Weights, quantiser: &Quantiser) -> Result<f32> {
        let first = quantiser.nodes.first().map(String::as_str).unwrap_or_default();
        let start = floats(all, &format!("{first}.scale"))?.first().copied().unwrap_or(quantiser.levels.scale);
        match self.learns(quantiser) {
            true => Ok(self.moved(start, floats(all, &format!("{first}.step"))?.first().copied().unwrap_or_default())),
            false => Ok(start),
        }
    }

    fn weight_scales(&self, all: &Weights, layer: &Layer) -> Result<Vec<f32>> {
        let [starts, steps] =
            ["weight_scale", "weight_step"].map(|suffix| floats(all, &format!("{}.{suffix}", layer.node.name)));
        Ok(starts?.iter().zip(steps?).map(|(start, step)| self.moved(*start, *step)).collect())
    }

    /// A scale that began as `start` and has moved by so many powers of two.
    fn moved(&self, start: f32, by: f32) -> f32 {
        let by = if self.settings.scales == Scales::Exact { by.round_ties_even() } else { by };
        (start * by.exp2()).clamp(SCALES[0], SCALES[1])
    }

    /// Lets a network have the numbers of `params`.
    ///
    /// # Errors
    /// As [`Latent::numbers`]; another network.
    pub fn settle(&self, params: &Params, network: &mut Network) -> Result<()> {
        let device = network.device().clone();
        for (name, array) in self.numbers(params)?.0 {
            let tensor = Tensor::from_slice(array.f32()?, array.shape.as_slice(), &device)?;
            network.params_mut().set(&name, tensor)?;
        }
        Ok(())
    }

    /// Gradients of the floats, by the slots of [`Latent::params`], from those of the network's parameters that a backward
    /// pass found. What no gradient reached has none.
    ///
    /// # Errors
    /// Another network; a device that failed.
    pub fn gradients(&self, network: &Network, found: &Slots) -> Result<Slots> {
        let (own, params) = (network.params(), &self.params);
        let of = |name: &str| own.id(name).ok().and_then(|slot| found.get(slot));
        let mut all = Slots::default();
        for slot in params.trained_slots() {
            if let Some(gradient) = of(params.name(slot)) {
                all.put(slot, gradient.clone());
            }
        }
        for layer in &self.layout.layers {
            let name = |suffix: &str| format!("{}.{suffix}", layer.node.name);
            let Some(gradient) = of(&name("weight")) else { continue };
            let [weight, scales, gradient] =
                [params.get(&name("weight"))?, own.get(&name("weight_scale"))?, gradient].map(flat);
            let (dweight, dsteps) = self.of_weight(layer, &weight?, &scales?, &gradient?);
            let weight = params.id(&name("weight"))?;
            all.put(weight, Tensor::from_vec(dweight, params.value(weight).shape(), network.device())?);
            if self.learns_scales {
                let step = params.id(&name("weight_step"))?;
                all.put(step, Tensor::from_vec(dsteps, layer.outputs, network.device())?);
            }
        }
        for quantiser in self.layout.quantisers.iter().filter(|quantiser| self.learns(quantiser)) {
            let gradients: Vec<&Tensor> =
                quantiser.nodes.iter().filter_map(|node| of(&format!("{node}.scale"))).collect();
            let (Some(first), false) = (quantiser.nodes.first(), gradients.is_empty()) else { continue };
            let scale = flat(own.get(&format!("{first}.scale"))?)?.first().copied().unwrap_or(1.0);
            let mut sum = 0.0;
            for gradient in gradients {
                sum += flat(gradient)?.iter().copied().map(f64::from).sum::<f64>();
            }
            let step = params.id(&format!("{first}.step"))?;
            let gradient = of_step(sum, scale, quantiser.values, quantiser.end());
            all.put(step, Tensor::from_vec(vec![gradient], 1, &Device::Cpu)?.to_device(network.device())?);
        }
        Ok(all)
    }

    /// Gradients of a weight in floats and of the logarithms of its steps. Inside, where rounding passes a gradient on, is up to
    /// half a step beyond the last number, as in PyTorch's fake quantisation: scales that are as large as the largest weight
    /// asks would else never let that weight learn.
    fn of_weight(&self, layer: &Layer, weight: &[f32], scales: &[f32], gradient: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (depth, most) = (layer.depth(weight.len()), most_steps(self.settings.weight_bits));
        let mut dweight = Vec::with_capacity(weight.len());
        let rows = weight.chunks(depth).zip(gradient.chunks(depth)).zip(scales);
        let dsteps = rows.map(|((row, gradient), scale)| {
            let mut sum = 0.0f64;
            for (weight, gradient) in row.iter().zip(gradient) {
                let steps = weight / scale;
                let whole = steps.round_ties_even();
                let is_inside = whole.abs() <= most;
                let slope = if is_inside { whole - steps } else { whole.clamp(-most, most) };
                sum += f64::from(*gradient) * f64::from(slope);
                dweight.push(if is_inside { *gradient } else { 0.0 });
            }
            of_step(sum, *scale, depth, most)
        });
        let dsteps = dsteps.collect();
        (dweight, dsteps)
    }
}

impl Quantiser {
    /// The end of its numbers that is farther from what stands for 0.
    fn end(&self) -> f32 {
        let zero = f32::from(self.levels.zero);
        zero.max(f32::from(self.highest.unwrap_or(u8::MAX)) - zero)
    }
}

/// What of a logarithm's gradient an optimiser gets, from that of the scale: LSQ's factor for `values` that share it and reach
/// to `end`, and what a logarithm changes less by.
fn of_step(gradient: f64, scale: f32, values: usize, end: f32) -> f32 {
    let factor = 1.0 / (values.max(1) as f64 * f64::from(end).max(1.0)).sqrt();
    (gradient * factor / (f64::from(scale) * LN_2)) as f32
}

fn is_step(name: &str) -> bool {
    name.ends_with(".step") || name.ends_with(".weight_step")
}

fn add(params: &mut Params, name: &str, values: Vec<f32>, shape: &[usize], role: Role) -> Result<()> {
    Ok(params.add(name, Tensor::from_vec(values, shape, &Device::Cpu)?, role)?)
}

fn floats<'w>(weights: &'w Weights, name: &str) -> Result<&'w [f32]> {
    let array = weights.get(name).ok_or_else(|| Error::setting(format!("parameter `{name}`"), "is not there"))?;
    Ok(array.f32()?)
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?)
}
