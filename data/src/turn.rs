//! A few images of every class.

use std::collections::BTreeMap;

/// Up to `count` indices, class by class in turn: the first image of each class, then the second, and so on.
pub fn in_turn(labels: &[u32], count: usize) -> Vec<usize> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, label) in labels.iter().enumerate() {
        classes.entry(*label).or_default().push(i);
    }
    let longest = classes.values().map(Vec::len).max().unwrap_or_default();
    let rounds = (0..longest).flat_map(|round| classes.values().filter_map(move |members| members.get(round)));
    rounds.take(count).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_taken_in_turn() {
        assert_eq!(in_turn(&[0, 0, 0, 1, 2, 2], 5), [0, 3, 4, 1, 5]);
        assert_eq!(in_turn(&[], 5), Vec::<usize>::new());
    }
}
