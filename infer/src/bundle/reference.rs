//! The reference: answers of the very weights that were exported, before folding.

use std::collections::BTreeMap;
use std::path::Path;

use attar_formats::files;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::error::{Error, Result};

/// A few images as files, as the network's input, and the trained network's logits for them.
#[derive(Clone)]
pub struct Goldens {
    /// The images as files (PNG, JPEG, WebP).
    pub encoded: Vec<Vec<u8>>,
    /// `[n, C, H, W]` after preprocessing, where the network was trained.
    pub input: Vec<f32>,
    /// `[C, H, W]`.
    pub input_shape: [usize; 3],
    /// `[n, K]`.
    pub logits: Vec<f32>,
    /// `real` (images that were held out: of the validation split, or of the test split where there is none) or `synthetic`.
    pub kind: String,
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

    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let file = Tensors::open(path, bytes)?;
        let (shape, input) = file.floats("input")?;
        let &[n, c, h, w] = &shape[..] else {
            return Err(Error::format(path, format!("`input` has shape {shape:?}, expected [n, C, H, W]")));
        };
        let (logits_shape, logits) = file.floats("logits")?;
        if n == 0 || logits_shape.len() != 2 || logits_shape[0] != n || logits_shape[1] == 0 {
            return Err(Error::format(path, format!("`logits` has shape {logits_shape:?}, expected [{n}, K]")));
        }
        if let Some(at) = logits.iter().chain(&input).position(|v| !v.is_finite()) {
            return Err(Error::format(path, format!("value {at} of `logits` and `input` is not finite")));
        }
        let encoded = (0..n).map(|i| file.bytes(&format!("encoded.{i}"))).collect::<Result<_>>()?;
        let kind = file.metadata.get("kind").cloned().unwrap_or_else(|| "unknown".to_owned());
        Ok(Self { encoded, input, input_shape: [c, h, w], logits, kind })
    }
}

impl std::fmt::Debug for Goldens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Goldens").field("len", &self.len()).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Which split an image belonged to when the reference was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Held out from training, used to choose settings and epoch.
    Validation,
    /// Never used before.
    Test,
}

/// The trained network's answers to `m` images, found by the sha256 of their pixels.
#[derive(Clone)]
pub struct Predictions {
    /// sha256 of the `model.safetensors` that answered.
    pub weights_sha256: String,
    /// Label of each image.
    pub label: Vec<u32>,
    /// Split of each image.
    pub split: Vec<Split>,
    /// The answer to each image.
    pub top1: Vec<u32>,
    /// `[m, k]`: the classes of the largest logits, falling.
    pub top5: Vec<u32>,
    /// `[m, k]`: those logits.
    pub top5_logits: Vec<f32>,
    /// ln of the sum of exponentials of all logits of each image.
    pub log_sum_exp: Vec<f32>,
    /// `[m, K]`: all logits, when there are few classes.
    pub logits: Option<Vec<f32>>,
    top: usize,
    classes: usize,
    rows: BTreeMap<[u8; 32], Vec<u32>>,
}

impl Predictions {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.top1.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.top1.is_empty()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The row of the image with these pixels; of several, the one with this label, else the first.
    pub fn row(&self, pixels_sha256: &[u8; 32], label: u32) -> Option<usize> {
        let rows = self.rows(pixels_sha256);
        let labelled = rows.iter().find(|row| self.label[**row as usize] == label);
        labelled.or_else(|| rows.first()).map(|row| *row as usize)
    }

    /// All rows of images with these pixels.
    pub(crate) fn rows(&self, pixels_sha256: &[u8; 32]) -> &[u32] {
        self.rows.get(pixels_sha256).map_or(&[], Vec::as_slice)
    }

    /// The largest logits of a row with their classes, falling.
    pub fn top(&self, row: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let range = row * self.top..(row + 1) * self.top;
        self.top5[range.clone()].iter().copied().zip(self.top5_logits[range].iter().copied())
    }

    /// Distance between the two largest logits of a row.
    pub fn margin(&self, row: usize) -> f32 {
        let logits = &self.top5_logits[row * self.top..(row + 1) * self.top];
        if logits.len() < 2 { f32::INFINITY } else { logits[0] - logits[1] }
    }

    /// All logits of a row, when they are stored.
    pub fn logits(&self, row: usize) -> Option<&[f32]> {
        self.logits.as_ref().map(|all| &all[row * self.classes..(row + 1) * self.classes])
    }

    /// Reads a `predictions.safetensors`, e.g. that of a run which has not been exported.
    ///
    /// # Errors
    /// A file that is missing, damaged, or holds numbers that are not finite.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, &files::read(path, files::MOST_BINARY).map_err(Error::io(path))?)
    }

    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let file = Tensors::open(path, bytes)?;
        let fail = |problem: String| Error::format(path, problem);
        let meta = |key: &str| file.metadata.get(key).ok_or_else(|| fail(format!("no `{key}` in its metadata")));
        let weights_sha256 = meta("weights_sha256")?.clone();
        let classes: usize = meta("classes")?.parse().map_err(|_| fail("`classes` is not a number".to_owned()))?;
        let top1 = file.integers("top1", &[None])?.1;
        let m = top1.len();
        let label = file.integers("label", &[Some(m)])?.1;
        let (shape, top5) = file.integers("top5", &[Some(m), None])?;
        let top = shape[1];
        let split = file.bytes_of("split", &[Some(m)])?.into_iter().map(|s| match s {
            0 => Ok(Split::Validation),
            1 => Ok(Split::Test),
            other => Err(fail(format!("`split` holds {other}, expected 0 (validation) or 1 (test)"))),
        });
        let split = split.collect::<Result<Vec<_>>>()?;
        let top5_logits = file.floats_of("top5_logits", &[Some(m), Some(top)])?;
        let log_sum_exp = file.floats_of("log_sum_exp", &[Some(m)])?;
        let logits = file.has("logits").then(|| file.floats_of("logits", &[Some(m), Some(classes)])).transpose()?;
        if classes == 0 || top == 0 || top > classes {
            return Err(fail(format!("the best {top} of {classes} classes")));
        }
        if label.iter().chain(&top1).chain(&top5).any(|class| *class as usize >= classes) {
            return Err(fail(format!("a class beyond the {classes} it has")));
        }
        if top1.iter().zip(top5.chunks(top)).any(|(top1, top5)| *top1 != top5[0]) {
            return Err(fail("`top1` is not the first of `top5`".to_owned()));
        }
        if top5_logits.iter().chain(&log_sum_exp).chain(logits.iter().flatten()).any(|v| !v.is_finite()) {
            return Err(fail("a logit that is not finite".to_owned()));
        }
        let mut rows: BTreeMap<[u8; 32], Vec<u32>> = BTreeMap::new();
        for (row, hash) in file.bytes_of("pixels_sha256", &[Some(m), Some(32)])?.chunks_exact(32).enumerate() {
            let mut key = [0; 32];
            key.copy_from_slice(hash);
            rows.entry(key).or_default().push(row as u32);
        }
        Ok(Self { weights_sha256, label, split, top1, top5, top5_logits, log_sum_exp, logits, top, classes, rows })
    }
}

impl std::fmt::Debug for Predictions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Predictions").field("len", &self.len()).field("classes", &self.classes).finish_non_exhaustive()
    }
}

/// A safetensors file with typed, shape-checked access.
struct Tensors<'b> {
    path: &'b Path,
    tensors: SafeTensors<'b>,
    metadata: BTreeMap<String, String>,
}

impl<'b> Tensors<'b> {
    fn open(path: &'b Path, bytes: &'b [u8]) -> Result<Self> {
        let broken = |e: safetensors::SafeTensorError| Error::format(path, format!("not a safetensors file: {e}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        Ok(Self { path, tensors: SafeTensors::deserialize(bytes).map_err(broken)?, metadata })
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    fn get(&self, name: &str, dtype: Dtype, shape: Option<&[Option<usize>]>) -> Result<TensorView<'_>> {
        let missing = |_| Error::format(self.path, format!("no tensor `{name}`"));
        let tensor = self.tensors.tensor(name).map_err(missing)?;
        let found = tensor.shape();
        let fits = |shape: &[Option<usize>]| {
            shape.len() == found.len()
                && shape.iter().zip(found).all(|(want, got)| want.is_none_or(|want| want == *got))
        };
        if tensor.dtype() != dtype || !shape.is_none_or(fits) {
            let expected =
                shape.map(|s| s.iter().map(|d| d.map_or("?".to_owned(), |d| d.to_string())).collect::<Vec<_>>());
            let expected = expected.map(|s| format!(" [{}]", s.join(", "))).unwrap_or_default();
            let problem = format!("`{name}` is {:?} {found:?}, expected {dtype:?}{expected}", tensor.dtype());
            return Err(Error::format(self.path, problem));
        }
        Ok(tensor)
    }

    fn floats(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let tensor = self.get(name, Dtype::F32, None)?;
        Ok((tensor.shape().to_vec(), words(tensor.data()).map(f32::from_le_bytes).collect()))
    }

    fn floats_of(&self, name: &str, shape: &[Option<usize>]) -> Result<Vec<f32>> {
        Ok(words(self.get(name, Dtype::F32, Some(shape))?.data()).map(f32::from_le_bytes).collect())
    }

    fn integers(&self, name: &str, shape: &[Option<usize>]) -> Result<(Vec<usize>, Vec<u32>)> {
        let tensor = self.get(name, Dtype::U32, Some(shape))?;
        Ok((tensor.shape().to_vec(), words(tensor.data()).map(u32::from_le_bytes).collect()))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        self.bytes_of(name, &[None])
    }

    fn bytes_of(&self, name: &str, shape: &[Option<usize>]) -> Result<Vec<u8>> {
        Ok(self.get(name, Dtype::U8, Some(shape))?.data().to_vec())
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    bytes.as_chunks::<4>().0.iter().copied()
}
