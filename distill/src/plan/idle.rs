//! What a recipe says and nothing comes of: losses that never count, settings that nobody reads, networks that nobody asks.

use super::fail;
use super::ids::{LossId, StudentId, Table, ViewId};
use super::losses::PlannedLoss;
use super::participants::{Participants, Source};
use super::views::PlannedView;
use crate::error::Result;
use crate::recipe::Recipe;

/// How a trial is told from a mistake.
const TRIAL: &str = "for a trial that means it, --allow-idle";

/// The first thing that does nothing is an error.
pub(super) fn check(
    recipe: &Recipe,
    steps_per_epoch: usize,
    losses: &Table<LossId, PlannedLoss>,
    views: &Table<ViewId, PlannedView>,
    participants: &Participants,
) -> Result<()> {
    let epochs = recipe.train.epochs;
    for section in &recipe.losses {
        if section.weight.most(epochs, steps_per_epoch) == 0.0 {
            let (what, hint) = match section.weight.values().any(|value| value > 0.0) {
                true if section.weight.counts_epochs_beyond(epochs) => (
                    "its first knot above 0 comes after the end",
                    "times are epochs; shares of the run are written with unit = \"fraction\"",
                ),
                true => ("no step of the run falls where it is above 0", "move its knots"),
                false => ("it is 0 at every knot", "take the loss out"),
            };
            let problem = format!("0 in every epoch of {epochs}: {what}\n  hint: {hint}; {TRIAL}");
            return Err(fail(&format!("losses.{}.weight", section.name), problem));
        }
        if let Some((setting, why)) = section.loss.idle().first() {
            let problem = format!("is not read: {why}\n  hint: take it out; {TRIAL}");
            return Err(fail(&format!("losses.{}.loss.{setting}", section.name), problem));
        }
    }
    let asked = |source: Source| {
        losses.rows().any(|loss| loss.teachers.contains(&source))
            || views.rows().any(|view| view.asks() == Some(source))
    };
    if let Some((_, teacher)) = participants.teachers.iter().find(|(id, _)| !asked(Source::Teacher(*id))) {
        let problem =
            format!("no loss and no view asks it\n  hint: name it as the `teacher` of a loss, or take it out; {TRIAL}");
        return Err(fail(&format!("teachers.{}", teacher.name), problem));
    }
    let mut peers = participants.students.iter().filter(|(id, _)| *id != StudentId::EXPORTED);
    if let Some((_, peer)) = peers.find(|(id, _)| !asked(Source::Student(*id))) {
        let problem = format!("learns, but nobody learns from it\n  hint: name it as the `teacher` of a loss; {TRIAL}");
        return Err(fail(&format!("peers.{}", peer.name), problem));
    }
    Ok(())
}

/// Knots after the end that nothing depends on.
pub(super) fn notes(recipe: &Recipe) -> Vec<String> {
    let epochs = recipe.train.epochs;
    let weights = recipe.losses.iter().map(|loss| (format!("losses.{}.weight", loss.name), &loss.weight));
    let all = weights.chain([("train.learning_rate".to_owned(), &recipe.train.learning_rate)]);
    let note = |(key, knots): (String, &crate::knots::Knots)| {
        let beyond: Vec<String> = knots.beyond(epochs).iter().map(ToString::to_string).collect();
        (!beyond.is_empty())
            .then(|| format!("{key}: the knots at {} come after the end and change nothing", beyond.join(", ")))
    };
    all.filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use attar_models::Outline;
    use attar_models::zoo::{NetworkSpec, build};

    use super::*;

    fn judge(losses: &str, set: &[&str]) -> (std::result::Result<(), String>, Vec<String>) {
        let text = format!("{}{losses}", crate::recipe::PLAIN);
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        let recipe = Recipe::parse(&text, &set).unwrap();
        let student = build(&NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap();
        let mut participants = Participants::plain(&student, &[Outline::from(&student)], 10, 0);
        recipe.peers.iter().for_each(|peer| participants.add_peer(&peer.name, &student));
        let losses = recipe.losses.iter().map(|section| participants.fit(section).unwrap()).collect();
        participants.teachers = Table::default(); // none that must be asked
        let found = check(&recipe, 10, &losses, &Table::default(), &participants).map_err(|error| error.to_string());
        (found, notes(&recipe))
    }

    fn loss(weight: &str, loss: &str) -> String {
        format!("[[losses]]\nname = \"x\"\nweight = {weight}\nloss = {{ {loss} }}\n")
    }

    #[test]
    fn a_loss_that_never_counts_is_an_error_with_the_other_unit_as_hint() {
        let late = loss("{ at = [[1, 0.0], [61, 1.0]] }", "kind = \"cross-entropy\"");
        let message = judge(&late, &["train.epochs=5"]).0.unwrap_err();
        assert!(message.contains("losses.x.weight") && message.contains("unit = \"fraction\""), "{message}");
        assert!(judge(&late, &["train.epochs=61"]).0.is_ok());
        let never = judge(&loss("0.0", "kind = \"cross-entropy\""), &[]).0.unwrap_err();
        assert!(never.contains("0 at every knot"), "{never}");
    }

    #[test]
    fn settings_that_the_others_leave_unread_are_errors() {
        for (settings, expected) in [
            ("kind = \"kd\", temperature = 4.0, denominator = \"batch\"", "loss.denominator"),
            ("kind = \"kd\", temperature = 4.0, wrong = \"swap\", epsilon = 0.2", "loss.epsilon"),
            ("kind = \"dtd\", wrong = \"drop\", epsilon = 0.2", "loss.epsilon"),
            ("kind = \"nkd\", gamma = 0.0, temperature = 3.0", "loss.temperature"),
            ("kind = \"wkd-l\", cost = \"equal\", transport = 0.0, temperature = 8.0", "loss.temperature"),
            ("kind = \"wkd-l\", cost = \"equal\", transport = 0.0, target = 0.0", "loss.target"),
            ("kind = \"mlkd\", instance = 0.0, standardise = true", "loss.standardise"),
            ("kind = \"dkd\", alpha = 0.0, beta = 0.0", "loss.alpha"),
            ("kind = \"dist\", beta = 0.0, gamma = 0.0", "loss.beta"),
            ("kind = \"rkd\", distance = 0.0, angle = 0.0", "loss.distance"),
            ("kind = \"meal\", discriminator = { game = \"joint\", weight = 0.0 }", "loss.discriminator.weight"),
            ("kind = \"channel\", connector = \"none\", relu = false", "loss.relu"),
            ("kind = \"crd\", in_batch = true, negatives = 5", "loss.negatives"),
            ("kind = \"crd\", in_batch = true, exclude = \"image\"", "loss.exclude"),
            ("kind = \"gacd\", anchor = \"fixed\", dim = 5", "loss.dim"),
            ("kind = \"gacd\", weighting = \"none\", denominator = \"weights\"", "loss.denominator"),
        ] {
            let message = judge(&loss("1.0", settings), &[]).0.unwrap_err();
            assert!(message.contains(expected) && message.contains("is not read"), "{settings}: {message}");
        }
        for settings in [
            "kind = \"kd\", temperature = 4.0, denominator = \"correct\"",
            "kind = \"kd\", temperature = 4.0, wrong = \"drop\", denominator = \"batch\"",
            "kind = \"kd\", temperature = 4.0, wrong = \"smooth\", epsilon = 0.2",
            "kind = \"channel\", connector = \"always\", relu = false",
            "kind = \"mlkd\", batch = 0.0, standardise = true",
        ] {
            assert!(judge(&loss("1.0", settings), &[]).0.is_ok(), "{settings}");
        }
    }

    #[test]
    fn a_peer_that_nobody_learns_from_is_an_error() {
        let peer = "[[peers]]\nname = \"p\"\nnetwork = { name = \"resnet8\" }\n";
        let own = "[[losses]]\nname = \"y\"\nweight = 1.0\nstudent = \"p\"\nloss = { kind = \"cross-entropy\" }\n";
        let text = format!("{peer}{own}{}", loss("1.0", "kind = \"cross-entropy\""));
        let message = judge(&text, &[]).0.unwrap_err();
        assert!(message.contains("peers.p") && message.contains("nobody learns from it"), "{message}");
    }

    #[test]
    fn knots_after_the_end_are_a_note() {
        let steps = loss("{ at = [[1, 1.0], [9, 0.5]] }", "kind = \"cross-entropy\"");
        let (found, notes) = judge(&steps, &["train.epochs=3"]);
        assert!(found.is_ok() && notes.len() == 1 && notes[0].contains("losses.x.weight: the knots at 9"), "{notes:?}");
    }
}
