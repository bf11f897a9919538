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

/// The positions of at most `count` labels, every class in turn, those of each class spread evenly over all that it has: of no
/// class more than its share of `count`, so fewer where a class has fewer.
pub fn spread_in_turn(labels: &[u32], count: usize) -> Vec<usize> {
    let mut by_class: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    labels.iter().enumerate().for_each(|(at, label)| by_class.entry(*label).or_default().push(at));
    let each = count.div_ceil(by_class.len().max(1)).max(1);
    let mut chosen: Vec<Vec<usize>> = by_class
        .into_values()
        .map(|all| {
            let take = each.min(all.len());
            (0..take).map(|at| all[at * all.len() / take]).collect()
        })
        .collect();
    let mut order = Vec::new();
    for round in 0..each {
        order.extend(chosen.iter_mut().filter_map(|class| class.get(round).copied()));
    }
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_taken_in_turn() {
        assert_eq!(in_turn(&[0, 0, 0, 1, 2, 2], 5), [0, 3, 4, 1, 5]);
        assert_eq!(in_turn(&[], 5), Vec::<usize>::new());
    }

    #[test]
    fn every_class_is_asked_alike_and_evenly() {
        let labels: Vec<u32> = (0..100).map(|at| u32::from(at >= 80)).collect();
        assert_eq!(spread_in_turn(&labels, 8), [0, 80, 20, 85, 40, 90, 60, 95]);
        assert_eq!(spread_in_turn(&labels, 50).iter().filter(|at| **at >= 80).count(), 20, "one class has no more");
        assert_eq!(spread_in_turn(&labels, 1), [0]);
        assert!(spread_in_turn(&[], 5).is_empty());
    }
}
