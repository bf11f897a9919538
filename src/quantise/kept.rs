//! What is done of quantising a network, kept while it goes on, so that a command that was interrupted goes on where it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attar_formats::{hash, read, write};
use attar_models::Weights;
use serde::{Deserialize, Serialize};

use super::TunedReport;
use crate::program;

/// The key of a file's metadata that says how far it is.
const DONE: &str = "attar.quantise.done";

/// How far a way to quantise is; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) enum Done {
    /// Rounding was learned of so many layers.
    Layers(usize),
    /// Batch norms were estimated anew.
    Norms,
    /// Biases were corrected.
    Biases,
    /// Scales and biases were tuned.
    Tuned(TunedReport),
}

/// A folder of what is done, a file for each way that was begun; gone when all is.
#[derive(Debug)]
pub struct Kept(PathBuf);

impl Kept {
    /// In this folder, which need not be there.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// In `ROOT.NAME.partial`, beside a bundle.
    pub(super) fn beside(root: &Path, name: &str) -> Self {
        Self::at(super::into_bundle::beside(root, &format!("{name}.partial")))
    }

    /// What there is of a way that is known by all that its numbers come of, this very program among it.
    pub(super) fn way(&self, of: &impl Serialize) -> Result<Way> {
        let key = hash::sha256(serde_json::to_string(&(program::sha256()?, of))?.as_bytes());
        Ok(Way(self.0.join(format!("{key}.safetensors"))))
    }

    /// Removes what there is: all of it was of use.
    ///
    /// # Errors
    /// A file that does not go.
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| self.0.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

/// The file of one way.
#[derive(Debug)]
pub(super) struct Way(PathBuf);

impl Way {
    /// How far it is, with the weights as they were there.
    pub(super) fn read(&self) -> Result<Option<(Done, Weights)>> {
        if !self.0.exists() {
            return Ok(None);
        }
        let arrays = read::arrays(&self.0)?;
        let done = serde_json::from_str(arrays.metadata(DONE)?);
        let done = done.map_err(|error| arrays.error(format!("{DONE}: {error}\n  hint: delete the file")))?;
        Ok(Some((done, arrays.into_weights())))
    }

    pub(super) fn write(&self, done: Done, weights: &Weights) -> Result<()> {
        if let Some(folder) = self.0.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let said = BTreeMap::from([(DONE.to_owned(), serde_json::to_string(&done)?)]);
        Ok(write::safetensors(&self.0, weights, &said)?)
    }
}

#[cfg(test)]
mod tests {
    use attar_models::Array;

    use super::*;

    #[test]
    fn a_way_is_known_by_what_it_comes_of_and_goes_when_all_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::beside(&folder.path().join("bundle/"), "m.onnx");
        kept.remove().unwrap();
        let weights = Weights(BTreeMap::from([("w".to_owned(), Array::new(vec![2], vec![0.1f32, -3e-39]).unwrap())]));
        let (way, other) = (kept.way(&(1, "a")).unwrap(), kept.way(&(1, "b")).unwrap());
        assert_eq!(way.read().unwrap(), None);
        let tuned = Done::Tuned(TunedReport { steps: 3, before: 0.1, after: 1.0 / 3.0 });
        for done in [Done::Layers(7), tuned] {
            way.write(done, &weights).unwrap();
            assert_eq!(way.read().unwrap(), Some((done, weights.clone())));
        }
        assert_eq!(other.read().unwrap(), None);
        assert!(Done::Layers(99) < Done::Norms && Done::Biases < tuned);
        assert!(folder.path().join("bundle.m.onnx.partial").is_dir());
        kept.remove().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
