//! Which samples, in which order: the validation split held out from train, and the order of an epoch.

use std::collections::BTreeMap;

use attar_measures::random::Stream;

/// Splits the samples with these labels into (train, validation), each ascending. Of every class `share` of its samples
/// (rounded to the nearest, but never all of them) goes to validation, chosen by the seed.
pub fn hold_out(labels: &[u32], share: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut classes = BTreeMap::<u32, Vec<u32>>::new();
    for (index, &label) in (0..).zip(labels) {
        classes.entry(label).or_default().push(index);
    }
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (label, mut members) in classes {
        Stream::at(*b"hold out", seed, 0, u64::from(label)).shuffle(&mut members);
        // A NaN or negative share casts to 0.
        let held = ((members.len() as f64 * share).round() as usize).min(members.len() - 1);
        validation.extend_from_slice(&members[..held]);
        train.extend_from_slice(&members[held..]);
    }
    train.sort_unstable();
    validation.sort_unstable();
    (train, validation)
}

/// The order in which an epoch visits `0..n`: a shuffle keyed by (seed, epoch).
pub fn epoch_order(n: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    Stream::at(*b"order   ", seed, epoch, 0).shuffle(&mut order);
    order
}

/// The images of a balanced epoch, as many as there are labels, drawn with replacement: each class that has any as likely as
/// every other, in it each image. Keyed by (seed, epoch).
pub fn balanced_order(labels: &[u32], seed: u64, epoch: u64) -> Vec<u32> {
    let mut classes = BTreeMap::<u32, Vec<u32>>::new();
    for (index, &label) in (0..).zip(labels) {
        classes.entry(label).or_default().push(index);
    }
    let classes: Vec<Vec<u32>> = classes.into_values().collect();
    let mut stream = Stream::at(*b"balanced", seed, epoch, 0);
    let mut draw = |of: usize| stream.below(of as u64) as usize;
    let one = |_: &u32| {
        let members = classes.get(draw(classes.len()))?;
        members.get(draw(members.len())).copied()
    };
    labels.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_out_is_stratified_disjoint_and_seeded() {
        let labels: Vec<u32> = (0..1000).map(|i| i % 10).collect();
        let (train, validation) = hold_out(&labels, 0.1, 5);
        assert_eq!((train.len(), validation.len()), (900, 100));
        for class in 0..10 {
            assert_eq!(validation.iter().filter(|&&i| labels[i as usize] == class).count(), 10);
        }
        let mut all = [train.clone(), validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!(hold_out(&labels, 0.1, 5), (train, validation.clone()));
        assert_ne!(hold_out(&labels, 0.1, 6).1, validation);
    }

    #[test]
    fn hold_out_leaves_something_to_train_on() {
        assert_eq!(hold_out(&[0, 0, 1], 1.0, 0).0.len(), 2);
        assert_eq!(hold_out(&[0, 0, 1], 0.0, 0).1, [0_u32; 0]);
        assert_eq!(hold_out(&[0, 0, 1], f64::NAN, 0).1, [0_u32; 0]);
        assert_eq!(hold_out(&[], 0.5, 0), (vec![], vec![]));
    }

    #[test]
    fn a_balanced_epoch_shows_every_class_alike() {
        // 900 images of class 0, 90 of class 3, 10 of class 7.
        let labels: Vec<u32> = (0..1000)
            .map(|i| {
                if i < 900 {
                    0
                } else if i < 990 {
                    3
                } else {
                    7
                }
            })
            .collect();
        let order = balanced_order(&labels, 3, 1);
        assert_eq!(order.len(), 1000);
        for class in [0, 3, 7] {
            let count = order.iter().filter(|&&i| labels[i as usize] == class).count();
            assert!((280..390).contains(&count), "class {class}: {count}");
        }
        let rare: std::collections::BTreeSet<u32> = order.iter().copied().filter(|i| *i >= 990).collect();
        assert_eq!(rare.len(), 10, "each of the rare ones is there");
        assert_eq!(order, balanced_order(&labels, 3, 1));
        assert_ne!(order, balanced_order(&labels, 3, 2));
        assert_ne!(order, balanced_order(&labels, 4, 1));
        assert_eq!(balanced_order(&[], 3, 1), [0_u32; 0]);
    }

    #[test]
    fn epoch_order_is_a_permutation_of_its_own() {
        let order = epoch_order(500, 3, 1);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..500).collect::<Vec<_>>());
        assert_eq!(order, epoch_order(500, 3, 1));
        assert_ne!(order, epoch_order(500, 3, 2));
        assert_ne!(order, epoch_order(500, 4, 1));
        assert_eq!(epoch_order(0, 3, 1), [0_u32; 0]);
    }
}
