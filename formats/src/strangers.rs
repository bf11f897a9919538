//! What lies in checkpoints beside a network's weights and is known to be no part of it: counters, profilers' sums, losses,
//! auxiliary classifiers, optimisers.

use std::collections::BTreeMap;

use attar_models::Array;

/// Counters of PyTorch's batch norms, which every state dictionary has and no network here a use for. Nobody needs to hear
/// of them alone.
const COUNTER: &str = "num_batches_tracked";

/// Last parts of names: `thop`'s sums, the count of `AveragedModel` and of EMA wrappers.
const NUMBERS: [&str; 5] = [COUNTER, "total_ops", "total_params", "n_averaged", "num_updates"];

/// Parts of names before the last one: what a training script kept in the same module.
const GROUPS: [&str; 15] = [
    "criterion",
    "loss",
    "loss_fn",
    "loss_func",
    "aux_classifier",
    "AuxLogits",
    "aux1",
    "aux2",
    "optimizer",
    "optimizer_state",
    "optimizer_states",
    "lr_scheduler",
    "train_acc",
    "val_acc",
    "test_acc",
];

/// Takes the strangers out, but for names that are `wanted`; tells which, and how many of each.
pub(crate) fn take_out(
    arrays: &mut BTreeMap<String, Array>,
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    arrays.retain(|name, _| match kind(name).filter(|_| !wanted(name)) {
        None => true,
        Some(kind) => {
            *counts.entry(kind).or_default() += 1;
            false
        }
    });
    counts
}

/// As which stranger a name is known.
fn kind(name: &str) -> Option<&'static str> {
    let mut parts: Vec<&str> = name.split('.').collect();
    let last = parts.pop()?;
    let number = NUMBERS.iter().find(|known| **known == last);
    number.or_else(|| GROUPS.iter().find(|known| parts.contains(known))).copied()
}

/// What was taken out, for people; nothing where it was batch norms' counters alone.
pub(crate) fn note(counts: &BTreeMap<&'static str, usize>) -> Option<String> {
    if counts.keys().all(|kind| *kind == COUNTER) {
        return None;
    }
    let listed: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
    let all: usize = counts.values().sum();
    Some(format!("{all} arrays that are no part of the network were left out: {}", listed.join(", ")))
}
