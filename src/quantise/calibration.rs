//! The images that ranges are found by.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use attar_compress::Images;
use attar_data::Dataset;
use attar_pixels::{Preprocessing, preprocess};

/// Images that ranges are found by, preprocessed.
#[derive(Debug)]
pub struct Calibration {
    pub(super) shape: [usize; 3],
    images: Vec<Vec<f32>>,
    pub(super) sha256: String,
}

impl Calibration {
    /// `count` images of a data set, of each class as many as of the others, spread evenly over it; all, where there are fewer.
    ///
    /// # Errors
    /// No image; one that cannot be read, or comes out in another shape than `[C, H, W]`.
    pub fn of(data: &dyn Dataset, how: &Preprocessing, shape: [usize; 3], count: usize) -> Result<Self> {
        let chosen = spread(&data.labels(), count);
        if chosen.is_empty() {
            bail!("there are no calibration images");
        }
        let (mut images, mut hashes) = (Vec::with_capacity(chosen.len()), String::new());
        for index in chosen {
            let image = data.image(index)?;
            hashes.extend(image.sha256().iter().map(|byte| format!("{byte:02x}")));
            let values = preprocess(&image, how).with_context(|| data.name(index))?;
            if values.len() != shape.iter().product::<usize>() {
                bail!("{} comes out in {} numbers, and the network takes {shape:?}", data.name(index), values.len());
            }
            images.push(values);
        }
        Ok(Self { shape, images, sha256: attar_formats::hash::sha256(hashes.as_bytes()) })
    }

    pub(super) fn images(&self) -> Result<Images<'_>> {
        Ok(Images::new(self.shape, &self.images)?)
    }
}

/// Positions of `count` labels: every class in turn, each class's evenly.
fn spread(labels: &[u32], count: usize) -> Vec<usize> {
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
    use super::spread;

    #[test]
    fn every_class_is_asked_alike_and_evenly() {
        let labels: Vec<u32> = (0..100).map(|at| u32::from(at >= 80)).collect();
        assert_eq!(spread(&labels, 8), [0, 80, 20, 85, 40, 90, 60, 95]);
        assert_eq!(spread(&labels, 50).iter().filter(|at| **at >= 80).count(), 20, "one class has no more");
        assert_eq!(spread(&labels, 1), [0]);
        assert!(spread(&[], 5).is_empty());
    }
}
