//! The images that ranges are found by.

use anyhow::{Context, Result, bail};
use attar_compress::Images;
use attar_data::{Dataset, spread_in_turn};
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
        let chosen = spread_in_turn(&data.labels(), count);
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
