//! What a data set is: images with labels and class names, opened from a [`Source`](crate::Source) named in a recipe.

use std::path::Path;
use std::sync::Arc;

use attar_pixels::Image;

use crate::error::{Error, Result};
use crate::folder::LeftOut;

/// Labelled images, in a fixed order.
///
/// Indices run from 0 to [`len`](Dataset::len) - 1; a larger one is an error or label 0, never a panic.
pub trait Dataset: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;
    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Class of image `index`, below `classes().len()`.
    fn label(&self, index: usize) -> u32;
    /// The decoded pixels of image `index`.
    ///
    /// # Errors
    /// When the file behind it cannot be read or decoded.
    fn image(&self, index: usize) -> Result<Image>;
    /// Image `index` as a file: its original bytes, or a PNG of its pixels where it has no file of its own.
    ///
    /// # Errors
    /// When the file behind it cannot be read.
    fn encoded(&self, index: usize) -> Result<Vec<u8>> {
        Ok(self.image(index)?.to_png()?)
    }
    /// Names of the classes, in the order of the labels.
    fn classes(&self) -> &[String];
    /// How to call image `index` in messages: its file, or `test[17]`.
    fn name(&self, index: usize) -> String;
    /// All labels, in order.
    fn labels(&self) -> Vec<u32> {
        (0..self.len()).map(|index| self.label(index)).collect()
    }
    /// [`Image::sha256`] of image `index`: from what a scan has kept, or of its pixels, decoded for it.
    ///
    /// # Errors
    /// When the file behind it cannot be read or decoded.
    fn sha256(&self, index: usize) -> Result<[u8; 32]> {
        Ok(self.image(index)?.sha256())
    }
    /// The file of image `index`, where it has one of its own.
    fn file(&self, _index: usize) -> Option<&Path> {
        None
    }
    /// What people should know of how it was opened.
    fn notes(&self) -> &[String] {
        &[]
    }
    /// What lies beside the images and was not taken for one.
    fn left_out(&self) -> LeftOut {
        LeftOut::default()
    }
}

/// Images to learn from and images to be judged by.
#[derive(Clone)]
pub struct Splits {
    /// To learn from; a validation split is held out from it by [`hold_out`](crate::hold_out).
    pub train: Arc<dyn Dataset>,
    /// Never seen in training.
    pub test: Arc<dyn Dataset>,
    /// To choose by, where the source has such images of its own and was asked for them.
    pub validation: Option<Arc<dyn Dataset>>,
    /// What people should know of how it was opened.
    pub notes: Vec<String>,
}

impl Splits {
    /// Images to learn from and to be judged by, with nothing to say about them.
    pub fn new(train: impl Dataset + 'static, test: impl Dataset + 'static) -> Self {
        Self { train: Arc::new(train), test: Arc::new(test), validation: None, notes: Vec::new() }
    }
}

impl std::fmt::Debug for Splits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (train, test) = (self.train.len(), self.test.len());
        f.debug_struct("Splits").field("train", &train).field("test", &test).finish_non_exhaustive()
    }
}

/// Images of one size, all in memory.
#[derive(Debug, Clone)]
pub struct InMemory {
    size: [u32; 2],
    channels: u8,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
    split: String,
}

impl InMemory {
    /// Images of `size` = `[height, width]`, stored one after the other in `[height, width, channels]` order. `split` is how
    /// messages call the set, e.g. `test`.
    ///
    /// # Errors
    /// [`Error::Setting`] when sizes, number of labels or class names do not fit together.
    pub fn new(
        size: [u32; 2],
        channels: u8,
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
        split: &str,
    ) -> Result<Self> {
        let [height, width] = size;
        let bytes = width as u128 * height as u128 * u128::from(channels);
        if bytes == 0 || !matches!(channels, 1 | 3) || bytes * labels.len() as u128 != pixels.len() as u128 {
            let (count, got) = (labels.len(), pixels.len());
            return Err(Error::setting(
                "data set",
                format!("{count} labels and {got} bytes do not make {height}x{width} images with {channels} channels"),
            ));
        }
        if let Some(index) = labels.iter().position(|&label| label as usize >= classes.len()) {
            let (label, known) = (labels[index], classes.len());
            return Err(Error::setting(
                "data set",
                format!("{split}[{index}] has label {label}, but there are {known} classes"),
            ));
        }
        Ok(Self { size, channels, pixels, labels, classes, split: split.to_owned() })
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels.get(index).copied().unwrap_or(0)
    }

    fn image(&self, index: usize) -> Result<Image> {
        let [height, width] = self.size;
        let bytes = height as usize * width as usize * usize::from(self.channels);
        let Some(pixels) = self.pixels.chunks_exact(bytes).nth(index) else {
            let (split, len) = (&self.split, self.len());
            return Err(Error::setting("index", format!("{split}[{index}] of a set of {len} images")));
        };
        Ok(Image::new(width, height, self.channels, pixels.to_vec())?)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        format!("{}[{index}]", self.split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_memory_refuses_what_does_not_fit() {
        let classes = || vec!["a".to_owned(), "b".to_owned()];
        assert!(InMemory::new([1, 2], 1, vec![0; 4], vec![0, 1], classes(), "x").is_ok());
        assert!(InMemory::new([1, 2], 1, vec![0; 5], vec![0, 1], classes(), "x").is_err());
        assert!(InMemory::new([0, 2], 1, vec![], vec![0, 1], classes(), "x").is_err());
        assert!(InMemory::new([1, 2], 2, vec![0; 8], vec![0, 1], classes(), "x").is_err());
        let error = InMemory::new([1, 2], 1, vec![0; 4], vec![0, 2], classes(), "x").unwrap_err().to_string();
        assert!(error.contains("x[1] has label 2, but there are 2 classes"), "{error}");
    }
}
