//! The manifest: which files a bundle has, their sha256, and which of them are models.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use attar_formats::hash::{sha256, stream_sha256};
use serde::{Deserialize, Serialize};

use super::{MOST_TEXT, file, parse_json};
use crate::error::{Error, Result};

/// The layout of a bundle that this program knows.
pub const BUNDLE_VERSION: u32 = 1;

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`BUNDLE_VERSION`].
    pub bundle_version: u32,
    /// sha256 (64 hexadecimal digits) of each file by its path in the bundle, `/` between folders.
    pub files: BTreeMap<String, String>,
    /// The ONNX files.
    pub models: Vec<ModelFile>,
    /// Operator set of the ONNX files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opset: Option<i64>,
    /// Where it all came from.
    #[serde(default)]
    pub provenance: serde_json::Value,
}

/// One ONNX file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Path in the bundle, e.g. `model.onnx`.
    pub file: String,
    /// Precision of its arithmetic, e.g. `f32`.
    pub precision: String,
}

impl Manifest {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let path = root.join(file::MANIFEST);
        let bytes = read_bounded(&path, MOST_TEXT)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::format(&path, "not UTF-8"))?;
        let manifest: Self = parse_json(&path, &text)?;
        manifest.check(&path)?;
        Ok(manifest)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let fail = |problem: String| Err(Error::format(path, problem));
        if self.bundle_version != BUNDLE_VERSION {
            return fail(format!("bundle version {}, this program knows {BUNDLE_VERSION}", self.bundle_version));
        }
        if let Some(name) = self.files.keys().find(|name| !stays_inside(name)) {
            return fail(format!("`{name}` is not a plain path inside the bundle"));
        }
        if self.models.is_empty() {
            return fail("it lists no model".to_owned());
        }
        let models = self.models.iter().map(|model| model.file.as_str());
        let needed = [file::CONFIG, file::PREPROCESSING, file::LABELS].into_iter().chain(models);
        match needed.into_iter().find(|name| !self.files.contains_key(*name)) {
            Some(name) => fail(format!("`{name}` is not among its files")),
            None => Ok(()),
        }
    }

    /// Checks that every listed file is there, inside the bundle, of a bearable length and unchanged.
    pub(super) fn check_files(&self, root: &Path, most: u64) -> Result<()> {
        self.files.iter().try_for_each(|(name, listed)| {
            let path = inside(root, name)?;
            let found = stream_sha256(open_bounded(&path, most)?).map_err(Error::io(&path))?;
            compare(&path, &found, listed)
        })
    }

    /// A listed file's bytes, with the listed sha256.
    pub(super) fn read(&self, root: &Path, name: &str, most: u64) -> Result<Vec<u8>> {
        let manifest = root.join(file::MANIFEST);
        let listed =
            self.files.get(name).ok_or_else(|| Error::format(manifest, format!("it does not list `{name}`")))?;
        let path = inside(root, name)?;
        let bytes = read_bounded(&path, most)?;
        compare(&path, &sha256(&bytes), listed)?;
        Ok(bytes)
    }

    pub(super) fn read_if_listed(&self, root: &Path, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        self.files.contains_key(name).then(|| self.read(root, name, most)).transpose()
    }

    pub(super) fn read_text(&self, root: &Path, name: &str, most: u64) -> Result<String> {
        let bytes = self.read(root, name, most)?;
        String::from_utf8(bytes).map_err(|_| Error::format(root.join(name), "not UTF-8"))
    }
}

fn stays_inside(name: &str) -> bool {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    !name.is_empty() && !name.contains('\\') && Path::new(name).components().all(plain)
}

/// The path of a listed file; a link must not lead out of the bundle either.
fn inside(root: &Path, name: &str) -> Result<PathBuf> {
    let path = root.join(name);
    let real_root = root.canonicalize().map_err(Error::io(root))?;
    let real = path.canonicalize().map_err(Error::io(&path))?;
    if !stays_inside(name) || !real.starts_with(&real_root) {
        return Err(Error::format(&path, "it leads out of the bundle"));
    }
    Ok(path)
}

fn open_bounded(path: &Path, most: u64) -> Result<impl Read + use<>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    if !metadata.is_file() {
        return Err(Error::format(path, "not a file"));
    }
    if metadata.len() > most {
        return Err(Error::format(path, format!("{} bytes, expected at most {most}", metadata.len())));
    }
    Ok(file.take(most))
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_bounded(path, most)?.read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

fn compare(path: &Path, found: &str, listed: &str) -> Result<()> {
    if found.eq_ignore_ascii_case(listed) {
        return Ok(());
    }
    let problem = format!("not the file that the manifest lists\n  sha256 found:  {found}\n  sha256 listed: {listed}");
    Err(Error::format(path, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_stay_inside() {
        for name in ["model.onnx", "reference/golden.safetensors", "a/b/c"] {
            assert!(stays_inside(name), "{name}");
        }
        for name in ["", "../x", "a/../../x", "/etc/passwd", "./x/..", "a\\..\\b"] {
            assert!(!stays_inside(name), "{name}");
        }
    }
}
