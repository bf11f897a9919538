//! Is the data fit to learn from and to judge by: broken files, missing classes, the same image twice.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::{Dataset, Splits};

/// A class with fewer images than this is called tiny.
const TINY: usize = 10;

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Class names, in the order of the labels.
    pub classes: Vec<String>,
    /// The training split.
    pub train: SplitReport,
    /// The test split.
    pub test: SplitReport,
    /// Images whose pixels are exactly equal, within a split and across.
    pub duplicates: Vec<Duplicate>,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitReport {
    /// Number of images.
    pub images: usize,
    /// Images of each class, in the order of the labels.
    pub per_class: Vec<usize>,
    /// Classes without an image.
    pub empty_classes: Vec<String>,
    /// Classes with 1 to 9 images.
    pub tiny_classes: Vec<String>,
    /// Images of the largest class over those of the smallest that is not empty; 1 when balanced.
    pub imbalance: f64,
    /// Number of images of each `HEIGHTxWIDTHxCHANNELS`.
    pub sizes: BTreeMap<String, usize>,
    /// Files that cannot be read.
    pub corrupt: Vec<Corrupt>,
}

/// A file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Corrupt {
    /// The image.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Images with equal pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// Those of the training split.
    pub train: Vec<String>,
    /// Those of the test split.
    pub test: Vec<String>,
    /// Their classes; more than one is a contradiction.
    pub classes: Vec<String>,
}

impl Report {
    /// Groups of equal images that are in both splits: the test is not a test there.
    pub fn leaks(&self) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter().filter(|group| !group.train.is_empty() && !group.test.is_empty())
    }

    /// Whether nothing is broken: no corrupt file, no empty class in train, no image in both splits. Duplicates inside a
    /// split, tiny classes and imbalance are worth knowing, but common.
    pub fn is_clean(&self) -> bool {
        let corrupt = self.train.corrupt.is_empty() && self.test.corrupt.is_empty();
        corrupt && self.train.empty_classes.is_empty() && self.leaks().next().is_none()
    }
}

/// Decodes every image of both splits, in parallel, and reports what is wrong. A file that cannot be read is a finding,
/// not an error.
pub fn check(splits: &Splits) -> Report {
    let mut groups = BTreeMap::new();
    let train = check_split(splits.train.as_ref(), &mut groups, |group| &mut group.train);
    let test = check_split(splits.test.as_ref(), &mut groups, |group| &mut group.test);
    let mut duplicates: Vec<Duplicate> =
        groups.into_values().filter(|group| group.train.len() + group.test.len() > 1).collect();
    duplicates.sort_by(|a, b| (&a.train, &a.test).cmp(&(&b.train, &b.test)));
    for group in &mut duplicates {
        group.classes.sort();
        group.classes.dedup();
    }
    Report { classes: splits.train.classes().to_vec(), train, test, duplicates }
}

fn check_split(
    dataset: &dyn Dataset,
    groups: &mut BTreeMap<[u8; 32], Duplicate>,
    side: impl Fn(&mut Duplicate) -> &mut Vec<String>,
) -> SplitReport {
    let seen: Vec<_> = (0..dataset.len())
        .into_par_iter()
        .map(|index| {
            let image = dataset.image(index)?;
            let size = format!("{}x{}x{}", image.height(), image.width(), image.channels());
            Ok::<_, crate::Error>((size, image.sha256()))
        })
        .collect();
    let classes = dataset.classes();
    let mut per_class = vec![0; classes.len()];
    let (mut sizes, mut corrupt) = (BTreeMap::new(), Vec::new());
    for (index, seen) in seen.into_iter().enumerate() {
        let label = dataset.label(index) as usize;
        if let Some(count) = per_class.get_mut(label) {
            *count += 1;
        }
        match seen {
            Ok((size, hash)) => {
                *sizes.entry(size).or_insert(0) += 1;
                let none = || Duplicate { train: vec![], test: vec![], classes: vec![] };
                let group = groups.entry(hash).or_insert_with(none);
                side(group).push(dataset.name(index));
                group.classes.extend(classes.get(label).cloned());
            }
            Err(error) => corrupt.push(Corrupt { name: dataset.name(index), problem: error.to_string() }),
        }
    }
    let having = |wanted: fn(usize) -> bool| {
        classes.iter().zip(&per_class).filter(|(_, count)| wanted(**count)).map(|(name, _)| name.clone()).collect()
    };
    let largest = per_class.iter().max().copied().unwrap_or(0);
    let smallest = per_class.iter().filter(|&&count| count > 0).min().copied().unwrap_or(1);
    SplitReport {
        images: dataset.len(),
        empty_classes: having(|count| count == 0),
        tiny_classes: having(|count| (1..TINY).contains(&count)),
        imbalance: largest.max(1) as f64 / smallest as f64,
        per_class,
        sizes,
        corrupt,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Image, Source};

    fn png(root: &Path, file: &str, value: u8) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, Image::new(1, 2, 1, vec![value; 2]).unwrap().to_png().unwrap()).unwrap();
    }

    fn report(root: &Path) -> Report {
        check(&Source::ImageFolder { root: root.to_owned(), test: None }.open().unwrap())
    }

    #[test]
    fn clean_data_is_clean() {
        let root = tempfile::tempdir().unwrap();
        for value in 0..24 {
            let (split, class) = (["train", "test"][value / 20], ["cat", "dog"][value % 2]);
            png(root.path(), &format!("{split}/{class}/{value}.png"), value as u8);
        }
        let report = report(root.path());
        assert!(report.is_clean() && report.duplicates.is_empty());
        assert_eq!((report.train.images, &report.train.per_class), (20, &vec![10, 10]));
        assert!(report.train.tiny_classes.is_empty());
        assert_eq!((report.test.tiny_classes.len(), report.test.imbalance), (2, 1.0));
        assert_eq!(report.train.sizes, BTreeMap::from([("2x1x1".to_owned(), 20)]));
    }

    #[test]
    fn every_fault_is_found_and_named() {
        let root = tempfile::tempdir().unwrap();
        for (file, value) in [
            ("train/cat/a.png", 1),
            ("train/cat/b.png", 1),
            ("train/cat/c.png", 2),
            ("train/dog/d.png", 3),
            ("test/cat/e.png", 2),
            ("test/cat/f.png", 3),
        ] {
            png(root.path(), file, value);
        }
        std::fs::create_dir_all(root.path().join("train/eel")).unwrap();
        std::fs::write(root.path().join("train/dog/broken.jpg"), [0xff, 0xd8, 0xff, 0xe0]).unwrap();
        let report = report(root.path());
        assert!(!report.is_clean());
        assert_eq!(report.train.corrupt[0].name, "train/dog/broken.jpg");
        assert!(report.train.corrupt[0].problem.contains("truncated JPEG"));
        assert_eq!(report.train.empty_classes, ["eel"]);
        assert_eq!(report.test.empty_classes, ["dog", "eel"]);
        assert_eq!(report.train.imbalance, 1.5);
        let group = |train: &[&str], test: &[&str], classes: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            Duplicate { train: own(train), test: own(test), classes: own(classes) }
        };
        let twins = group(&["train/cat/a.png", "train/cat/b.png"], &[], &["cat"]);
        let leak = group(&["train/cat/c.png"], &["test/cat/e.png"], &["cat"]);
        let contradiction = group(&["train/dog/d.png"], &["test/cat/f.png"], &["cat", "dog"]);
        assert_eq!(report.duplicates, [twins, leak.clone(), contradiction.clone()]);
        assert_eq!(report.leaks().collect::<Vec<_>>(), [&leak, &contradiction]);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["train"]["per_class"], serde_json::json!([3, 2, 0]));
    }
}
