//! Predictions: the trained network's answer to every validation and test image, found by the sha256 of its pixels.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use attar_models::{Array, Weights};

use super::{FULL_LOGITS, TOP};
use crate::error::{Error, Result};
use crate::files;
use crate::read::{Arrays, parse_arrays};
use crate::write;

/// Which split an image belonged to when the reference was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Held out from training, used to choose settings and epoch.
    Validation,
    /// Never used before.
    Test,
}

impl Split {
    /// Both, at the position of their code in a file.
    const CODES: [Self; 2] = [Self::Validation, Self::Test];
}

/// The trained network's answer to one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// sha256 of the decoded pixels.
    pub pixels_sha256: [u8; 32],
    /// Its label.
    pub label: u32,
    /// Its split.
    pub split: Split,
    /// The classes of the largest logits with those, falling: [`TOP`] of them, or as many as there are classes.
    pub top: Vec<(u32, f32)>,
    /// ln of the sum of exponentials of all logits.
    pub log_sum_exp: f32,
    /// All logits, where there are at most [`FULL_LOGITS`].
    pub logits: Option<Vec<f32>>,
}

/// The trained network's answers to `m` images. Arrays `pixels_sha256` `[m, 32]`, `label`, `split` (0 is validation, 1 test),
/// `top1`, `top5`, `top5_logits`, `log_sum_exp` and, of few classes, `logits`; metadata `weights_sha256` and `classes`.
#[derive(Clone, PartialEq)]
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
    pixels_sha256: Vec<[u8; 32]>,
    top: usize,
    classes: usize,
    rows: BTreeMap<[u8; 32], Vec<u32>>,
}

impl Predictions {
    /// Answers of the weights with this sha256, which tell `classes` apart.
    ///
    /// # Errors
    /// [`Error::Setting`] when an answer has another number of logits than these classes ask for, a class that is none of
    /// them, or a number that is not finite.
    pub fn new(weights_sha256: &str, classes: usize, answers: &[Answer]) -> Result<Self> {
        let fail = |problem: String| Error::Setting { setting: "predictions", problem };
        let (top, full) = (classes.min(TOP), classes <= FULL_LOGITS);
        let logits_of = |answer: &Answer| answer.logits.as_ref().map(Vec::len);
        let odd = |answer: &Answer| answer.top.len() != top || logits_of(answer) != full.then_some(classes);
        if let Some(at) = answers.iter().position(odd) {
            return Err(fail(format!("answer {at} has not the logits of {classes} classes")));
        }
        let best = || answers.iter().flat_map(|answer| &answer.top);
        let all = answers.iter().filter_map(|answer| answer.logits.as_ref()).flatten();
        let predictions = Self {
            weights_sha256: weights_sha256.to_owned(),
            label: answers.iter().map(|answer| answer.label).collect(),
            split: answers.iter().map(|answer| answer.split).collect(),
            top1: answers.iter().filter_map(|answer| answer.top.first()).map(|(class, _)| *class).collect(),
            top5: best().map(|(class, _)| *class).collect(),
            top5_logits: best().map(|(_, logit)| *logit).collect(),
            log_sum_exp: answers.iter().map(|answer| answer.log_sum_exp).collect(),
            logits: full.then(|| all.copied().collect()),
            pixels_sha256: answers.iter().map(|answer| answer.pixels_sha256).collect(),
            top,
            classes,
            rows: BTreeMap::new(),
        };
        predictions.checked().map_err(fail)
    }

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
    pub fn rows(&self, pixels_sha256: &[u8; 32]) -> &[u32] {
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
        let bytes = files::read(path, files::MOST_BINARY);
        Self::parse(path, &bytes.map_err(|source| Error::Io { path: path.to_owned(), source })?)
    }

    /// Reads the bytes of such a file; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`Predictions::read`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut file = parse_arrays(bytes, path)?;
        let weights_sha256 = file.metadata("weights_sha256")?.to_owned();
        let classes = file.metadata("classes")?.parse();
        let classes: usize = classes.map_err(|_| file.error("`classes` is not a number"))?;
        let top1 = file.take::<u32>("top1", &[None])?.1;
        let m = top1.len();
        let label = file.take::<u32>("label", &[Some(m)])?.1;
        let (shape, top5) = file.take::<u32>("top5", &[Some(m), None])?;
        let top = shape[1];
        let split = splits(&mut file, m)?;
        let top5_logits = file.take::<f32>("top5_logits", &[Some(m), Some(top)])?.1;
        let log_sum_exp = file.take::<f32>("log_sum_exp", &[Some(m)])?.1;
        let logits = file.has("logits").then(|| file.take::<f32>("logits", &[Some(m), Some(classes)])).transpose()?;
        let logits = logits.map(|(_, logits)| logits);
        let pixels_sha256 = file.take::<u8>("pixels_sha256", &[Some(m), Some(32)])?.1.as_chunks().0.to_vec();
        let rows = BTreeMap::new();
        let read = Self {
            weights_sha256,
            label,
            split,
            top1,
            top5,
            top5_logits,
            log_sum_exp,
            logits,
            pixels_sha256,
            top,
            classes,
            rows,
        };
        read.checked().map_err(|problem| file.error(problem))
    }

    /// Checks what the shapes do not say, and makes the images findable.
    fn checked(mut self) -> Result<Self, String> {
        let (classes, top) = (self.classes, self.top);
        if classes == 0 || top == 0 || top > classes {
            return Err(format!("the best {top} of {classes} classes"));
        }
        if self.label.iter().chain(&self.top1).chain(&self.top5).any(|class| *class as usize >= classes) {
            return Err(format!("a class beyond the {classes} it has"));
        }
        if self.top1.iter().zip(self.top5.chunks(top)).any(|(top1, top5)| *top1 != top5[0]) {
            return Err("`top1` is not the first of `top5`".to_owned());
        }
        let floats = self.top5_logits.iter().chain(&self.log_sum_exp).chain(self.logits.iter().flatten());
        if floats.into_iter().any(|v| !v.is_finite()) {
            return Err("a logit that is not finite".to_owned());
        }
        for (row, hash) in self.pixels_sha256.iter().enumerate() {
            self.rows.entry(*hash).or_default().push(row as u32);
        }
        Ok(self)
    }

    /// Writes a `predictions.safetensors`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let (m, k) = (self.len(), self.top);
        let code = |split: &Split| u8::from(*split == Split::CODES[1]);
        let mut arrays = Weights(BTreeMap::from([
            ("pixels_sha256".to_owned(), Array::new(vec![m, 32], self.pixels_sha256.concat())?),
            ("label".to_owned(), Array::new(vec![m], self.label.clone())?),
            ("split".to_owned(), Array::new(vec![m], self.split.iter().map(code).collect())?),
            ("top1".to_owned(), Array::new(vec![m], self.top1.clone())?),
            ("top5".to_owned(), Array::new(vec![m, k], self.top5.clone())?),
            ("top5_logits".to_owned(), Array::new(vec![m, k], self.top5_logits.clone())?),
            ("log_sum_exp".to_owned(), Array::new(vec![m], self.log_sum_exp.clone())?),
        ]));
        if let Some(logits) = &self.logits {
            arrays.0.insert("logits".to_owned(), Array::new(vec![m, self.classes], logits.clone())?);
        }
        let metadata = [("weights_sha256", self.weights_sha256.clone()), ("classes", self.classes.to_string())];
        write::safetensors(path, &arrays, &metadata.map(|(key, value)| (key.to_owned(), value)).into())
    }
}

fn splits(file: &mut Arrays, m: usize) -> Result<Vec<Split>> {
    let codes = file.take::<u8>("split", &[Some(m)])?.1;
    let known = |code: u8| Split::CODES.get(usize::from(code)).copied();
    let split = |code| {
        let problem = || format!("`split` holds {code}, expected 0 (validation) or 1 (test)");
        known(code).ok_or_else(|| file.error(problem()))
    };
    codes.into_iter().map(split).collect()
}

impl fmt::Debug for Predictions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predictions").field("len", &self.len()).field("classes", &self.classes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seed: u8, split: Split, classes: usize) -> Answer {
        let logits: Vec<f32> = (0..classes).map(|k| -(k as f32) - f32::from(seed)).collect();
        Answer {
            pixels_sha256: [seed; 32],
            label: 1,
            split,
            top: (0..classes.min(TOP)).map(|k| (k as u32, logits[k])).collect(),
            log_sum_exp: 0.5,
            logits: (classes <= FULL_LOGITS).then_some(logits),
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.safetensors");
        for classes in [2, FULL_LOGITS, FULL_LOGITS + 1] {
            let answers = [answer(1, Split::Validation, classes), answer(2, Split::Test, classes)];
            let written = Predictions::new("abc", classes, &answers).unwrap();
            written.write(&path).unwrap();
            let read = Predictions::read(&path).unwrap();
            assert_eq!((read.classes(), read.row(&[2; 32], 0), &read), (classes, Some(1), &written));
            assert_eq!(read.logits(0).map(<[f32]>::len), (classes <= FULL_LOGITS).then_some(classes));
            assert_eq!(read.top(1).collect::<Vec<_>>(), answers[1].top);
        }
    }

    #[test]
    fn answers_that_contradict_themselves_are_refused() {
        let refused = |change: fn(&mut Answer)| {
            let mut broken = answer(1, Split::Test, 3);
            change(&mut broken);
            Predictions::new("abc", 3, &[broken]).unwrap_err().to_string()
        };
        assert!(refused(|a| a.label = 3).contains("a class beyond the 3"));
        assert!(refused(|a| a.log_sum_exp = f32::NAN).contains("not finite"));
        assert!(refused(|a| a.top.truncate(2)).contains("answer 0 has not the logits of 3 classes"));
        assert!(refused(|a| a.logits = None).contains("answer 0 has not the logits of 3 classes"));
    }
}
