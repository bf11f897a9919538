//! Several batches for one step: gradients averaged by images, so that a step is that of a batch so many times as large but
//! for what a network or a loss computes across a batch (batch norms, similarities of samples).

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::error::Result;
use crate::run::step::learner::Learner;
use crate::run::step::split::Part;
use crate::run::step::views::Look;
use crate::run::step::{Outcome, Position};

impl Learner {
    /// One step with the batches that `load` makes of each part of `sizes`, which are its numbers of images.
    pub(in crate::run) fn step_of_many(
        &mut self,
        sizes: &[usize],
        at: Position,
        load: &mut dyn FnMut(&Self, usize) -> Result<Vec<Look>>,
    ) -> Result<Outcome> {
        self.watch.start();
        let all = sizes.iter().sum::<usize>().max(1) as f64;
        let mut gradients: BTreeMap<String, Tensor> = BTreeMap::new();
        let mut outcome = Outcome::default();
        for (part, size) in sizes.iter().enumerate() {
            let (at, share) = (Position { part, ..at }, *size as f64 / all);
            let loaded = load(self, part)?;
            let found = self.differentiate(None, &loaded, at)?;
            for (name, gradient) in &found.gradients {
                let own = (gradient * share)?;
                let sum = match gradients.remove(name) {
                    Some(sum) => attar_exec::ops::add(self.student().context().backend(), &sum, &own)?,
                    None => own,
                };
                gradients.insert(name.clone(), sum);
            }
            self.after(&found, at)?;
            outcome.images += size;
            outcome.correct += found.correct;
            outcome.loss += share * found.loss;
            // Every part is at the same time, so the same losses are active in all.
            for (i, term) in found.active.iter().zip(&found.terms) {
                *outcome.terms.entry(self.losses[*i].name.clone()).or_default() += share * term;
            }
            outcome.weights = self.named(&found.weights);
        }
        (outcome.lr, outcome.gradient_norm) = self.update(None, gradients, at)?;
        self.watch.lap(Part::Update)?;
        outcome.split = self.watch.split();
        Ok(outcome)
    }
}
