//! What a data set is: images with labels and class names, opened from a source named in a recipe.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::Image;
use crate::{cifar, folder, idx};

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
        self.image(index)?.to_png()
    }
    /// Names of the classes, in the order of the labels.
    fn classes(&self) -> &[String];
    /// How to call image `index` in messages: its file, or `test[17]`.
    fn name(&self, index: usize) -> String;
    /// All labels, in order.
    fn labels(&self) -> Vec<u32> {
        (0..self.len()).map(|index| self.label(index)).collect()
    }
}

/// Images to learn from and images to be judged by.
#[derive(Clone)]
pub struct Splits {
    /// To learn from; a validation split is held out from it by [`hold_out`](crate::hold_out).
    pub train: Arc<dyn Dataset>,
    /// Never seen in training.
    pub test: Arc<dyn Dataset>,
}

impl std::fmt::Debug for Splits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (train, test) = (self.train.len(), self.test.len());
        f.debug_struct("Splits").field("train", &train).field("test", &test).finish_non_exhaustive()
    }
}

/// Where images come from, as a recipe says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// MNIST's format: `{train,t10k}-images-idx3-ubyte` and `-labels-idx1-ubyte`, plain or `.gz`.
    Idx {
        /// Directory (or `.tar.gz`) of the four files.
        root: PathBuf,
        /// Class names. Without them: `labels.txt` in the directory, one name a line; else the digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        classes: Option<Vec<String>>,
    },
    /// CIFAR-10, binary version.
    Cifar10 {
        /// Directory of the `.bin` files, its parent, or the official `.tar.gz`.
        root: PathBuf,
    },
    /// CIFAR-100, binary version, fine labels.
    Cifar100 {
        /// Directory of the `.bin` files, its parent, or the official `.tar.gz`.
        root: PathBuf,
    },
    /// `train/CLASS/...` and `val/CLASS/...` or `test/CLASS/...` with PNG, JPEG or WebP files.
    ImageFolder {
        /// Directory of the splits.
        root: PathBuf,
        /// Folder of the test split; by default whichever of `test` and `val` is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<String>,
    },
}

impl Source {
    /// Opens both splits.
    ///
    /// # Errors
    /// When a file is missing, truncated or not what its name promises.
    pub fn open(&self) -> Result<Splits> {
        match self {
            Self::Idx { root, classes } => idx::open(root, classes.as_deref()),
            Self::Cifar10 { root } => cifar::open_10(root),
            Self::Cifar100 { root } => cifar::open_100(root),
            Self::ImageFolder { root, test } => folder::open(root, test.as_deref()),
        }
    }

    /// The directory or archive.
    pub fn root(&self) -> &Path {
        match self {
            Self::Idx { root, .. }
            | Self::Cifar10 { root }
            | Self::Cifar100 { root }
            | Self::ImageFolder { root, .. } => root,
        }
    }

    /// The same source with a relative root taken from `base`, e.g. the recipe's directory.
    #[must_use]
    pub fn relative_to(mut self, base: &Path) -> Self {
        match &mut self {
            Self::Idx { root, .. }
            | Self::Cifar10 { root }
            | Self::Cifar100 { root }
            | Self::ImageFolder { root, .. } => *root = base.join(&*root),
        }
        self
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
        Image::new(width, height, self.channels, pixels.to_vec())
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
    fn a_source_reads_as_a_recipe_writes_it() {
        let source: Source = toml::from_str("kind = 'image-folder'\nroot = 'pets'").unwrap();
        assert_eq!(source, Source::ImageFolder { root: "pets".into(), test: None });
        assert_eq!(source.clone().relative_to(Path::new("/data")).root(), Path::new("/data/pets"));
        assert_eq!(source.relative_to(Path::new("a")).root(), Path::new("a/pets"));
        let source: Source = toml::from_str("kind = 'idx'\nroot = '/x'\nclasses = ['a', 'b']").unwrap();
        assert_eq!(toml::from_str::<Source>(&toml::to_string(&source).unwrap()).unwrap(), source);
        let error = toml::from_str::<Source>("kind = 'cifar11'\nroot = 'x'").unwrap_err().to_string();
        assert!(error.contains("cifar10") && error.contains("image-folder"), "{error}");
        let error = toml::from_str::<Source>("kind = 'cifar10'\nroute = 'x'\nroot = 'x'").unwrap_err().to_string();
        assert!(error.contains("unknown field `route`"), "{error}");
    }

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
