//! Scales and biases that are tuned so that a network in integers answers as the one in floats does, on images without labels:
//! gradient descent on the KL divergence of its answers, the weights' whole numbers following the scales, nothing else learning.

use std::collections::BTreeSet;

use attar_exec::Network;
use attar_measures::log_softmax;
use attar_measures::random::{Stream, purpose};
use attar_models::{Graph, Role, Weights};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::adam::adam;
use crate::answers::{log_probabilities, mean_kl};
use crate::error::{Error, Result};
use crate::images::{BATCH, Images};
use crate::latent::Latent;
use crate::rewrite::Quantised;

/// How scales and biases are tuned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Steps of Adam.
    pub steps: usize,
    /// Images in a step.
    pub batch: usize,
    /// Step size for logarithms of scales, to base 2.
    pub scale_rate: f64,
    /// Step size for biases, in units of what their layer's largest bias is.
    pub bias_rate: f64,
    /// Decides the order of images.
    pub seed: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { steps: 200, batch: 16, scale_rate: 5e-3, bias_rate: 1e-3, seed: 0 }
    }
}

/// What tuning came to: mean KL divergence from the answers in floats, in nats, of the images that were set aside.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// Before.
    pub before: f64,
    /// Of what was kept; that of before where nothing was better.
    pub after: f64,
    /// After how many steps it was found; 0 where nothing was better.
    pub step: usize,
}

/// Of so many images one is set aside: what is kept is chosen by these.
const SET_ASIDE: usize = 4;

/// So often it is asked whether what there is now is better.
const LOOKS: usize = 8;

/// Tunes scales and biases of a network that was quantised, its biases corrected or not, its weights rounded to the nearest.
/// `graph` and `weights` are the prepared network. `done` hears how many steps are. Same images, same bits.
///
/// # Errors
/// Fewer than eight images, settings of 0; a device that failed.
pub fn tune(
    graph: &Graph,
    weights: &Weights,
    quantised: &mut Quantised,
    images: &Images<'_>,
    settings: Tuning,
    done: &mut dyn FnMut(usize),
) -> Result<Tuned> {
    let rates = [settings.scale_rate, settings.bias_rate];
    if settings.steps == 0 || settings.batch == 0 || rates.iter().any(|rate| !(*rate > 0.0 && rate.is_finite())) {
        return Err(Error::setting("tuning", format!("{settings:?}, expected numbers above 0")));
    }
    if images.len() < 2 * SET_ASIDE {
        return Err(Error::setting("tuning", format!("of {} images, expected 8 or more", images.len())));
    }
    let float = Network::from_weights(graph.clone(), weights, &Device::Cpu)?;
    let samples = Samples::of(&float, images)?;
    let mut tuner = Tuner::of(graph, weights, quantised, settings)?;
    let before = samples.divergence(&tuner.network)?;
    let (mut best, mut kept) = (Tuned { before, after: before, step: 0 }, None);
    let look = (settings.steps / LOOKS).max(1);
    let mut order = Vec::new();
    let mut stream = Stream::at(purpose("tune"), settings.seed, 0, 0);
    for step in 0..settings.steps {
        let mut batch = Vec::with_capacity(settings.batch);
        while batch.len() < settings.batch {
            if order.is_empty() {
                order = (0..samples.learn.len()).collect::<Vec<usize>>();
                stream.shuffle(&mut order);
            }
            batch.extend(order.pop());
        }
        tuner.step(&samples, &batch, step)?;
        if (step + 1) % look == 0 || step + 1 == settings.steps {
            let now = samples.divergence(&tuner.network)?;
            if now < best.after {
                best = Tuned { after: now, step: step + 1, ..best };
                kept = Some(tuner.latent.numbers(tuner.latent.params())?);
            }
        }
        done(step + 1);
    }
    if let Some(numbers) = kept {
        quantised.rewritten.weights = numbers;
    }
    Ok(best)
}

/// Images with the answers in floats, as logarithms of probabilities.
struct Samples {
    /// Those that are learned from, `[1, C, H, W]` each.
    learn: Vec<(Tensor, Vec<f64>)>,
    /// Those that choose, in batches.
    choose: Vec<Tensor>,
    chosen_by: Vec<Vec<f64>>,
}

impl Samples {
    fn of(float: &Network, images: &Images<'_>) -> Result<Self> {
        let (mut learn, mut aside, mut at) = (Vec::new(), Vec::new(), 0);
        for batch in images.batches() {
            let batch = batch?;
            for (row, answer) in log_probabilities(float, &batch)?.into_iter().enumerate() {
                let image = batch.narrow(0, row, 1)?;
                let is_aside = at % SET_ASIDE == SET_ASIDE - 1;
                if is_aside { &mut aside } else { &mut learn }.push((image, answer));
                at += 1;
            }
        }
        let (images, chosen_by): (Vec<Tensor>, Vec<Vec<f64>>) = aside.into_iter().unzip();
        let choose = images.chunks(BATCH).map(|images| Ok(Tensor::cat(images, 0)?)).collect::<Result<_>>()?;
        Ok(Self { learn, choose, chosen_by })
    }

    /// Mean KL divergence over those that choose.
    fn divergence(&self, network: &Network) -> Result<f64> {
        let mut own = Vec::with_capacity(self.chosen_by.len());
        for batch in &self.choose {
            own.extend(log_probabilities(network, batch)?);
        }
        Ok(mean_kl(&self.chosen_by, &own))
    }
}

/// The network in integers, the floats behind it, and Adam's means of those that learn.
struct Tuner {
    latent: Latent,
    network: Network,
    /// Name, step size and means of each parameter that learns.
    learning: Vec<(String, f64, Vec<[f64; 2]>)>,
}

impl Tuner {
    fn of(graph: &Graph, weights: &Weights, quantised: &Quantised, settings: Tuning) -> Result<Self> {
        let mut latent = Latent::of(graph, weights, quantised, true)?;
        let rounded = &quantised.rewritten.weights;
        // Biases go on from where correcting them left them.
        let params = latent.params();
        let biases: Vec<(String, Tensor)> = params
            .trained()
            .filter(|(_, _, role)| *role == Role::Bias)
            .filter_map(|(name, tensor, _)| Some((name.to_owned(), rounded.get(name)?, tensor.dims().to_vec())))
            .map(|(name, array, shape)| Ok((name, Tensor::from_slice(array.f32()?, shape, &Device::Cpu)?)))
            .collect::<Result<_>>()?;
        let mut learning = Vec::new();
        for (name, tensor) in &biases {
            let largest = tensor.abs()?.max_all()?.to_scalar::<f32>()?;
            let rate = settings.bias_rate * f64::from(if largest > 0.0 { largest } else { 1.0 });
            learning.push((name.clone(), rate, vec![[0.0; 2]; tensor.elem_count()]));
        }
        for (name, tensor, _) in params.trained().filter(|(_, _, role)| *role == Role::Step) {
            learning.push((name.to_owned(), settings.scale_rate, vec![[0.0; 2]; tensor.elem_count()]));
        }
        for (name, tensor) in biases {
            latent.params_mut().set(&name, tensor)?;
        }
        let graph = quantised.rewritten.graph.clone();
        let mut network = Network::from_weights(graph, &latent.numbers(latent.params())?, &Device::Cpu)?;
        latent.let_learn(&mut network, BTreeSet::new());
        Ok(Self { latent, network, learning })
    }

    fn step(&mut self, samples: &Samples, batch: &[usize], step: usize) -> Result<()> {
        let (images, wanted): (Vec<&Tensor>, Vec<&Vec<f64>>) =
            batch.iter().map(|at| (&samples.learn[*at].0, &samples.learn[*at].1)).unzip();
        let x = Tensor::cat(&images, 0)?;
        let (outputs, tape) = self.network.train(&x, &[], &mut Stream::of_number(0))?;
        let mut slopes = Vec::with_capacity(outputs.logits.elem_count());
        for (row, wanted) in outputs.logits.to_vec2::<f32>()?.iter().zip(wanted) {
            let own = log_softmax(row);
            slopes.extend(
                own.iter().zip(wanted).map(|(own, wanted)| ((own.exp() - wanted.exp()) / batch.len() as f64) as f32),
            );
        }
        let slopes = Tensor::from_vec(slopes, outputs.logits.shape(), &Device::Cpu)?;
        let end = self.network.graph().output();
        let found = self.network.backward(tape, vec![(end, slopes)], false)?.params;
        let gradients = self.latent.gradients(&self.network, &found)?;
        for (name, rate, means) in &mut self.learning {
            let params = self.latent.params();
            let slot = params.id(name)?;
            let Some(gradient) = gradients.get(slot) else { continue };
            let (gradient, value) = (gradient.flatten_all()?.to_vec1::<f32>()?, params.value(slot));
            let mut values = value.flatten_all()?.to_vec1::<f32>()?;
            for ((value, gradient), means) in values.iter_mut().zip(gradient).zip(means) {
                *value -= (*rate * adam(means, f64::from(gradient), step)) as f32;
            }
            let moved = Tensor::from_vec(values, value.shape(), &Device::Cpu)?;
            self.latent.params_mut().replace(slot, moved)?;
        }
        self.latent.settle(self.latent.params(), &mut self.network)
    }
}
