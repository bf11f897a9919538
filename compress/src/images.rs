//! Images that a network is looked at by.

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};

/// Images in a batch: all values of a network are there at once for so many.
pub(crate) const BATCH: usize = 8;

/// Preprocessed images of one shape.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    shape: [usize; 3],
    images: &'a [Vec<f32>],
}

impl<'a> Images<'a> {
    /// Images of `shape`, `[C, H, W]`, each in that order.
    ///
    /// # Errors
    /// An image of another size.
    pub fn new(shape: [usize; 3], images: &'a [Vec<f32>]) -> Result<Self> {
        let size: usize = shape.iter().product();
        match images.iter().position(|image| image.len() != size) {
            None => Ok(Self { shape, images }),
            Some(at) => {
                let problem = format!("image {at} has {} numbers, expected {shape:?}", images[at].len());
                Err(Error::setting("calibration", problem))
            }
        }
    }

    /// The first `count` of them, at most.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        Self { images: &self.images[..count.min(self.images.len())], ..*self }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Batches `[N, C, H, W]`, the same each time.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Result<Tensor>> + use<'a> {
        let [c, h, w] = self.shape;
        let tensor =
            move |chunk: &[Vec<f32>]| Ok(Tensor::from_vec(chunk.concat(), (chunk.len(), c, h, w), &Device::Cpu)?);
        self.images.chunks(BATCH).map(tensor)
    }
}
