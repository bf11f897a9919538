//! ImageFolder: `train/CLASS/*.png` and `val/CLASS/*.png` (or `test/`), decoded when asked for.

mod classes;
mod tree;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_formats::files;
use attar_pixels::{Image, decode};
use serde::Serialize;

use crate::dataset::Dataset;
use crate::error::{Error, Result};

pub(crate) use tree::Tree;
pub use walk::LeftOut;

/// Findings shown of a long list.
const SHOWN: usize = 20;

/// Something that is wrong with a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The image, file or folder.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Finding {
    /// The first twenty, one a line, and how many more there are.
    pub fn list(findings: &[Self]) -> String {
        let mut lines: Vec<String> =
            findings.iter().take(SHOWN).map(|found| format!("\n  {}: {}", found.name, found.problem)).collect();
        if findings.len() > SHOWN {
            lines.push(format!("\n  and {} more", findings.len() - SHOWN));
        }
        lines.concat()
    }
}

/// What can be opened of a data set, and what is wrong with the rest.
#[derive(Clone, Default)]
pub struct Survey {
    /// Class names in the order of the labels.
    pub classes: Vec<String>,
    /// The splits by name: `train`, `val`, `test`.
    pub splits: Vec<(String, Arc<dyn Dataset>)>,
    /// Files that are not read, classes that do not fit, and whatever else is wrong but for the images themselves.
    pub findings: Vec<Finding>,
    /// Classes that may be without an image.
    pub allow_empty: Vec<String>,
    /// What people should know.
    pub notes: Vec<String>,
    /// What was not taken for an image.
    pub left_out: LeftOut,
}

impl std::fmt::Debug for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes: Vec<_> = self.splits.iter().map(|(name, images)| (name, images.len())).collect();
        f.debug_struct("Survey").field("splits", &sizes).field("findings", &self.findings).finish_non_exhaustive()
    }
}

/// One split: paths, read when an image is asked for.
pub(crate) struct Folder {
    root: PathBuf,
    files: Vec<(PathBuf, u32)>,
    classes: Vec<String>,
    notes: Vec<String>,
    left_out: LeftOut,
}

impl Folder {
    fn path(&self, index: usize) -> Result<&Path> {
        let found = self.files.get(index).map(|(path, _)| path.as_path());
        found.ok_or_else(|| Error::setting("index", format!("image {index} of a set of {} images", self.files.len())))
    }
}

impl Dataset for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.files.get(index).map_or(0, |(_, label)| *label)
    }

    fn image(&self, index: usize) -> Result<Image> {
        Ok(decode(&self.encoded(index)?, self.path(index)?)?)
    }

    fn encoded(&self, index: usize) -> Result<Vec<u8>> {
        let path = self.path(index)?;
        files::read(path, files::MOST_IMAGE).map_err(|error| Error::io(path, error))
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The path below the root: reports are shown to others.
    fn name(&self, index: usize) -> String {
        let path = self.path(index).unwrap_or(Path::new("?"));
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }

    fn file(&self, index: usize) -> Option<&Path> {
        self.path(index).ok()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }
}

#[cfg(test)]
mod tests;
