//! What is verified: a model file in a runtime, the bundle's own or another of the same classes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::certificate::Skipped;
use crate::bundle::Bundle;
use crate::classify::check_classes;
use crate::engine::{self, Engine, EngineSpec};
use crate::error::{Error, Result};

/// One model file in one runtime, loaded.
pub struct Candidate {
    pub(super) file: String,
    pub(super) file_sha256: String,
    pub(super) data_files: BTreeMap<String, String>,
    pub(super) precision: String,
    pub(super) engine: Box<dyn Engine>,
}

impl Candidate {
    /// Name of the runtime.
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// Its version.
    pub fn version(&self) -> &str {
        self.engine.version()
    }

    /// The model file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Precision of its arithmetic.
    pub fn precision(&self) -> &str {
        &self.precision
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("file", &self.file)
            .field("engine", &self.engine.name())
            .finish_non_exhaustive()
    }
}

/// Loads every model of the bundle into each of the `wanted` runtimes, and into those of the `optional` ones that are
/// there; the others are returned with the reason.
///
/// # Errors
/// When a wanted runtime is not there, when a runtime that is there cannot load a model, or when no runtime is left.
pub fn candidates(
    bundle: &Bundle,
    wanted: &[EngineSpec],
    optional: &[EngineSpec],
) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
    let mut loaded = Vec::new();
    let mut skipped: Vec<Skipped> = Vec::new();
    for model in bundle.models() {
        let path = bundle.root().join(&model.file);
        let bytes = bundle.model_bytes(model)?;
        let file_sha256 = bundle.manifest().files.get(&model.file).map(|sha256| sha256.to_lowercase());
        for (spec, needed) in wanted.iter().map(|s| (s, true)).chain(optional.iter().map(|s| (s, false))) {
            match engine::open(spec, &bytes, &path) {
                Ok(engine) => {
                    check_classes(&path, engine.signature(), bundle)?;
                    loaded.push(Candidate {
                        file: model.file.clone(),
                        file_sha256: file_sha256.clone().unwrap_or_default(),
                        data_files: BTreeMap::new(),
                        precision: model.precision.clone(),
                        engine,
                    });
                }
                Err(Error::Unavailable { engine, problem }) if !needed => skip(&mut skipped, engine, problem),
                Err(error) => return Err(error),
            }
        }
    }
    if loaded.is_empty() {
        return Err(no_runtime(&skipped));
    }
    Ok((loaded, skipped))
}

/// The same of ONNX files that are not the bundle's, but of its classes in its order, and for its preprocessing. One of the
/// `optional` runtimes that cannot load a file is returned with the reason, as long as another can.
///
/// # Errors
/// As [`candidates`], and when a file is not of the bundle's classes or input.
pub fn foreign_candidates(
    bundle: &Bundle,
    models: &[PathBuf],
    wanted: &[EngineSpec],
    optional: &[EngineSpec],
) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
    let mut loaded = Vec::new();
    let mut skipped: Vec<Skipped> = Vec::new();
    for path in models {
        let (before, mut refused) = (loaded.len(), None);
        for (spec, needed) in wanted.iter().map(|s| (s, true)).chain(optional.iter().map(|s| (s, false))) {
            match open_foreign(bundle, path, spec) {
                Ok(candidate) => loaded.push(candidate),
                Err(Error::Unavailable { engine, problem }) if !needed => skip(&mut skipped, engine, problem),
                Err(Error::Engine { engine, problem }) if !needed => {
                    skip(&mut skipped, format!("{engine} on {}", path.display()), problem.clone());
                    refused = refused.or(Some(Error::Engine { engine, problem }));
                }
                Err(error) => return Err(error),
            }
        }
        if loaded.len() == before {
            return Err(refused.unwrap_or_else(|| no_runtime(&skipped)));
        }
    }
    Ok((loaded, skipped))
}

fn open_foreign(bundle: &Bundle, path: &Path, spec: &EngineSpec) -> Result<Candidate> {
    let input = bundle.card().network.input;
    let opened = engine::open_file(spec, path, Some(input))?;
    let signature = opened.engine.signature();
    check_classes(path, signature, bundle)?;
    if signature.input != input {
        let problem = format!("it takes images of {:?}, the bundle's preprocessing makes {input:?}", signature.input);
        return Err(Error::format(path, problem));
    }
    if let Some(labels) = opened.labels.filter(|labels| labels != bundle.labels()) {
        let problem = match attar_formats::classes::align(bundle.labels(), &labels) {
            Ok(_) => "its classes are the bundle's in another order".to_owned(),
            Err(problem) => format!("it is of other classes than the bundle: {problem}"),
        };
        return Err(Error::format(path, problem));
    }
    Ok(Candidate {
        file: path.display().to_string(),
        file_sha256: opened.sha256,
        data_files: opened.data_files,
        precision: opened.precision.to_owned(),
        engine: opened.engine,
    })
}

fn skip(skipped: &mut Vec<Skipped>, engine: String, reason: String) {
    let known = skipped.iter().any(|one| one.engine == engine);
    skipped.extend((!known).then_some(Skipped { engine, reason }));
}

fn no_runtime(skipped: &[Skipped]) -> Error {
    let reasons: Vec<String> = skipped.iter().map(|one| format!("\n  {}: {}", one.engine, one.reason)).collect();
    Error::Unavailable { engine: "any".to_owned(), problem: reasons.concat() }
}
