//! Several batches for one step: gradients averaged by images, so that a step is that of a batch so many times as large but
//! for what a network or a loss computes across a batch (batch norms, similarities of samples).

use attar_exec::Slots;

use crate::error::Result;
use crate::run::step::split::Part;
use crate::run::step::updates::Turn;
use crate::run::step::views::Loaded;
use crate::run::step::{Learner, Outcome, Position};

impl Learner {
    /// One step with the batches that `load` makes of each part of `sizes`, which are its numbers of images.
    pub(in crate::run) fn step_of_many(
        &mut self,
        sizes: &[usize],
        at: Position,
        load: &mut dyn FnMut(&Self, usize) -> Result<Loaded>,
    ) -> Result<Outcome> {
        self.watch.start();
        let all = sizes.iter().sum::<usize>().max(1) as f64;
        let mut gradients = Slots::default();
        let mut outcome = Outcome::default();
        for (part, size) in sizes.iter().enumerate() {
            let (at, share) = (Position { part, ..at }, *size as f64 / all);
            let loaded = load(self, part)?;
            let found = self.differentiate(Turn::Everybody, &loaded, at)?;
            for (slot, gradient) in found.gradients.iter() {
                let own = (gradient * share)?;
                let sum = match gradients.take(slot) {
                    Some(sum) => attar_exec::ops::add(self.student().context().backend(), &sum, &own)?,
                    None => own,
                };
                gradients.put(slot, sum);
            }
            self.objective.after(&found.inputs, at)?;
            outcome.images += size;
            outcome.correct += found.correct;
            outcome.loss += share * found.loss;
            // Every part is at the same time, so the same losses are active in all.
            for (id, term) in &found.terms {
                *outcome.terms.entry(self.name(*id)).or_default() += share * term;
            }
            outcome.weights = self.objective.named(&found.weights);
        }
        (outcome.lr, outcome.gradient_norm) = self.updates.apply(Turn::Everybody, gradients, &mut self.students, at)?;
        self.watch.lap(Part::Update)?;
        outcome.split = self.watch.split();
        Ok(outcome)
    }
}
