//! Goldens: a few images as files, as the network's input, and the trained network's logits for them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use attar_models::{Array, Weights};

use crate::error::{Error, Result};
use crate::read::{Arrays, parse_arrays};
use crate::write;

/// Where the images of goldens come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldenKind {
    /// Images that were held out: of the validation split, or of the test split where there is none.
    Real,
    /// Seeded noise, for models whose images must not be shown.
    Synthetic,
}

impl GoldenKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Real, Self::Synthetic];

    /// The word in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Synthetic => "synthetic",
        }
    }
}

/// A file of goldens. Arrays `input`, `logits` and `encoded.0`, `encoded.1`, ...; metadata `kind` and `count`.
#[derive(Clone, PartialEq)]
pub struct Goldens {
    /// The images as files (PNG, JPEG, WebP).
    pub encoded: Vec<Vec<u8>>,
    /// `[n, C, H, W]` after preprocessing, where the network was trained.
    pub input: Vec<f32>,
    /// `[C, H, W]`.
    pub input_shape: [usize; 3],
    /// `[n, K]`.
    pub logits: Vec<f32>,
    /// What the images are.
    pub kind: GoldenKind,
}

impl Goldens {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.encoded.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Number of logits of an image.
    pub fn classes(&self) -> usize {
        self.logits.len().checked_div(self.len()).unwrap_or(0)
    }

    /// Reads the bytes of a file of goldens; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Format`]: damaged, of other shapes than `[n, C, H, W]` and `[n, K]`, without an image, or with a number that
    /// is not finite.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut file = parse_arrays(bytes, path)?;
        let (shape, input) = file.take::<f32>("input", &[None; 4])?;
        let (n, input_shape) = (shape[0], [shape[1], shape[2], shape[3]]);
        let logits = file.take::<f32>("logits", &[Some(n), None])?.1;
        let kind = kind(&file)?;
        let encoded = (0..n).map(|i| Ok(file.take::<u8>(&encoded(i), &[None])?.1)).collect::<Result<_>>()?;
        let goldens = Self { encoded, input, input_shape, logits, kind };
        goldens.check().map_err(|problem| file.error(problem))?;
        Ok(goldens)
    }

    /// Writes a file of goldens, atomically.
    ///
    /// # Errors
    /// As [`Goldens::parse`] where they are not what it would read; [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check().map_err(|problem| Error::Format { path: path.to_owned(), problem })?;
        let n = self.len();
        let [c, h, w] = self.input_shape;
        let mut arrays = Weights(BTreeMap::from([
            ("input".to_owned(), Array::new(vec![n, c, h, w], self.input.clone())?),
            ("logits".to_owned(), Array::new(vec![n, self.classes()], self.logits.clone())?),
        ]));
        for (i, file) in self.encoded.iter().enumerate() {
            arrays.0.insert(encoded(i), Array::new(vec![file.len()], file.clone())?);
        }
        let metadata = [("kind", self.kind.name().to_owned()), ("count", n.to_string())];
        write::safetensors(path, &arrays, &metadata.map(|(key, value)| (key.to_owned(), value)).into())
    }

    fn check(&self) -> Result<(), String> {
        let n = self.len();
        if n == 0 || self.input.len() != n * self.input_shape.iter().product::<usize>() {
            let (numbers, shape) = (self.input.len(), self.input_shape);
            return Err(format!("{numbers} numbers of input for {n} images of {shape:?}, expected at least one image"));
        }
        if self.logits.is_empty() || !self.logits.len().is_multiple_of(n) {
            return Err(format!("{} logits for {n} images", self.logits.len()));
        }
        match self.logits.iter().chain(&self.input).position(|v| !v.is_finite()) {
            Some(at) => Err(format!("value {at} of `logits` and `input` is not finite")),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Goldens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Goldens").field("len", &self.len()).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The name of an image's file.
fn encoded(i: usize) -> String {
    format!("encoded.{i}")
}

fn kind(file: &Arrays) -> Result<GoldenKind> {
    let word = file.metadata("kind")?;
    let known = GoldenKind::ALL.into_iter().find(|kind| kind.name() == word);
    known.ok_or_else(|| file.error(format!("goldens of the kind `{word}`, expected real or synthetic")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goldens() -> Goldens {
        Goldens {
            encoded: (0..12).map(|i| vec![i; 1 + usize::from(i)]).collect(),
            input: (0..12 * 6).map(|i| i as f32).collect(),
            input_shape: [1, 2, 3],
            logits: (0..24).map(|i| -(i as f32)).collect(),
            kind: GoldenKind::Synthetic,
        }
    }

    #[test]
    fn goldens_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.safetensors");
        goldens().write(&path).unwrap();
        let read = Goldens::parse(&path, &std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((read.classes(), &read), (2, &goldens()));
    }

    #[test]
    fn goldens_that_nobody_could_use_are_neither_written_nor_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.safetensors");
        let refused = |change: fn(&mut Goldens)| {
            let mut broken = goldens();
            change(&mut broken);
            broken.write(&path).unwrap_err().to_string()
        };
        assert!(refused(|g| g.encoded.clear()).contains("at least one image"));
        assert!(refused(|g| g.logits[3] = f32::NAN).contains("value 3 of `logits`"));
        assert!(refused(|g| g.logits.truncate(23)).contains("23 logits for 12 images"));
        assert!(refused(|g| g.input_shape = [1, 2, 2]).contains("images of [1, 2, 2]"));
    }
}
