//! A further model of a bundle: a file of others that answers like the bundle's own.

use std::path::Path;

use attar_formats::bundle::{EndToEndModel, Manifest, ModelFile, file};
use attar_formats::hash::sha256;
use attar_formats::write;

use crate::error::{Error, Result};

/// What is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition<'a> {
    /// What it is called in the bundle: a plain file name, e.g. `model.int8.onnx`.
    pub name: &'a str,
    /// The ONNX file, with all its arrays in it, or the plan.
    pub model: &'a [u8],
    /// Number of the integer arithmetic whose bytes it promises, if it does.
    pub arithmetic: Option<u32>,
    /// Precision of its arithmetic.
    pub precision: &'a str,
    /// The file of the bundle that it was made from, by its path there; `None` where nobody said so.
    pub made_from: Option<&'a str>,
    /// How it was checked, as JSON: it travels as `certificates/NAME.json`.
    pub certificate: &'a [u8],
}

impl Addition<'_> {
    /// Where its certificate lies in the bundle.
    pub fn certificate_path(&self) -> String {
        format!("certificates/{}.json", self.name)
    }

    /// What the manifest will be, if it can be added.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that is taken or no plain one, and for a file that the bundle does not hold.
    pub fn listed_in(&self, manifest: &Manifest) -> Result<Manifest> {
        let fail = |setting: &'static str, problem: String| Err(Error::Setting { setting, problem });
        let name = self.name;
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && !name.contains(['/', '\\'])
            && !name.contains(char::is_control);
        let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
        let engine = match ending.filter(|_| plain) {
            Some("onnx") => "onnx",
            Some("attar") => "attar",
            _ => {
                return fail(
                    "name",
                    format!("`{name}`, expected a plain file name that ends in .onnx or, of a plan, .attar"),
                );
            }
        };
        let lower = name.to_lowercase();
        if let Some(taken) = manifest.files.keys().find(|taken| taken.to_lowercase() == lower) {
            return fail("name", format!("the bundle has a `{taken}` already\n  hint: `--name` calls it otherwise"));
        }
        let mut listed = ModelFile::of_others(name, self.precision);
        (listed.engine, listed.arithmetic) = (engine.to_owned(), self.arithmetic);
        if let Some(origin) = self.made_from {
            let Some(found) = manifest.files.get(origin) else {
                let all: Vec<&str> = manifest.models.iter().map(|model| model.file.as_str()).collect();
                let problem = format!("the bundle holds no `{origin}`\n  hint: its models are {}", all.join(", "));
                return fail("made-from", problem);
            };
            listed.made_from = Some(found.clone());
        }
        let mut manifest = manifest.clone();
        manifest.files.insert(name.to_owned(), sha256(self.model));
        manifest.files.insert(self.certificate_path(), sha256(self.certificate));
        // In version 1 it went without saying that a bundle's model was made from its weights.
        if let (1, Some(weights)) = (manifest.bundle_version, manifest.files.get(file::WEIGHTS)) {
            manifest.models.iter_mut().for_each(|model| model.made_from = Some(weights.clone()));
        }
        manifest.models.push(listed);
        manifest.bundle_version = manifest.bundle_version.max(Manifest::version_for(&manifest.models));
        Ok(manifest)
    }
}

/// Adds a model to the bundle in the directory `root`, whose manifest was `manifest` when the model was checked. The manifest
/// comes last, so that the bundle is whole at any time.
///
/// # Errors
/// As [`Addition::listed_in`]; when the bundle has changed in between; when a file cannot be written.
pub fn add(root: &Path, manifest: &Manifest, addition: &Addition<'_>) -> Result<Manifest> {
    let listed = addition.listed_in(manifest)?;
    if Manifest::open(root)? != *manifest {
        let problem = "the bundle was changed while the model was checked; nothing was added".to_owned();
        return Err(Error::Source { path: root.to_owned(), problem });
    }
    let certificate = root.join(addition.certificate_path());
    if let Some(folder) = certificate.parent() {
        std::fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    }
    write::bytes(&root.join(addition.name), addition.model)?;
    write::bytes(&certificate, addition.certificate)?;
    listed.write(root)?;
    Ok(listed)
}

/// Lists a file that takes pixels and gives classes in the bundle in the directory `root`, whose manifest was `manifest` when it
/// was compared; one of the same name that was made from another model is replaced.
///
/// # Errors
/// A name that another file has; as [`add`].
pub fn with_end_to_end(root: &Path, manifest: &Manifest, bytes: &[u8], made: &EndToEndModel) -> Result<Manifest> {
    if Manifest::open(root)? != *manifest {
        let problem = "the bundle was changed while the file was compared; nothing was added".to_owned();
        return Err(Error::Source { path: root.to_owned(), problem });
    }
    let mut listed = manifest.clone();
    listed.end_to_end.retain(|other| other.file != made.file);
    if listed.end_to_end.len() == manifest.end_to_end.len() && listed.files.contains_key(&made.file) {
        return Err(Error::Setting { setting: "name", problem: format!("the bundle has a `{}` already", made.file) });
    }
    listed.files.insert(made.file.clone(), sha256(bytes));
    listed.end_to_end.push(made.clone());
    write::bytes(&root.join(&made.file), bytes)?;
    listed.write(root)?;
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use attar_formats::card::Provenance;

    use super::*;

    fn manifest() -> Manifest {
        let names = [file::CONFIG, file::PREPROCESSING, file::LABELS, file::WEIGHTS, file::ONNX];
        let files: BTreeMap<String, String> = names.map(|name| (name.to_owned(), sha256(name.as_bytes()))).into();
        let models = vec![ModelFile::onnx(file::ONNX, &files[file::WEIGHTS])];
        let provenance = Provenance::default();
        Manifest {
            bundle_version: 2,
            files,
            models,
            end_to_end: Vec::new(),
            opset: Some(17),
            answered_by: None,
            provenance,
        }
    }

    fn addition<'a>(name: &'a str, made_from: Option<&'a str>) -> Addition<'a> {
        Addition { name, model: b"bytes", arithmetic: None, precision: "int8", made_from, certificate: b"{}" }
    }

    #[test]
    fn a_model_is_listed_with_what_is_known_of_it() {
        let folder = tempfile::tempdir().unwrap();
        manifest().write(folder.path()).unwrap();
        let added = add(folder.path(), &manifest(), &addition("int8.onnx", Some(file::ONNX))).unwrap();
        assert_eq!((added.bundle_version, &added.models[1].made_from), (2, &manifest().files.get(file::ONNX).cloned()));
        let second = add(folder.path(), &added, &addition("theirs.onnx", None)).unwrap();
        assert_eq!((second.bundle_version, second.models.len()), (3, 3));
        assert_eq!(Manifest::open(folder.path()).unwrap(), second);
        assert_eq!(std::fs::read(folder.path().join("theirs.onnx")).unwrap(), b"bytes");
        assert_eq!(second.read(folder.path(), "certificates/theirs.onnx.json").unwrap(), b"{}");
        let mut old = manifest();
        (old.bundle_version, old.models[0].made_from) = (1, None);
        let listed = addition("theirs.onnx", None).listed_in(&old).unwrap();
        let own: Vec<bool> = listed.models.iter().map(|model| listed.is_own(model)).collect();
        assert_eq!((listed.bundle_version, &own[..]), (3, &[true, false][..]));
        let stale = add(folder.path(), &added, &addition("late.onnx", None)).unwrap_err().to_string();
        assert!(stale.contains("was changed while") && !folder.path().join("late.onnx").exists(), "{stale}");
    }

    #[test]
    fn names_that_no_bundle_can_have_are_refused() {
        let refused = |name, made_from| addition(name, made_from).listed_in(&manifest()).unwrap_err().to_string();
        for name in ["", "../x.onnx", "a/b.onnx", ".x.onnx", "x.txt", "x\n.onnx"] {
            assert!(refused(name, None).contains("expected a plain file name"), "{name}");
        }
        assert!(refused("Model.onnx", None).contains("has a `model.onnx` already"));
        assert!(refused("x.onnx", Some("y.onnx")).contains("holds no `y.onnx`"));
    }
}
