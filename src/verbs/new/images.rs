//! What `attar new` finds out about the images before it chooses anything.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use attar_data::measure::{self, Levels, Shape};
use attar_data::{Dataset, Source};
use attar_pixels::Preprocessing;
use schemars::JsonSchema;
use serde::Serialize;

/// Images that are looked at, at most: enough for three digits of mean and deviation.
const MOST: usize = 1000;

/// The seed by which they are chosen.
const SEED: u64 = 0;

/// A data set and what was found out.
pub(super) struct Images {
    /// As the recipe will say it: with the folder of the test images where several could be.
    pub(super) source: Source,
    /// The folder of the validation images, where there is one beside that of the test images.
    pub(super) validation: Option<&'static str>,
    pub(super) found: Found,
    train: Arc<dyn Dataset>,
    looked_at: Vec<u32>,
}

/// What was found out, as it is printed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Found {
    /// Images to learn from, a validation share among them.
    pub(super) train: usize,
    /// Images to be judged by.
    pub(super) test: usize,
    /// Training images of each class.
    pub(super) classes: Vec<(String, usize)>,
    /// Training images that were decoded.
    pub(super) looked_at: usize,
    /// 1 where all of them are grey, else 3.
    pub(super) channels: usize,
    /// Height and width, where all of them have the same.
    pub(super) size: Option<[usize; 2]>,
    /// Half of them have a shorter edge of at most so many pixels.
    pub(super) shorter_edge: usize,
    /// Least and most of heights and widths.
    pub(super) edges: [usize; 2],
}

impl Images {
    /// Opens the data and decodes some of its training images.
    pub(super) fn look(source: &Source) -> Result<Self> {
        let (source, validation) = splits(source);
        let splits = source.open()?;
        let train = splits.train;
        if train.is_empty() || splits.test.is_empty() {
            bail!("{}: no images to learn from, or none to be judged by", source.root().display());
        }
        let labels = train.labels();
        let of = |class: usize| labels.iter().filter(|label| **label as usize == class).count();
        let classes = train.classes().iter().enumerate().map(|(at, name)| (name.clone(), of(at))).collect();
        let looked_at = measure::sample(&labels, MOST, SEED);
        let shapes = measure::shapes(&*train, &looked_at).with_context(hint)?;
        let found = Found::of(&shapes, train.len(), splits.test.len(), classes);
        Ok(Self { source, validation, found, train, looked_at })
    }

    /// Mean and deviation of what a network sees of them.
    pub(super) fn levels(&self, how: &Preprocessing) -> Result<Levels> {
        let levels = measure::levels(&*self.train, &self.looked_at, how).with_context(hint)?;
        if levels.std.iter().any(|std| *std < 1e-4) {
            bail!(
                "{}: in one channel all pixels have the same value, so there is no deviation to divide by\n  hint: look at the images",
                self.source.root().display()
            );
        }
        Ok(levels)
    }
}

fn hint() -> String {
    "an image cannot be measured; `attar data check` lists every one that is broken".to_owned()
}

/// With `train`, `val` and `test` in an image folder each is what its name says.
fn splits(source: &Source) -> (Source, Option<&'static str>) {
    let mut source = source.clone();
    let mut validation = None;
    if let Source::ImageFolder { root, test, .. } = &mut source {
        let is_there = |name: &str| Path::new(root).join(name).is_dir();
        if test.is_none() && is_there("test") && is_there("val") {
            (*test, validation) = (Some("test".to_owned()), Some("val"));
        }
    }
    (source, validation)
}

impl Found {
    fn of(shapes: &[Shape], train: usize, test: usize, classes: Vec<(String, usize)>) -> Self {
        let sizes: BTreeSet<[usize; 2]> =
            shapes.iter().map(|shape| [shape.height as usize, shape.width as usize]).collect();
        let edges = sizes.iter().flatten();
        let (least, most) = (edges.clone().min(), edges.max());
        let mut shorter: Vec<usize> = shapes.iter().map(|shape| shape.height.min(shape.width) as usize).collect();
        shorter.sort_unstable();
        Self {
            train,
            test,
            classes,
            looked_at: shapes.len(),
            channels: if shapes.iter().all(|shape| shape.channels == 1) { 1 } else { 3 },
            size: sizes.first().copied().filter(|_| sizes.len() == 1),
            shorter_edge: shorter.get(shorter.len() / 2).copied().unwrap_or_default(),
            edges: [least.copied().unwrap_or_default(), most.copied().unwrap_or_default()],
        }
    }

    /// Images of the largest class over those of the smallest; infinite with an empty one.
    pub(super) fn imbalance(&self) -> f64 {
        let counts = self.classes.iter().map(|(_, count)| *count);
        let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
        most as f64 / least as f64
    }

    /// Whether the classes are written signs, of which a mirrored one is another one or none.
    pub(super) fn are_signs(&self) -> bool {
        let sign = |name: &str| name.chars().count() == 1 || name.chars().all(|c| c.is_ascii_digit());
        self.classes.iter().all(|(name, _)| sign(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sizes: &[[u32; 2]], classes: &[(&str, usize)]) -> Found {
        let shapes: Vec<Shape> =
            sizes.iter().map(|[height, width]| Shape { height: *height, width: *width, channels: 1 }).collect();
        Found::of(&shapes, 9, 1, classes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect())
    }

    #[test]
    fn sizes_are_summed_up() {
        let same = found(&[[28, 30], [28, 30]], &[("7", 4), ("8", 2)]);
        assert_eq!((same.size, same.shorter_edge, same.edges, same.channels), (Some([28, 30]), 28, [28, 30], 1));
        assert!(same.are_signs() && (same.imbalance() - 2.0).abs() < 1e-9);
        let other = found(&[[10, 40], [50, 60], [70, 30]], &[("cat", 4), ("8", 0)]);
        assert_eq!((other.size, other.shorter_edge, other.edges), (None, 30, [10, 70]));
        assert!(!other.are_signs() && other.imbalance().is_infinite());
    }
}
