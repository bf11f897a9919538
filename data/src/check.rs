//! Is the data fit to learn from and to judge by: broken files, missing classes, the same image twice.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::dataset::Dataset;
use crate::folder::{Finding, LeftOut, Survey};
use crate::scan::{Cache, Scan, scan};

/// A class with fewer images than this is called tiny.
const TINY: usize = 10;
/// The split that others must not share images with.
const LEARNED: &str = "train";

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// Class names, in the order of the labels.
    pub classes: Vec<String>,
    /// The splits by name: `train`, `val`, `test`.
    #[serde(flatten)]
    pub splits: BTreeMap<String, SplitReport>,
    /// Images whose pixels are exactly equal, within a split and across.
    pub duplicates: Vec<Duplicate>,
    /// What is wrong beside the images: files that are not read, classes that do not fit.
    pub findings: Vec<Finding>,
    /// Classes that may be without an image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub allow_empty: Vec<String>,
    /// What people should know.
    pub notes: Vec<String>,
    /// Files and folders that were not taken for images, how many of each kind.
    pub left_out: LeftOut,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    pub corrupt: Vec<Finding>,
}

/// Images with equal pixels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Duplicate {
    /// Those of each split, by its name.
    #[serde(flatten)]
    pub images: BTreeMap<String, Vec<String>>,
    /// Their classes; more than one is a contradiction.
    pub classes: Vec<String>,
}

impl Duplicate {
    /// Those of one split.
    pub fn of(&self, split: &str) -> &[String] {
        self.images.get(split).map_or(&[], Vec::as_slice)
    }

    /// Whether images to learn from are among images to choose or judge by.
    fn is_leak(&self) -> bool {
        let in_others = self.images.iter().any(|(split, images)| split != LEARNED && !images.is_empty());
        in_others && !self.of(LEARNED).is_empty()
    }
}

impl Report {
    /// Groups of equal images that are in train and in another split: the test is not a test there.
    pub fn leaks(&self) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter().filter(|group| group.is_leak())
    }

    /// Classes without an image to learn from that are not allowed to be without one.
    pub fn empty_classes(&self) -> impl Iterator<Item = &String> {
        let empty = self.splits.get(LEARNED).into_iter().flat_map(|train| &train.empty_classes);
        empty.filter(|class| !self.allow_empty.contains(class))
    }

    /// Whether nothing is broken: no finding, no corrupt file, no empty class in train, no image in train and another split.
    /// Duplicates inside a split, tiny classes and imbalance are worth knowing, but common.
    pub fn is_clean(&self) -> bool {
        let corrupt = self.splits.values().any(|split| !split.corrupt.is_empty());
        let empty = self.empty_classes().next().is_some();
        !corrupt && !empty && self.findings.is_empty() && self.leaks().next().is_none()
    }
}

/// Looks at every image of all splits, in parallel, and reports what is wrong. A file that cannot be read is a finding, not an
/// error. `tick` is called as by [`scan`].
pub fn check(survey: &Survey, cache: Option<&Cache>, tick: &(dyn Fn(usize, usize) + Sync)) -> Report {
    let datasets: Vec<&dyn Dataset> = survey.splits.iter().map(|(_, images)| images.as_ref()).collect();
    let scans = scan(&datasets, cache, tick);
    let mut groups = BTreeMap::new();
    let mut splits = BTreeMap::new();
    for ((name, images), scan) in survey.splits.iter().zip(&scans) {
        splits.insert(name.clone(), check_split(name, images.as_ref(), scan, &mut groups));
    }
    let count = |group: &Duplicate| group.images.values().map(Vec::len).sum::<usize>();
    let mut duplicates: Vec<Duplicate> = groups.into_values().filter(|group| count(group) > 1).collect();
    for group in &mut duplicates {
        for name in splits.keys() {
            group.images.entry(name.clone()).or_default();
        }
        group.classes.sort();
        group.classes.dedup();
    }
    duplicates.sort_by(|a, b| {
        let key = |group: &'_ Duplicate| (group.of(LEARNED).to_vec(), group.images.clone());
        key(a).cmp(&key(b))
    });
    Report {
        classes: survey.classes.clone(),
        splits,
        duplicates,
        findings: survey.findings.clone(),
        allow_empty: survey.allow_empty.clone(),
        notes: survey.notes.clone(),
        left_out: survey.left_out.clone(),
    }
}

fn check_split(
    name: &str,
    dataset: &dyn Dataset,
    scan: &Scan,
    groups: &mut BTreeMap<[u8; 32], Duplicate>,
) -> SplitReport {
    let classes = dataset.classes();
    let mut per_class = vec![0; classes.len()];
    let (mut sizes, mut corrupt) = (BTreeMap::new(), Vec::new());
    for (index, seen) in scan.images.iter().enumerate() {
        let label = dataset.label(index) as usize;
        if let Some(count) = per_class.get_mut(label) {
            *count += 1;
        }
        match seen {
            Ok(seen) => {
                *sizes.entry(format!("{}x{}x{}", seen.height, seen.width, seen.channels)).or_insert(0) += 1;
                let group: &mut Duplicate = groups.entry(seen.sha256).or_default();
                group.images.entry(name.to_owned()).or_default().push(dataset.name(index));
                group.classes.extend(classes.get(label).cloned());
            }
            Err(problem) => corrupt.push(Finding { name: dataset.name(index), problem: problem.clone() }),
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
    use attar_pixels::Image;

    use crate::Source;

    fn png(root: &Path, file: &str, value: u8) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, Image::new(1, 2, 1, vec![value; 2]).unwrap().to_png().unwrap()).unwrap();
    }

    fn report(root: &Path) -> Report {
        check(&Source::image_folder(root).survey(None).unwrap(), None, &|_, _| {})
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
        let (train, test) = (&report.splits["train"], &report.splits["test"]);
        assert_eq!((train.images, &train.per_class), (20, &vec![10, 10]));
        assert!(train.tiny_classes.is_empty());
        assert_eq!((test.tiny_classes.len(), test.imbalance), (2, 1.0));
        assert_eq!(train.sizes, BTreeMap::from([("2x1x1".to_owned(), 20)]));
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
        png(root.path(), "test/fox/g.png", 9);
        std::fs::write(root.path().join("train/dog/moving.gif"), "GIF89a").unwrap();
        let report = report(root.path());
        assert!(!report.is_clean());
        let (train, test) = (&report.splits["train"], &report.splits["test"]);
        assert_eq!(train.corrupt[0].name, "train/dog/broken.jpg");
        assert!(train.corrupt[0].problem.contains("truncated JPEG"));
        assert_eq!(train.empty_classes, ["eel"]);
        assert_eq!(test.empty_classes, ["dog", "eel"]);
        assert_eq!(train.imbalance, 1.5);
        let found: Vec<&str> = report.findings.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(found, ["train/dog/moving.gif", "test/fox"]);
        let group = |train: &[&str], test: &[&str], classes: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
            let images = BTreeMap::from([("test".to_owned(), own(test)), ("train".to_owned(), own(train))]);
            Duplicate { images, classes: own(classes) }
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
