//! Projected gradient ascent on a network's loss in the pixels (PGD: Madry et al. 2018, arXiv 1706.06083).

use attar_measures::random::Stream;
use attar_pixels::Preprocessing;
use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::losses::log_softmax;
use crate::plan::Source;
use crate::recipe::{Attack, Climb};
use crate::run::feed::batch::ViewBatch;
use crate::run::step::students::Students;
use crate::run::step::teachers::Teachers;

/// Answers with d loss / d pixels at some pixels, given how d loss / d logits follows from logits.
type Gradient<'a> = dyn FnMut(&Tensor, &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> + 'a;

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
    /// The plain batch, moved so that the network `against` errs on it.
    pub(super) fn on(
        &self,
        against: Source,
        clean: &ViewBatch,
        bounds: &Bounds,
        students: &Students,
        teachers: &mut Teachers,
        rng: &mut Stream,
    ) -> Result<Tensor> {
        let (x, targets) = (&clean.x, &clean.targets);
        match against {
            Source::Teacher(id) => {
                let teacher = &mut teachers.0[id];
                self.run(x, targets, bounds, rng, &mut |x, slope| teacher.input_gradient(x, slope))
            }
            Source::Student(id) => {
                let network = students.networks[id].network.freeze()?;
                self.run(x, targets, bounds, rng, &mut |x, slope| network.input_gradient(x, slope))
            }
        }
    }

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
