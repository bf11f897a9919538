//! Which of a learner's parameters move: the plan's patterns applied to what it is made of.

use crate::error::Result;
use crate::plan::Moves;
use crate::run::step::learner::Learner;

impl Learner {
    /// Resolves the recipe's patterns, and tells every network which of its parameters stay as they are.
    pub(in crate::run) fn settle_moves(&mut self) -> Result<()> {
        if self.train.freeze.is_empty() && self.train.learning_rate_factors.is_empty() {
            return Ok(());
        }
        let all = self.gather()?;
        let names: Vec<String> = all.trained().map(|(name, ..)| name.to_owned()).collect();
        self.moves = Moves::find(&self.train, &names)?;
        for student in &mut self.students {
            student.network.fix(&self.moves.frozen_under(&student.prefix));
        }
        for (prefix, network) in &mut self.connectors {
            network.fix(&self.moves.frozen_under(prefix));
        }
        Ok(())
    }
}
