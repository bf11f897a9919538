//! The weights that a student starts from: where they lie, which of them are meant, and in which order its classes stand.

use std::path::{Path, PathBuf};

use attar_exec::Params;
use attar_formats::bundle;
use attar_formats::checkpoint;
use attar_formats::classes::align;
use attar_formats::hash::file_sha256;
use attar_formats::rename::{self, Fitted, Head};
use attar_formats::run;
use attar_formats::run::file;
use attar_formats::{Card, files, read};
use attar_models::Graph;
use candle_core::Device;

use super::fail;
use crate::error::{Error, Result};
use crate::recipe::{Recipe, StartHead, StudentSource, Which};

/// Where a student starts.
pub(super) struct Start {
    pub(super) params: Params,
    /// sha256 of the file of weights, where there is one.
    pub(super) sha256: Option<String>,
    /// What people should know of it.
    pub(super) notes: Vec<String>,
}

impl Start {
    /// Random, or what `student.from` names.
    pub(super) fn of(recipe: &Recipe, student: &Graph, classes: &[String], device: &Device) -> Result<Self> {
        let Some(from) = &recipe.student.from else {
            let params = Params::init(student, recipe.seed, "", device)?;
            return Ok(Self { params, sha256: None, notes: Vec::new() });
        };
        let (file, card) = locate(from)?;
        let mut notes = Vec::new();
        let head = match (from.head(), card) {
            (StartHead::New, _) => Head::New,
            (StartHead::Given, Some((card, labels))) => by_name(classes, &labels, &card, &mut notes)?,
            (StartHead::Given, None) => Head::Given,
        };
        let Fitted { mut weights, fresh, notes: said } = weights(student, &file, from.key(), &head)?;
        notes.extend(said);
        if !fresh.is_empty() {
            let mut anew = Params::init(student, recipe.seed, "", device)?;
            anew.retain(|name| fresh.iter().any(|own| own == name));
            weights.0.extend(anew.to_weights()?.0);
            notes.push(format!("{} start anew", fresh.join(" and ")));
        }
        let notes = notes.into_iter().map(|note| format!("student.from: {note}")).collect();
        let params = Params::from_weights(student, &weights, device)?;
        Ok(Self { params, sha256: Some(file_sha256(&file)?), notes })
    }
}

/// The weights of a file under the names of `graph`.
pub(super) fn weights(graph: &Graph, file: &Path, key: Option<&str>, head: &Head) -> Result<Fitted> {
    let read::Loaded { weights, note, .. } = read::keyed(file, key)?;
    let mut fitted = rename::fit_head(graph, weights, head).map_err(|error| match error {
        attar_models::Error::Mismatch { network, problem } => {
            let taken = note.as_ref().map(|note| format!("\n  note: {note}")).unwrap_or_default();
            let problem = format!("{problem}{taken}\n  in {}", file.display());
            attar_models::Error::Mismatch { network, problem }
        }
        other => other,
    })?;
    fitted.notes.splice(0..0, note);
    Ok(fitted)
}

/// The head's rows in the order of the data's classes.
fn by_name(classes: &[String], labels: &[String], card: &Path, notes: &mut Vec<String>) -> Result<Head> {
    if labels.is_empty() {
        return Ok(Head::Given);
    }
    let aligned = align(classes, labels).map_err(|problem| {
        let problem = format!(
            "the weights are of other classes, by {}: {problem}\n  hint: to fine-tune, let the last layer start anew: \
             student.from = {{ kind = \"weights\", path = \"...\", head = \"new\" }}",
            card.display()
        );
        fail("student.from", problem)
    })?;
    let is_same = aligned.is_identity();
    notes.extend(aligned.note);
    Ok(if is_same { Head::Given } else { Head::Rows { columns: aligned.columns, of: aligned.of } })
}

/// A card and the classes that it names.
type Labels = (PathBuf, Vec<String>);

/// The file of weights, and the classes of the card that goes with it.
fn locate(from: &StudentSource) -> Result<(PathBuf, Option<Labels>)> {
    match from {
        StudentSource::Run { path, checkpoint, .. } => {
            in_run(path, *checkpoint)?.ok_or_else(|| nothing(path, file::CARD))
        }
        StudentSource::Bundle { path, .. } => in_bundle(path)?.ok_or_else(|| nothing(path, bundle::file::CONFIG)),
        StudentSource::Weights { path, .. } if !path.is_dir() => Ok((path.clone(), card_of(path))),
        StudentSource::Weights { path, .. } => match (in_run(path, None)?, in_bundle(path)?) {
            (Some(found), _) | (None, Some(found)) => Ok(found),
            (None, None) => Err(nothing(path, "card.json and no config.json")),
        },
    }
}

/// The weights of a run, of the checkpoint that its card describes if none is named.
fn in_run(path: &Path, checkpoint: Option<Which>) -> Result<Option<(PathBuf, Option<Labels>)>> {
    let Some((beside, card)) = card_in(path, file::CARD)? else { return Ok(None) };
    let last = card.provenance.checkpoint.as_deref().is_some_and(|which| which.starts_with("last"));
    let which = checkpoint.unwrap_or(if last { Which::Last } else { Which::Best });
    Ok(Some((run::model(path, which.as_str()), Some((beside, card.labels)))))
}

fn in_bundle(path: &Path) -> Result<Option<(PathBuf, Option<Labels>)>> {
    let found = card_in(path, bundle::file::CONFIG)?;
    Ok(found.map(|(beside, card)| (path.join(bundle::file::WEIGHTS), Some((beside, card.labels)))))
}

fn card_in(path: &Path, name: &str) -> Result<Option<(PathBuf, Card)>> {
    let beside = path.join(name);
    if !beside.is_file() {
        return Ok(None);
    }
    let text =
        files::read_text(&beside, files::MOST_TEXT).map_err(|source| Error::Io { path: beside.clone(), source })?;
    let card = Card::from_json(&text, &beside)?;
    Ok(Some((beside, card)))
}

/// A directory that is neither a run nor a bundle, or not the one that was said.
fn nothing(path: &Path, missing: &str) -> Error {
    let last = run::model(path, run::LAST);
    let hint = if last.is_file() {
        format!("the run is not finished; its last weights are {}", last.display())
    } else {
        "name a file of weights, a finished run or a bundle".to_owned()
    };
    fail("student.from", format!("{} has no {missing}\n  hint: {hint}", path.display()))
}

/// The classes of a `model.safetensors` of ours, by the card of its bundle or run. Another program's `config.json` beside it
/// is none.
fn card_of(file: &Path) -> Option<Labels> {
    if file.file_name()? != checkpoint::file::MODEL {
        return None;
    }
    let folder = file.parent()?;
    let run = folder.parent().filter(|above| above.ends_with(file::CHECKPOINTS)).and_then(Path::parent);
    let places =
        [Some(folder.join(bundle::file::CONFIG)), Some(folder.join(file::CARD)), run.map(|run| run.join(file::CARD))];
    places.into_iter().flatten().find_map(|place| {
        let text = files::read_text(&place, files::MOST_TEXT).ok()?;
        let card = Card::from_json(&text, &place).ok()?;
        Some((place, card.labels))
    })
}
