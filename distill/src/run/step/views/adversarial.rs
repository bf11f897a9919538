//! Projected gradient ascent on a network's loss in the pixels (PGD: Madry et al. 2018, arXiv 1706.06083).

use attar_measures::random::Stream;
use attar_pixels::Preprocessing;
use candle_core::{Device, Tensor};

use super::Look;
use crate::error::Result;
use crate::losses::log_softmax;
use crate::plan::Source;
use crate::recipe::Climb;
use crate::run::step::learner::Learner;

/// Answers with d loss / d pixels at some pixels, given how d loss / d logits follows from logits.
type Gradient<'a> = dyn FnMut(&Tensor, &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> + 'a;

/// How images are attacked; pixel values are shares of their range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::run) struct Attack {
    pub(in crate::run) epsilon: f64,
    pub(in crate::run) step: f64,
    pub(in crate::run) steps: usize,
    pub(in crate::run) random_start: bool,
    pub(in crate::run) climb: Climb,
}

/// What normalisation makes of the range of pixels, one value a channel, each `[1, C, 1, 1]`.
#[derive(Debug, Clone)]
pub(in crate::run) struct Bounds {
    /// Of black.
    pub(in crate::run) low: Tensor,
    /// Of the brightest value.
    pub(in crate::run) high: Tensor,
    /// Of the whole range.
    range: Tensor,
}

impl Bounds {
    /// The bounds of normalised pixels.
    pub(in crate::run) fn of(preprocessing: &Preprocessing, device: &Device) -> Result<Self> {
        let (mean, std) = (&preprocessing.mean, &preprocessing.std);
        let tensor = |values: Vec<f32>| Tensor::from_slice(&values, (1, values.len(), 1, 1), device);
        let pairs = || mean.iter().zip(std);
        Ok(Self {
            low: tensor(pairs().map(|(mean, std)| -mean / std).collect())?,
            high: tensor(pairs().map(|(mean, std)| (1.0 - mean) / std).collect())?,
            range: tensor(std.iter().map(|std| 1.0 / std).collect())?,
        })
    }

    /// The nearest pixels that an image can have.
    pub(in crate::run) fn clip(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.broadcast_maximum(&self.low)?.broadcast_minimum(&self.high)?)
    }
}

impl Attack {
    /// Pixels within `epsilon` of `x` that raise the loss.
    pub(in crate::run) fn run(
        &self,
        x: &Tensor,
        targets: &Tensor,
        bounds: &Bounds,
        rng: &mut Stream,
        gradient: &mut Gradient<'_>,
    ) -> Result<Tensor> {
        let x = x.contiguous()?;
        let radius = (&bounds.range * self.epsilon)?;
        let (least, most) = (x.broadcast_sub(&radius)?, x.broadcast_add(&radius)?);
        let project = |moved: &Tensor| bounds.clip(&moved.maximum(&least)?.minimum(&most)?);
        let mut at = x.clone();
        if self.random_start {
            let noise: Vec<f32> = (0..x.elem_count()).map(|_| (2.0 * rng.unit() - 1.0) as f32).collect();
            let noise = Tensor::from_vec(noise, x.shape(), x.device())?;
            at = project(&(x.clone() + noise.broadcast_mul(&radius)?)?)?;
        }
        let stride = (&bounds.range * self.step)?;
        // Of cross-entropy with the targets, and of KL from the first answer, alike: softmax minus what is expected.
        let expected = match self.climb {
            Climb::Labels => targets.clone(),
            Climb::Divergence => self.answer(&x, gradient)?,
        };
        for _ in 0..self.steps {
            let slope = gradient(&at, &|logits| Ok((softmax(logits)? - &expected)?))?;
            at = project(&(at + slope.contiguous()?.sign()?.broadcast_mul(&stride)?)?)?;
        }
        Ok(at)
    }

    /// The network's probabilities at `x`.
    fn answer(&self, x: &Tensor, gradient: &mut Gradient<'_>) -> Result<Tensor> {
        let answer = std::cell::RefCell::new(None);
        gradient(x, &|logits| {
            *answer.borrow_mut() = Some(softmax(logits)?);
            Ok(logits.zeros_like()?)
        })?;
        let missing = || candle_core::Error::Msg("the attacked network gave no answer".to_owned()).into();
        answer.into_inner().ok_or_else(missing)
    }
}

fn softmax(logits: &Tensor) -> Result<Tensor> {
    Ok(log_softmax(logits)?.exp()?)
}

impl Learner {
    /// The plain batch, moved so that the network `asks` errs on it.
    pub(super) fn attacked(
        &mut self,
        attack: &Attack,
        asks: Option<Source>,
        clean: &Look,
        rng: &mut Stream,
    ) -> Result<Tensor> {
        let bounds = Bounds::of(&self.preprocessing, &self.device)?;
        match asks {
            Some(Source::Teacher(i)) => {
                let teacher = &mut self.teachers[i];
                attack.run(&clean.x, &clean.targets, &bounds, rng, &mut |x, slope| teacher.input_gradient(x, slope))
            }
            other => {
                let i = if let Some(Source::Student(i)) = other { i } else { 0 };
                let network = self.students[i].network.freeze()?;
                attack.run(&clean.x, &clean.targets, &bounds, rng, &mut |x, slope| network.input_gradient(x, slope))
            }
        }
    }
}
