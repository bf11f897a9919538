//! The manifest: which files a bundle has, their sha256, and which of them are models.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{EndToEndModel, file};
use crate::card::Provenance;
use crate::error::{Error, Result};
use crate::files::{MOST_BINARY, MOST_TEXT};
use crate::hash::{sha256, stream_sha256};
use crate::json;

/// The newest layout of a bundle. Since 2, a model says for which engine it is and what it was made from; since 3, a file
/// that others made may be among the models and leave the latter open.
pub const BUNDLE_VERSION: u32 = 3;

/// The oldest layout that is read.
pub const OLDEST_BUNDLE_VERSION: u32 = 1;

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Manifest {
    /// [`BUNDLE_VERSION`], or an older one that is still read.
    pub bundle_version: u32,
    /// sha256 (64 hexadecimal digits) of each file by its path in the bundle, `/` between folders.
    pub files: BTreeMap<String, String>,
    /// The models, at least one; the first is what `predict` takes.
    pub models: Vec<ModelFile>,
    /// Files that take pixels and give classes, made from models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub end_to_end: Vec<EndToEndModel>,
    /// Operator set of the ONNX files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opset: Option<i64>,
    /// Who gave the reference answers, where that is not the network that was trained, before it was exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<Answerer>,
    /// Where it all came from.
    #[serde(default)]
    pub provenance: Provenance,
}

/// An ONNX file of others in a runtime, whose answers are a bundle's reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answerer {
    /// The file's name; it need not lie in the bundle.
    pub file: String,
    /// Its sha256, 64 hexadecimal digits.
    pub file_sha256: String,
    /// The same of each file beside it that held arrays of it, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data_files: BTreeMap<String, String>,
    /// Precision of its arithmetic.
    pub precision: String,
    /// Name of the runtime.
    pub engine: String,
    /// Its version.
    pub version: String,
}

/// One model of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelFile {
    /// Path in the bundle, e.g. `model.onnx`.
    pub file: String,
    /// Precision of its arithmetic, e.g. `f32`.
    pub precision: String,
    /// For which engine it is: `onnx` for any runtime that takes ONNX files, as all models of version 1 are.
    #[serde(default = "onnx")]
    pub engine: String,
    /// Version of the integer arithmetic whose bytes it promises; absent where none are promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<u32>,
    /// sha256 of the file of the bundle that it was made from; absent in version 1, and of a file that others made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
}

impl ModelFile {
    /// An ONNX file in `f32`, made from the weights with this sha256.
    pub fn onnx(file: &str, made_from: &str) -> Self {
        Self {
            file: file.to_owned(),
            precision: "f32".to_owned(),
            engine: onnx(),
            arithmetic: None,
            made_from: Some(made_from.to_owned()),
        }
    }

    /// An ONNX file as others made it, of whatever.
    pub fn of_others(file: &str, precision: &str) -> Self {
        let (file, precision) = (file.to_owned(), precision.to_owned());
        Self { file, precision, engine: onnx(), arithmetic: None, made_from: None }
    }
}

fn onnx() -> String {
    "onnx".to_owned()
}

impl Manifest {
    /// The oldest layout that can say what there is to say of these models: whoever knows it opens the bundle.
    pub fn version_for(models: &[ModelFile]) -> u32 {
        if models.iter().all(|model| model.made_from.is_some()) { 2 } else { 3 }
    }

    /// Whether a model is the bundle's own: written by the exporter from the weights beside it, so that every runtime must
    /// take it.
    pub fn is_own(&self, model: &ModelFile) -> bool {
        match (&model.made_from, self.files.get(file::WEIGHTS)) {
            (None, _) => self.bundle_version == 1,
            (Some(origin), Some(weights)) => same(weights, origin),
            (Some(_), None) => false,
        }
    }

    /// Reads and checks the manifest of the bundle in the directory `root`; its files are not read.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for one of another version, without a model, with a path that leads out of the bundle,
    /// or that does not list what every bundle has.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join(file::MANIFEST);
        let bytes = read_bounded(&path, MOST_TEXT)?;
        let manifest: Self = json::parse(&path, &bytes)?;
        manifest.check().map_err(|problem| format(&path, problem))?;
        Ok(manifest)
    }

    /// Writes the manifest into the directory `root`, atomically. It comes last: a bundle without one is none.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] where it is not one that [`Manifest::open`] would take.
    pub fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(file::MANIFEST);
        self.check().map_err(|problem| format(&path, problem))?;
        json::write(&path, self)
    }

    fn check(&self) -> Result<(), String> {
        let version = self.bundle_version;
        if !(OLDEST_BUNDLE_VERSION..=BUNDLE_VERSION).contains(&version) {
            return Err(format!(
                "bundle version {version}, this program knows {OLDEST_BUNDLE_VERSION} to {BUNDLE_VERSION}\n  \
                 hint: a later attar opens it"
            ));
        }
        if let Some(name) = self.files.keys().find(|name| !stays_inside(name)) {
            return Err(format!("`{name}` is not a plain path inside the bundle"));
        }
        if self.models.is_empty() {
            return Err("it lists no model".to_owned());
        }
        let models = self.models.iter().map(|model| model.file.as_str());
        let needed = [file::CONFIG, file::PREPROCESSING, file::LABELS].into_iter().chain(models);
        if let Some(name) = needed.into_iter().find(|name| !self.files.contains_key(*name)) {
            return Err(format!("`{name}` is not among its files"));
        }
        if let Some(model) = self.end_to_end.iter().find(|model| !self.files.contains_key(&model.file)) {
            return Err(format!("`{}` is not among its files", model.file));
        }
        self.models.iter().try_for_each(|model| self.check_origin(model))
    }

    /// What a model was made from lies beside it, so that anybody can hold one against the other.
    fn check_origin(&self, model: &ModelFile) -> Result<(), String> {
        let name = &model.file;
        match &model.made_from {
            None if self.bundle_version != 2 => Ok(()),
            None => Err(format!("it does not say what `{name}` was made from")),
            Some(origin) if self.files.iter().any(|(other, listed)| other != name && same(listed, origin)) => Ok(()),
            Some(origin) => Err(format!("`{name}` was made from a file that it does not list\n  sha256: {origin}")),
        }
    }

    /// Checks that every listed file is there, inside the bundle, of a bearable length and unchanged.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] with the file.
    pub fn check_files(&self, root: &Path) -> Result<()> {
        self.files.iter().try_for_each(|(name, listed)| {
            let path = inside(root, name)?;
            let found = stream_sha256(open_bounded(&path, MOST_BINARY)?).map_err(|error| io(&path, error))?;
            compare(&path, &found, listed)
        })
    }

    /// A listed file's bytes, with the listed sha256.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] where it is not listed, changed, or longer than a model or a list of answers can be.
    pub fn read(&self, root: &Path, name: &str) -> Result<Vec<u8>> {
        self.read_at_most(root, name, MOST_BINARY)
    }

    /// [`Manifest::read`]; `None` where the file is not listed.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn read_if_listed(&self, root: &Path, name: &str) -> Result<Option<Vec<u8>>> {
        self.files.contains_key(name).then(|| self.read(root, name)).transpose()
    }

    /// [`Manifest::read`] of a text.
    ///
    /// # Errors
    /// As [`Manifest::read`], and [`Error::Format`] where it is not UTF-8.
    pub fn read_text(&self, root: &Path, name: &str) -> Result<String> {
        let bytes = self.read_at_most(root, name, MOST_TEXT)?;
        String::from_utf8(bytes).map_err(|_| format(&root.join(name), "not UTF-8"))
    }

    fn read_at_most(&self, root: &Path, name: &str, most: u64) -> Result<Vec<u8>> {
        let unlisted = || format(&root.join(file::MANIFEST), format!("it does not list `{name}`"));
        let listed = self.files.get(name).ok_or_else(unlisted)?;
        let path = inside(root, name)?;
        let bytes = read_bounded(&path, most)?;
        compare(&path, &sha256(&bytes), listed)?;
        Ok(bytes)
    }
}

fn stays_inside(name: &str) -> bool {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    !name.is_empty() && !name.contains('\\') && Path::new(name).components().all(plain)
}

/// The path of a listed file; a link must not lead out of the bundle either.
fn inside(root: &Path, name: &str) -> Result<PathBuf> {
    let path = root.join(name);
    let real_root = root.canonicalize().map_err(|error| io(root, error))?;
    let real = path.canonicalize().map_err(|error| io(&path, error))?;
    if !stays_inside(name) || !real.starts_with(&real_root) {
        return Err(format(&path, "it leads out of the bundle"));
    }
    Ok(path)
}

fn open_bounded(path: &Path, most: u64) -> Result<impl Read + use<>> {
    let file = File::open(path).map_err(|error| io(path, error))?;
    let metadata = file.metadata().map_err(|error| io(path, error))?;
    if !metadata.is_file() {
        return Err(format(path, "not a file"));
    }
    if metadata.len() > most {
        return Err(format(path, format!("{} bytes, expected at most {most}", metadata.len())));
    }
    Ok(file.take(most))
}

fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_bounded(path, most)?.read_to_end(&mut bytes).map_err(|error| io(path, error))?;
    Ok(bytes)
}

fn same(found: &str, listed: &str) -> bool {
    found.eq_ignore_ascii_case(listed)
}

fn compare(path: &Path, found: &str, listed: &str) -> Result<()> {
    if same(found, listed) {
        return Ok(());
    }
    let problem = format!("not the file that the manifest lists\n  sha256 found:  {found}\n  sha256 listed: {listed}");
    Err(format(path, problem))
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

fn format(path: &Path, problem: impl Into<String>) -> Error {
    Error::Format { path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let names = [file::CONFIG, file::PREPROCESSING, file::LABELS, file::WEIGHTS, file::ONNX, "model.int8.onnx"];
        let files: BTreeMap<String, String> = names.map(|name| (name.to_owned(), sha256(name.as_bytes()))).into();
        let int8 = ModelFile {
            file: "model.int8.onnx".to_owned(),
            precision: "int8".to_owned(),
            arithmetic: Some(1),
            ..ModelFile::onnx(file::ONNX, &files[file::ONNX])
        };
        let models = vec![ModelFile::onnx(file::ONNX, &files[file::WEIGHTS]), int8];
        let bundle_version = Manifest::version_for(&models);
        let provenance = Provenance { program: "attar 0.1.0".to_owned(), ..Provenance::default() };
        Manifest {
            bundle_version,
            files,
            models,
            end_to_end: Vec::new(),
            opset: Some(17),
            answered_by: None,
            provenance,
        }
    }

    #[test]
    fn a_manifest_of_several_models_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        manifest().write(folder.path()).unwrap();
        assert_eq!(Manifest::open(folder.path()).unwrap(), manifest());
    }

    #[test]
    fn version_1_is_read_and_says_less() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file::MANIFEST);
        let mut old = serde_json::json!({
            "bundle_version": 1,
            "files": manifest().files,
            "models": [{ "file": "model.onnx", "precision": "f32" }],
        });
        std::fs::write(&path, old.to_string()).unwrap();
        let read = Manifest::open(folder.path()).unwrap();
        assert_eq!((read.models[0].engine.as_str(), &read.models[0].made_from, read.opset), ("onnx", &None, None));
        old["bundle_version"] = 2.into();
        std::fs::write(&path, old.to_string()).unwrap();
        let message = Manifest::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("does not say what `model.onnx` was made from"), "{message}");
        old["bundle_version"] = 4.into();
        std::fs::write(&path, old.to_string()).unwrap();
        let message = Manifest::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("bundle version 4, this program knows 1 to 3"), "{message}");
    }

    #[test]
    fn a_file_of_others_needs_version_3_and_is_not_the_bundles_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = manifest();
        assert_eq!(manifest.bundle_version, 2);
        assert_eq!(manifest.models.iter().map(|model| manifest.is_own(model)).collect::<Vec<_>>(), [true, false]);
        manifest.models.push(ModelFile::of_others("model.int8.onnx", "int8"));
        assert!(manifest.check().unwrap_err().contains("does not say what `model.int8.onnx` was made from"));
        manifest.bundle_version = Manifest::version_for(&manifest.models);
        manifest.answered_by = Some(Answerer {
            file: "theirs.onnx".to_owned(),
            file_sha256: "0".repeat(64),
            data_files: BTreeMap::new(),
            precision: "f32".to_owned(),
            engine: "ort".to_owned(),
            version: "1.31.1".to_owned(),
        });
        manifest.write(folder.path()).unwrap();
        let read = Manifest::open(folder.path()).unwrap();
        assert_eq!((read.bundle_version, read.is_own(&read.models[2])), (3, false));
        assert_eq!(read, manifest);
    }

    #[test]
    fn a_manifest_that_does_not_hold_together_is_refused() {
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            manifest.check().unwrap_err()
        };
        assert!(refused(|m| m.models.clear()).contains("lists no model"));
        assert!(refused(|m| m.models[0].file = "x.onnx".to_owned()).contains("`x.onnx` is not among its files"));
        assert!(refused(|m| m.models[0].made_from = Some("0".repeat(64))).contains("a file that it does not list"));
        let own = |m: &mut Manifest| m.models[0].made_from = m.files.get(file::ONNX).cloned();
        assert!(refused(own).contains("a file that it does not list"), "from itself");
        assert!(
            refused(|m| drop(m.files.insert("../x".to_owned(), String::new()))).contains("`../x` is not a plain path")
        );
    }

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
