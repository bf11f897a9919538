//! The exported weights under attack: accuracy on test images that were moved so that they err.

use std::collections::BTreeMap;

use attar_exec::Network;

use crate::error::Result;
use crate::recipe::{Attack, RobustnessSection};
use crate::run::feed::evaluate::Evaluation;
use crate::run::step::Position;
use crate::run::step::views::{Bounds, generator};

/// Accuracy under each attack by its name, in percent. White-box: the attack knows the weights.
pub(in crate::run) fn robustness(
    attacks: &[RobustnessSection],
    network: &Network,
    evaluation: &Evaluation<'_>,
    seed: u64,
) -> Result<BTreeMap<String, f64>> {
    let mut found = BTreeMap::new();
    let network = if attacks.is_empty() { return Ok(found) } else { network.freeze()? };
    let bounds = Bounds::of(evaluation.preprocessing, evaluation.device)?;
    for section in attacks {
        let attack = Attack::from(section);
        let mut batch = 0;
        let scores = evaluation.run_changed(
            |look| {
                let mut rng =
                    generator(seed, Position { epoch: 0, step: batch, part: 0, steps_per_epoch: 1 }, &section.name);
                batch += 1;
                attack.run(&look.x, &look.targets, &bounds, &mut rng, &mut |x, slope| network.input_gradient(x, slope))
            },
            |x| Ok(network.eval(x, &[])?.logits),
        )?;
        found.insert(section.name.clone(), scores.top1());
    }
    Ok(found)
}
