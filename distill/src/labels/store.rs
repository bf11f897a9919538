//! A store of soft labels opened for reading: checked against what a run asks, one epoch in memory at a time.

use std::path::{Path, PathBuf};

use super::record::{decode, size};
use super::{Asked, MANIFEST, Manifest, VERSION, epoch_file};
use crate::error::{Error, Result};
use crate::hash::sha256;

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
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|error| Error::Format { path: path.clone(), problem: error.to_string() })?;
        if manifest.version != VERSION {
            let problem = format!("version {}, this program reads version {VERSION}", manifest.version);
            return Err(Error::Format { path, problem });
        }
        if manifest.top == 0 || manifest.asked.classes > usize::from(u16::MAX) {
            return Err(Error::Format { path, problem: "keeps no class, or too many to number".to_owned() });
        }
        Ok(Self { directory: directory.to_owned(), manifest, open: None })
    }

    /// Checks that the store answers what a run of so many epochs asks; the problem in words if not.
    pub(crate) fn fits(&self, asked: &Asked, epochs: usize) -> std::result::Result<(), String> {
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
            let bytes = std::fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
            let expected = epoch.checked_sub(1).and_then(|i| self.manifest.epochs.get(i));
            if expected != Some(&sha256(&bytes)) {
                let problem =
                    "is not the file that store.json lists\n  hint: delete it and write it again with `attar labels`";
                return Err(Error::Format { path, problem: problem.to_owned() });
            }
            self.open = Some((epoch, bytes));
        }
        Ok(self.open.as_ref().map_or(&[], |(_, bytes)| bytes))
    }
}
