//! Settings of training that need the data or the networks to be judged: accumulation, patience, sampling; and what people
//! should know of them.

use attar_models::{Graph, Op};

use super::ground::Ground;
use super::{LossId, Moves, PlannedData, PlannedLoss, PlannedPeer, Table, fail, prefix};
use crate::error::Result;
use crate::recipe::{Recipe, Sampling, Update};

/// Checks what numbers alone decide.
pub(super) fn check_numbers(recipe: &Recipe) -> Result<()> {
    let train = &recipe.train;
    for (key, value) in [("train.accumulate", train.accumulate), ("train.patience", train.patience)] {
        if value == Some(0) {
            return Err(fail(key, "0, expected at least 1"));
        }
    }
    if train.update == Update::InTurn && train.accumulate.is_some_and(|batches| batches > 1) {
        let problem = "networks that move in turn answer again after every move, so that their gradients cannot wait";
        return Err(fail("train.accumulate", format!("{problem}\n  hint: leave one of `update` and `accumulate` out")));
    }
    Ok(())
}

/// Checks what the data and the losses decide.
pub(super) fn check(recipe: &Recipe, data: &PlannedData, losses: &Table<LossId, PlannedLoss>) -> Result<()> {
    if recipe.train.patience.is_some() && data.validation.is_empty() {
        let problem = "there is no validation split that could get no better\n  hint: set `data.validation`, e.g. 0.1";
        return Err(fail("train.patience", problem));
    }
    let remembers = losses.rows().find(|loss| loss.loss.remembers_images());
    if let (Sampling::Balanced, Some(loss)) = (recipe.data.sampling, remembers) {
        let problem = format!(
            "\"balanced\" may show an image twice in a batch, and the loss `{}` remembers each by its number\n  hint: \
             weigh the classes in cross-entropy instead (`class_weights = \"balanced\"`)",
            loss.name
        );
        return Err(fail("data.sampling", problem));
    }
    Ok(())
}

/// Which parameters move how fast, by their names in the plan.
pub(super) fn moves(
    recipe: &Recipe,
    ground: &Ground,
    peers: &[PlannedPeer],
    losses: &Table<LossId, PlannedLoss>,
) -> Result<Moves> {
    let quantiser = ground.student.nodes().iter().find(|node| matches!(node.op, Op::Quantize(_)));
    if let (Some(node), None) = (quantiser, &ground.integers) {
        let problem = format!(
            "its node `{}` quantises: its weights are whole numbers, which no step may move
  hint: start from the network \
             as it was in floats, with `rewrites = [{{ kind = \"quantise\" }}]`",
            node.name
        );
        return Err(fail("student", problem));
    }
    let own = |graph: &Graph, prefix: &str| -> Vec<String> {
        let trained = graph.params().filter(|param| param.role.is_trained());
        trained.map(|param| format!("{prefix}{}", param.name)).collect()
    };
    let mut names = match &ground.integers {
        Some(integers) => integers.latent.params().trained().map(|(name, ..)| name.to_owned()).collect(),
        None => own(&ground.student, ""),
    };
    for peer in peers {
        names.extend(own(&peer.graph, &format!("peers.{}.", peer.name)));
    }
    for loss in losses.rows() {
        for connector in loss.taps.student.iter().filter_map(|tap| tap.connector.as_ref()) {
            names.extend(own(&connector.graph, &prefix(&loss.name, &connector.name)));
        }
        names.extend(loss.params.iter().map(|param| format!("losses.{}.{}", loss.name, param.name)));
    }
    let moves = Moves::find(&recipe.train, &names)?;
    moves.check(&names, &["peers.".to_owned(), "losses.".to_owned()])?;
    Ok(moves)
}

/// What people should know before it runs.
pub(super) fn notes(recipe: &Recipe, student: &Graph, moves: &Moves) -> Vec<String> {
    let (train, mut notes) = (&recipe.train, Vec::new());
    let (mut norms, mut still) = (0, 0);
    for node in student.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm2d(_))) {
        let frozen = node.params().filter(|param| param.role.is_trained()).all(|p| moves.frozen.contains(&p.name));
        if frozen { still += 1 } else { norms += 1 }
    }
    if let Some(batches) = train.accumulate.filter(|batches| *batches > 1) {
        let batch = train.batch;
        let seen = match norms {
            0 => String::new(),
            count => {
                format!("; {count} batch norms of the student see {batch} images at a time, not {}", batches * batch)
            }
        };
        notes.push(format!("train.accumulate: a step learns from {batches} batches of {batch} images{seen}"));
    }
    if !moves.frozen.is_empty() {
        let count = moves.frozen.len();
        notes.push(format!(
            "train.freeze: {count} parameters do not learn, and {still} batch norms keep their running statistics"
        ));
    }
    if let Some(patience) = train.patience {
        notes.push(format!(
            "train.patience: ends after {patience} evaluations without a better one; the learning rate follows the schedule of all {} epochs",
            train.epochs
        ));
    }
    if recipe.data.sampling == Sampling::Balanced {
        let what = "an epoch draws as many images as there are, every class alike, some twice and some not at all";
        notes.push(format!("data.sampling: {what}"));
    }
    notes
}
