//! The images that both sides answer: labelled ones, ones that nobody took, or those of a recording.

use attar_data::Dataset;
use attar_pixels::{Image, Preprocessing};

use crate::error::{Error, Result};
use crate::parity::seeded;
use crate::subject::Subject;

/// Preprocessed images, one at a time.
pub struct Images<'i> {
    /// `[C, H, W]`.
    pub shape: [usize; 3],
    /// How many.
    pub count: usize,
    /// The image with this number.
    pub at: Box<dyn Fn(usize) -> Result<Vec<f32>> + 'i>,
}

impl std::fmt::Debug for Images<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images").field("shape", &self.shape).field("count", &self.count).finish_non_exhaustive()
    }
}

/// An image as a network of this shape takes it.
fn taken(image: &Image, how: &Preprocessing, shape: [usize; 3], name: &str) -> Result<Vec<f32>> {
    let made = attar_pixels::preprocess(image, how)?;
    if made.len() != shape.iter().product::<usize>() {
        let problem = format!("{name} becomes {} numbers by the preprocessing, the model takes {shape:?}", made.len());
        return Err(Error::Data { problem });
    }
    Ok(made)
}

impl<'i> Images<'i> {
    /// At most so many images of a data set, taken from all over it.
    pub fn of_data(data: &'i dyn Dataset, how: &'i Preprocessing, shape: [usize; 3], most: usize) -> Self {
        let count = data.len().min(most);
        let at = move |place: usize| {
            let index = place * data.len() / count.max(1);
            taken(&data.image(index)?, how, shape, &data.name(index))
        };
        Self { shape, count, at: Box::new(at) }
    }

    /// At most 16 images that nobody took, the same on every machine ([`crate::parity`] asks about them, too).
    ///
    /// # Errors
    /// [`Error::Pixels`] for a preprocessing that makes no sense.
    pub fn seeded(how: Preprocessing, shape: [usize; 3], most: usize) -> Result<Self> {
        let subject = Subject::new("seeded", shape, vec!["any".to_owned()], how.clone())?;
        let images = seeded::images(&subject, &subject)?;
        let count = images.len().min(most);
        let at = move |place: usize| {
            let missing = || Error::Data { problem: format!("there is no image {place}") };
            taken(images.get(place).ok_or_else(missing)?, &how, shape, &format!("image {place}"))
        };
        Ok(Self { shape, count, at: Box::new(at) })
    }

    /// Images `[C, H, W]` that are there as numbers, one behind the other.
    pub fn of_numbers(all: Vec<f32>, shape: [usize; 3]) -> Self {
        let length: usize = shape.iter().product();
        let count = all.len() / length.max(1);
        let at = move |place: usize| {
            let missing = || Error::Data { problem: format!("there is no image {place}") };
            Ok(all.get(place * length..(place + 1) * length).ok_or_else(missing)?.to_vec())
        };
        Self { shape, count, at: Box::new(at) }
    }
}
