//! Samples beyond the training set (Extracurricular Learning: Pouransari et al. 2020, arXiv 2007.00051; our reading, for the
//! sampler is not spelled out where we could read it): points on the line through two images, inside and outside the
//! segment, of which the teacher keeps those that it is least sure of.

use std::collections::BTreeMap;

use attar_measures::random::Stream;
use candle_core::{D, Tensor};

use super::{Bounds, Views};
use crate::error::Result;
use crate::losses::log_softmax;
use crate::plan::{Table, TeacherId};
use crate::run::feed::batch::ViewBatch;
use crate::run::step::teachers::RunningTeacher;
use crate::teacher::Question;

impl Views {
    /// As many samples as the batch has, the most uncertain of `candidates` times as many. `x_a + l (x_b - x_a)` with `l`
    /// uniform in `range` for each sample, cut to what pixels can be; targets are mixed by `l` cut to 0 to 1.
    pub(super) fn extracurricular(
        &self,
        clean: &ViewBatch,
        teachers: &mut Table<TeacherId, RunningTeacher>,
        chooser: TeacherId,
        (range, candidates): ([f64; 2], usize),
        rng: &mut Stream,
    ) -> Result<ViewBatch> {
        let mut bounds = BTreeMap::from([(None, Bounds::of(&self.preprocessing, &self.device)?)]);
        for id in clean.own.keys() {
            let own = teachers[*id].input.own().map_or(&self.preprocessing, |own| &own.preprocessing);
            bounds.insert(Some(*id), Bounds::of(own, &self.device)?);
        }
        let drawn = (0..candidates).map(|_| candidate(clean, range, &bounds, rng)).collect::<Result<Vec<_>>>()?;
        let cat = |part: &dyn Fn(&ViewBatch) -> Tensor| Tensor::cat(&drawn.iter().map(part).collect::<Vec<_>>(), 0);
        let all = ViewBatch {
            x: cat(&|batch| batch.x.clone())?,
            own: clean.own.keys().map(|id| Ok((*id, cat(&|batch| batch.own[id].clone())?))).collect::<Result<_>>()?,
            labels: cat(&|batch| batch.labels.clone())?,
            targets: cat(&|batch| batch.targets.clone())?,
            ids: drawn.iter().flat_map(|batch| batch.ids.clone()).collect(),
        };
        if candidates < 2 {
            return Ok(all);
        }
        let question = Question { pixels: all.seen_by(chooser), samples: None };
        let uncertainty = entropy(&teachers[chooser].outputs(&question, &[])?.logits)?;
        all.permuted(&most(&uncertainty, clean.len()))
    }
}

fn candidate(
    clean: &ViewBatch,
    range: [f64; 2],
    bounds: &BTreeMap<Option<TeacherId>, Bounds>,
    rng: &mut Stream,
) -> Result<ViewBatch> {
    let other = clean.permuted(&rng.permutation(clean.len()))?;
    let steps: Vec<f32> = (0..clean.len()).map(|_| (range[0] + (range[1] - range[0]) * rng.unit()) as f32).collect();
    let steps = Tensor::from_vec(steps, (clean.len(), 1), clean.x.device())?;
    let share = steps.clamp(0f32, 1f32)?;
    let mixed = (&clean.targets + (&other.targets - &clean.targets)?.broadcast_mul(&share)?)?;
    let steps = steps.reshape((clean.len(), 1, 1, 1))?;
    clean.combined(&other, mixed, |who, a, b| bounds[&who].clip(&(a + (b - a)?.broadcast_mul(&steps)?)?))
}

/// Entropy of the probabilities of each row of logits, in nats.
fn entropy(logits: &Tensor) -> Result<Vec<f32>> {
    let log = log_softmax(logits)?;
    Ok((log.exp()? * log)?.sum(D::Minus1)?.neg()?.to_vec1::<f32>()?)
}

/// Positions of the `count` largest values, in their order; of equal ones the first.
fn most(values: &[f32], count: usize) -> Vec<u32> {
    let top = attar_measures::top(values, count, f32::total_cmp);
    let mut order: Vec<u32> = top.into_iter().map(|at| at as u32).collect();
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_least_sure_are_kept_in_their_order() {
        let logits = Tensor::new(&[[9f32, 0.0], [0.0, 0.0], [5.0, 0.0], [0.1, 0.0]], &Device::Cpu).unwrap();
        let uncertainty = entropy(&logits).unwrap();
        assert!((uncertainty[1] - 2f32.ln()).abs() < 1e-6);
        assert_eq!(most(&uncertainty, 2), [1, 3]);
        assert_eq!(most(&[1.0, 1.0, 1.0], 2), [0, 1]);
    }
}
