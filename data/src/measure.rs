//! What some images of a data set are like: their sizes, and mean and deviation of what a network would see of them.

use attar_pixels::{Preprocessing, preprocess_image};
use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::error::Result;
use crate::sampling::hold_out;

/// Width, height and channels of an image as it was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Pixels from top to bottom.
    pub height: u32,
    /// Pixels from left to right.
    pub width: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: u8,
}

/// Mean and standard deviation of each channel, over the pixels of all images, of values scaled to 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// Of each channel.
    pub mean: Vec<f64>,
    /// Of each channel.
    pub std: Vec<f64>,
}

/// About `most` of the samples with these labels, ascending, of every class the same share, chosen by the seed; all where there
/// are no more.
pub fn sample(labels: &[u32], most: usize, seed: u64) -> Vec<u32> {
    match labels.len() {
        all if all <= most => (0..all as u32).collect(),
        all => hold_out(labels, most as f64 / all as f64, seed).1,
    }
}

/// The shapes of the images `indices`, in this order.
///
/// # Errors
/// A file that cannot be read or decoded.
pub fn shapes(data: &dyn Dataset, indices: &[u32]) -> Result<Vec<Shape>> {
    let shape = |index: &u32| {
        let image = data.image(*index as usize)?;
        Ok(Shape { height: image.height(), width: image.width(), channels: image.channels() })
    };
    indices.par_iter().map(shape).collect()
}

/// [`Levels`] of the images `indices` after the channels, resize and crop of `how`, whose own mean and std do not matter. The
/// sums are of whole numbers, so the same digits come of any number of threads.
///
/// # Errors
/// A file that cannot be read or decoded; a preprocessing that makes no sense.
pub fn levels(data: &dyn Dataset, indices: &[u32], how: &Preprocessing) -> Result<Levels> {
    let sums = |index: &u32| -> Result<Vec<[u128; 3]>> {
        let image = preprocess_image(&data.image(*index as usize)?, how)?;
        let channels = usize::from(image.channels());
        let mut sums = vec![[0; 3]; channels];
        for pixel in image.pixels().chunks_exact(channels) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                let value = u128::from(*value);
                *sum = [sum[0] + 1, sum[1] + value, sum[2] + value * value];
            }
        }
        Ok(sums)
    };
    let add = |a: Vec<[u128; 3]>, b: Vec<[u128; 3]>| {
        Ok(a.iter().zip(&b).map(|(a, b)| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]).collect())
    };
    let zero = || vec![[0; 3]; how.channels];
    let sums = indices.par_iter().map(sums).try_reduce(zero, add)?;
    let mean = |sum: &[u128; 3], of: usize| sum[of] as f64 / (sum[0].max(1)) as f64;
    let std = |sum: &[u128; 3]| (mean(sum, 2) - mean(sum, 1).powi(2)).max(0.0).sqrt() / 255.0;
    Ok(Levels { mean: sums.iter().map(|sum| mean(sum, 1) / 255.0).collect(), std: sums.iter().map(std).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InMemory;

    fn two(channels: u8, pixels: Vec<u8>) -> InMemory {
        InMemory::new([1, 2], channels, pixels, vec![0, 1], vec!["a".to_owned(), "b".to_owned()], "train").unwrap()
    }

    #[test]
    fn levels_are_mean_and_deviation_over_all_pixels() {
        let how = Preprocessing::normalise(vec![0.0], vec![1.0]);
        let levels = levels(&two(1, vec![0, 255, 0, 255]), &[0, 1], &how).unwrap();
        assert_eq!((levels.mean, levels.std), (vec![0.5], vec![0.5]));
    }

    #[test]
    fn levels_are_of_what_the_network_sees() {
        // Of three channels each its own; of the crop only what it leaves.
        let how = Preprocessing { crop: Some([1, 1]), ..Preprocessing::normalise(vec![0.0; 3], vec![1.0; 3]) };
        let data = two(3, vec![0, 51, 102, 9, 9, 9, 0, 51, 204, 9, 9, 9]);
        let levels = levels(&data, &[0, 1], &how).unwrap();
        assert_eq!((levels.mean, levels.std), (vec![0.0, 0.2, 0.6], vec![0.0, 0.0, 0.2]));
        assert_eq!(shapes(&data, &[1]).unwrap(), [Shape { height: 1, width: 2, channels: 3 }]);
    }

    #[test]
    fn a_sample_has_its_share_of_every_class() {
        let labels: Vec<u32> = (0..900).map(|i| u32::from(i % 3 == 0)).collect();
        let chosen = sample(&labels, 90, 0);
        assert_eq!(chosen.iter().filter(|i| labels[**i as usize] == 1).count(), 30);
        assert_eq!((chosen.len(), sample(&labels, 900, 0).len(), sample(&labels, 90, 0)), (90, 900, chosen));
    }
}
