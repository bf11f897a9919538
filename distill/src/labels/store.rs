//! A store of soft labels opened for reading: checked against what a run asks, one epoch in memory at a time.

use std::path::{Path, PathBuf};

use attar_formats::classes::align;
use attar_formats::files;
use attar_formats::hash::{file_sha256, sha256};

use super::manifest::{AnswersKey, MANIFEST, Manifest, VERSION, epoch_file};
use super::record::{decode, size};
use crate::error::{Error, Result};
use crate::recipe::TeacherSource;

/// A store and the epoch that is being read.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    pub(crate) manifest: Manifest,
    /// Epoch and bytes.
    open: Option<(usize, Vec<u8>)>,
}

impl Store {
    /// Opens the store in `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(MANIFEST);
        let text =
            files::read_text(&path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.clone(), source })?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| Error::Format { path: path.clone(), problem: error.to_string() })?;
        if manifest.version != VERSION {
            let problem = format!("version {}, this program reads version {VERSION}", manifest.version);
            return Err(Error::Format { path, problem });
        }
        if matches!(manifest.from, TeacherSource::Stored { .. }) {
            return Err(Error::Format { path, problem: "holds answers of stored answers".to_owned() });
        }
        if manifest.top == 0 || manifest.asked.classes > usize::from(u16::MAX) {
            return Err(Error::Format { path, problem: "keeps no class, or too many to number".to_owned() });
        }
        Ok(Self { directory: directory.to_owned(), manifest, open: None })
    }

    /// What the answers are, in one hash: another number of classes kept, or other answers of the same teacher, differ.
    pub(crate) fn answers_sha256(&self) -> String {
        sha256(format!("{} {}", self.manifest.top, self.manifest.epochs.join(" ")).as_bytes())
    }

    /// How many epochs from the first are there as they were written.
    pub(crate) fn intact(&self) -> usize {
        let is_intact = |(i, sha256): (usize, &String)| {
            file_sha256(&self.directory.join(epoch_file(i + 1))).is_ok_and(|own| own == *sha256)
        };
        self.manifest.epochs.iter().enumerate().map_while(|epoch| is_intact(epoch).then_some(())).count()
    }

    /// Checks that the store answers what a run of so many epochs asks; the problem in words if not.
    pub(crate) fn fits(&self, asked: &AnswersKey, epochs: usize) -> std::result::Result<(), String> {
        let differences = self.manifest.asked.differences(asked);
        if !differences.is_empty() {
            return Err(format!(
                "the store answers another question:\n  {}\n  hint: write one for this recipe with `attar labels`",
                differences.join("\n  ")
            ));
        }
        match self.manifest.epochs.len() {
            stored if stored < epochs => Err(format!(
                "holds {stored} epochs, the recipe trains for {epochs}\n  hint: `attar labels --epochs {epochs}` goes on where it stopped"
            )),
            _ => Ok(()),
        }
    }

    /// Checks that the store answers these very images, in this order (`images_sha256`) and with classes of these names, which
    /// needs no teacher. `Some` note where it is too old to say.
    pub(crate) fn names(
        &self,
        of_data: &[String],
        images_sha256: impl FnOnce() -> Result<String>,
    ) -> Result<Option<String>> {
        let fail = |problem: String| Error::Format { path: self.directory.clone(), problem };
        let again = "write the answers again with `attar labels` into another directory";
        if let Some(classes) = self.manifest.classes.as_deref().filter(|classes| *classes != of_data) {
            let problem = match align(of_data, classes) {
                Ok(_) => "its classes come in another order, and so do its images".to_owned(),
                Err(problem) => format!("it answers for other classes: {problem}"),
            };
            return Err(fail(format!("{problem}\n  hint: {again}")));
        }
        match &self.manifest.images_sha256 {
            Some(named) if *named != images_sha256()? => Err(fail(format!(
                "its answers are to other pictures than these, or to these in another order\n  hint: bring the pictures back, or {again}"
            ))),
            Some(_) => Ok(None),
            None => Ok(Some(format!(
                "WARNING: teacher `{}`: the store {} is of before stores named their images: that its answers are to these very pictures is taken on trust\n  hint: `attar labels RECIPE --out {} --stamp`, with the recipe that it was written by, asks the teacher again for a sample and adds the name",
                self.manifest.teacher,
                self.directory.display(),
                self.directory.display()
            ))),
        }
    }

    /// Log-probabilities `[n, K]` of samples at an epoch, from 1.
    pub(crate) fn rows(&mut self, epoch: usize, ids: &[u32]) -> Result<Vec<f32>> {
        let (classes, top) = (self.manifest.asked.classes, self.manifest.top);
        let size = size(classes, top);
        let path = self.directory.join(epoch_file(epoch));
        let bytes = self.epoch(epoch)?;
        let mut rows = Vec::with_capacity(ids.len() * classes);
        for id in ids {
            let at = *id as usize * size;
            let row = bytes.get(at..at + size).and_then(|record| decode(record, classes, top));
            let problem = || format!("has no answer for sample {id}");
            rows.extend(row.ok_or_else(|| Error::Format { path: path.clone(), problem: problem() })?);
        }
        Ok(rows)
    }

    /// The bytes of an epoch, read and checked when it is first asked for.
    fn epoch(&mut self, epoch: usize) -> Result<&[u8]> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != epoch) {
            let path = self.directory.join(epoch_file(epoch));
            let bytes =
                files::read(&path, files::MOST_BINARY).map_err(|source| Error::Io { path: path.clone(), source })?;
            let expected = epoch.checked_sub(1).and_then(|i| self.manifest.epochs.get(i));
            if expected != Some(&sha256(&bytes)) {
                let problem = "is not the file that store.json lists\n  hint: `attar labels` writes it again";
                return Err(Error::Format { path, problem: problem.to_owned() });
            }
            self.open = Some((epoch, bytes));
        }
        Ok(self.open.as_ref().map_or(&[], |(_, bytes)| bytes))
    }
}
