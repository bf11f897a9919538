//! Batches: many images decoded, augmented and normalised in parallel, with the same bits for any number of threads.

use attar_measures::random::Stream;
use attar_pixels::{Image, Preprocessing, normalise, preprocess_image};
use rayon::prelude::*;

use crate::augment::{Augment, Frame, draws};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::lead::Lead;

/// How training images become the network's input.
///
/// With a [`RandomResizedCrop`](Augment::RandomResizedCrop) the augmentation sees the original image and takes the place of
/// evaluation's resize and crop; without one it comes after them. Normalisation is last and the same in both.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Random changes, in order.
    pub augment: Vec<Augment>,
    /// Evaluation preprocessing of the network that sees the images.
    pub preprocessing: Preprocessing,
    /// The network whose crops and draws are taken over, where this is a look over its shoulder.
    pub lead: Option<Lead>,
}

impl Pipeline {
    /// Images for the network itself: its own crops and draws.
    pub fn new(augment: Vec<Augment>, preprocessing: Preprocessing) -> Self {
        Self { augment, preprocessing, lead: None }
    }

    /// The same crops under the same draws for another network, which takes `size` (height and width) and has its own
    /// preprocessing.
    #[must_use]
    pub fn followed_by(&self, preprocessing: Preprocessing, size: [usize; 2]) -> Self {
        let lead = Lead { preprocessing: self.preprocessing.clone(), size };
        Self { augment: self.augment.clone(), preprocessing, lead: Some(lead) }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        self.preprocessing.check()?;
        let drawn = self.lead.as_ref().map_or(&self.preprocessing, |lead| &lead.preprocessing);
        drawn.check()?;
        self.augment.iter().try_for_each(|augment| augment.check(drawn.channels))
    }

    fn apply(&self, image: &Image, stream: &mut Stream) -> Result<Image> {
        let crops = self.augment.iter().any(|augment| matches!(augment, Augment::RandomResizedCrop { .. }));
        let (image, mut frame) = match &self.lead {
            Some(lead) => lead.begin(image, &self.preprocessing, crops)?,
            None => {
                let image = match crops {
                    true => image.clone().with_channels(self.preprocessing.channels),
                    false => preprocess_image(image, &self.preprocessing)?,
                };
                let frame = Frame::of(&image, &self.preprocessing);
                (image, frame)
            }
        };
        self.augment.iter().try_fold(image, |image, augment| augment.apply(image, &mut frame, stream))
    }
}

/// Images ready for the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised pixels, `[N, C, H, W]`.
    pub pixels: Vec<f32>,
    /// `[N, C, H, W]`.
    pub shape: [usize; 4],
    /// Class of each image, `[N]`.
    pub labels: Vec<u32>,
    /// Index of each image in its data set, `[N]`.
    pub ids: Vec<u32>,
}

/// The images at `indices`, augmented. What happens to a sample depends on (seed, epoch, its index) and on nothing else.
///
/// # Errors
/// When there are no indices, an image cannot be read, or images come out in different sizes.
pub fn train_batch(dataset: &dyn Dataset, indices: &[u32], how: &Pipeline, seed: u64, epoch: u64) -> Result<Batch> {
    how.check()?;
    batch(dataset, indices, &how.preprocessing, |image, id| how.apply(image, &mut draws(seed, epoch, id)))
}

/// The images at `indices` as [`preprocess`](attar_pixels::preprocess()) makes them.
///
/// # Errors
/// As [`train_batch`].
pub fn eval_batch(dataset: &dyn Dataset, indices: &[u32], how: &Preprocessing) -> Result<Batch> {
    batch(dataset, indices, how, |image, _| Ok(preprocess_image(image, how)?))
}

fn batch(
    dataset: &dyn Dataset,
    indices: &[u32],
    how: &Preprocessing,
    prepare: impl Fn(&Image, u32) -> Result<Image> + Sync,
) -> Result<Batch> {
    let images = indices.par_iter().map(|&id| prepare(&dataset.image(id as usize)?, id)).collect::<Result<Vec<_>>>()?;
    let Some(first) = images.first() else {
        return Err(Error::setting("batch", "no images"));
    };
    let (height, width) = (first.height(), first.width());
    if let Some(at) = images.iter().position(|image| (image.height(), image.width()) != (height, width)) {
        let (odd, name, other) = (&images[at], dataset.name(indices[at] as usize), dataset.name(indices[0] as usize));
        return Err(Error::setting(
            "preprocessing",
            format!(
                "{name} comes out as {}x{}, {other} as {width}x{height}\n  hint: set `resize` and `crop` so that all images get one size",
                odd.width(),
                odd.height()
            ),
        ));
    }
    let one = first.pixels().len();
    let mut pixels = vec![0.0; one * images.len()];
    let inputs = pixels.par_chunks_exact_mut(one).zip(&images);
    inputs.try_for_each(|(input, image)| normalise(image, how, input))?;
    Ok(Batch {
        pixels,
        shape: [images.len(), how.channels, height as usize, width as usize],
        labels: indices.iter().map(|&id| dataset.label(id as usize)).collect(),
        ids: indices.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use attar_pixels::preprocess;

    use super::*;
    use crate::{Fill, InMemory};

    fn dataset() -> InMemory {
        let pixels = (0..20 * 6 * 5 * 3).map(|v: u32| (v * 37 % 251) as u8).collect();
        let labels = (0..20).map(|i| i % 2).collect();
        InMemory::new([6, 5], 3, pixels, labels, vec!["a".into(), "b".into()], "train").unwrap()
    }

    fn pipeline() -> Pipeline {
        Pipeline::new(
            vec![Augment::PadCrop { padding: 2, fill: Fill::Reflect }, Augment::Flip { p: 0.5 }],
            Preprocessing::normalise(vec![0.5; 3], vec![0.25; 3]),
        )
    }

    #[test]
    fn eval_batch_is_preprocess_image_by_image() {
        let data = dataset();
        let how = pipeline().preprocessing;
        let batch = eval_batch(&data, &[3, 0], &how).unwrap();
        assert_eq!((batch.shape, batch.labels, batch.ids), ([2, 3, 6, 5], vec![1, 0], vec![3, 0]));
        let one = preprocess(&data.image(3).unwrap(), &how).unwrap();
        assert_eq!(batch.pixels[..one.len()], one);
    }

    #[test]
    fn the_number_of_threads_and_the_company_change_nothing() {
        let data = dataset();
        let all: Vec<u32> = (0..20).collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| train_batch(&data, &all, &pipeline(), 7, 3).unwrap())
        };
        let one = with(1);
        assert_eq!(one, with(2));
        assert_eq!(one, with(5));
        let size = 3 * 6 * 5;
        let alone = train_batch(&data, &[11], &pipeline(), 7, 3).unwrap();
        assert_eq!(alone.pixels, one.pixels[11 * size..12 * size]);
    }

    #[test]
    fn seed_epoch_and_sample_change_the_augmentation() {
        let data = dataset();
        let batch = |seed, epoch| train_batch(&data, &(0..20).collect::<Vec<_>>(), &pipeline(), seed, epoch).unwrap();
        let base = batch(7, 3);
        assert_ne!(base, batch(8, 3));
        assert_ne!(base, batch(7, 4));
    }

    #[test]
    fn errors_are_readable() {
        let data = dataset();
        assert!(eval_batch(&data, &[], &pipeline().preprocessing).is_err());
        let error = eval_batch(&data, &[99], &pipeline().preprocessing).unwrap_err().to_string();
        assert!(error.contains("train[99]"), "{error}");
        let mut bad = pipeline();
        bad.augment[1] = Augment::Flip { p: 2.0 };
        let error = train_batch(&data, &[0], &bad, 0, 0).unwrap_err().to_string();
        assert!(error.contains("augment.p: 2, expected 0 to 1"), "{error}");
    }
}
