//! A file of weights, asked how many classes its network has.

use std::path::Path;

use attar_formats::{read, rename};
use attar_models::Weights;
use attar_models::zoo::{self, NetworkSpec};

/// The classes of the network `spec` whose weights are in the file: of the network as it is, or with another classifier. `None`
/// where the file holds something else; what that is, the plan says.
pub(super) fn classes(path: &Path, spec: &NetworkSpec) -> Option<usize> {
    let weights = read::any(path).ok()?.weights;
    let matrices = weights.0.values().filter(|array| array.shape.len() == 2);
    let mut counts: Vec<usize> = matrices.map(|array| array.shape[0]).collect();
    counts.retain(|count| *count != spec.classes);
    counts.insert(0, spec.classes);
    counts.into_iter().find(|count| fits(&weights, &NetworkSpec { classes: *count, ..spec.clone() }))
}

fn fits(weights: &Weights, spec: &NetworkSpec) -> bool {
    zoo::build(spec).is_ok_and(|graph| rename::fit(&graph, weights.clone()).is_ok())
}
