//! Numbers and names of a recipe that no file is needed to judge.

use std::collections::BTreeSet;

use super::{fail, training};
use crate::error::Result;
use crate::recipe::{Attack, CLEAN, Recipe, STUDENT, Update};

/// More epochs than anybody waits for; the schedule of a plan is laid out epoch by epoch.
const MOST_EPOCHS: usize = 1_000_000;

/// Checks them.
pub(super) fn check(recipe: &Recipe) -> Result<()> {
    let train = &recipe.train;
    let positive = [
        ("train.epochs", train.epochs),
        ("train.batch", train.batch),
        ("train.eval_every", train.eval_every),
        ("train.threads", train.threads.unwrap_or(1)),
        ("train.checkpoint_every_steps", train.checkpoint_every_steps.unwrap_or(1)),
    ];
    if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(fail(key, "0, expected at least 1"));
    }
    train.on_divergence.check()?;
    if train.epochs > MOST_EPOCHS {
        return Err(fail("train.epochs", format!("{}, expected at most {MOST_EPOCHS}", train.epochs)));
    }
    if let Some(rate) = train.learning_rate.values().find(|rate| *rate < 0.0) {
        return Err(fail("train.learning_rate", format!("{rate} would climb, expected 0 or above")));
    }
    training::check_numbers(recipe)?;
    for loss in &recipe.losses {
        if let Some(weight) = loss.weight.values().find(|weight| *weight < 0.0) {
            let problem = format!("{weight} would make the loss grow, expected 0 or above");
            return Err(fail(&format!("losses.{}.weight", loss.name), problem));
        }
    }
    if train.update == Update::InTurn && recipe.peers.is_empty() {
        return Err(fail("train.update", "`in-turn`, but the recipe has no [[peers]] to take turns with"));
    }
    if train.clip.is_some_and(|clip| !(clip > 0.0 && clip.is_finite())) {
        return Err(fail("train.clip", "expected a positive gradient norm"));
    }
    train.optimiser.build()?;
    if train.ema.is_some_and(|decay| !(0.0..1.0).contains(&decay)) {
        return Err(fail("train.ema", "expected a decay in [0, 1), e.g. 0.999"));
    }
    if recipe.losses.is_empty() {
        return Err(fail("losses", "nothing to minimise; plain training has one `cross-entropy`"));
    }
    let good = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if !good(&recipe.name) {
        return Err(fail("name", format!("`{}`, expected letters, digits, `-` and `_`", recipe.name)));
    }
    unique("losses", recipe.losses.iter().map(|loss| loss.name.as_str()), good)?;
    let views = recipe.views.iter().map(|view| view.name.as_str());
    unique("views", std::iter::once(CLEAN).chain(views), good)?;
    for section in &recipe.robustness {
        let fail = |(key, problem)| fail(&format!("robustness.{}.{key}", section.name), problem);
        Attack::from(section).check().map_err(fail)?;
    }
    unique("robustness", recipe.robustness.iter().map(|attack| attack.name.as_str()), good)?;
    // A loss may name any of them as its teacher.
    let teachers = recipe.teachers.iter().map(|teacher| teacher.name.as_str());
    let peers = recipe.peers.iter().map(|peer| peer.name.as_str());
    unique("teachers", std::iter::once(STUDENT).chain(teachers).chain(peers), good)
}

fn unique<'a>(list: &str, names: impl Iterator<Item = &'a str>, good: impl Fn(&str) -> bool) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !good(name) {
            return Err(fail(list, format!("the name `{name}`: expected letters, digits, `-` and `_`")));
        }
        if !seen.insert(name) {
            return Err(fail(&format!("{list}.{name}"), "this name is used twice"));
        }
    }
    Ok(())
}
