//! What may lie in a run directory, and whether a run may begin in one.

use std::path::Path;

use attar_formats::run::file;
use attar_formats::write;

use super::state_file::RunState;
use crate::checkpoint::Store;
use crate::error::{Error, Result};

/// What a run writes before its first checkpoint. A directory of nothing else holds no work.
const BEFORE: [&str; 7] =
    [file::LOCK, file::STATUS, file::RECIPE, file::GRAPH, file::METRICS, file::EVENTS, file::CHECKPOINTS];

/// What there is only after one.
const AFTER: [&str; 4] = [file::CARD, file::RECEIPT, file::REFERENCE, file::REPORT];

/// Whether the run in `directory` has a checkpoint to go on from.
pub fn has_checkpoint(directory: &Path) -> bool {
    Store::holds_checkpoint(&directory.join(file::CHECKPOINTS))
}

/// Whether a new run may begin in `directory`: there is nothing, or a run of ours that never came to a checkpoint.
///
/// # Errors
/// A run with a checkpoint; files that no run has written, by name.
pub fn free(directory: &Path) -> Result<()> {
    let fail = |problem: String| Err(Error::Format { path: directory.to_owned(), problem });
    let Ok(entries) = std::fs::read_dir(directory) else {
        return match directory.exists() {
            true => fail("is no directory\n  hint: choose another name with --out".to_owned()),
            false => Ok(()),
        };
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let has = |name: &str| names.iter().any(|found| found == name);
    // The lock comes first; runs of before have none. Other names alone may be anybody's.
    let is_run = has(file::LOCK) || (has(file::RECIPE) && has(file::EVENTS));
    if is_run && has_checkpoint(directory) {
        let state = match RunState::of(directory)? {
            Some(RunState::Finished) => "finished".to_owned(),
            Some(RunState::Failed { reason }) => format!("that failed: {reason}"),
            Some(RunState::Running) => "that is under way".to_owned(),
            _ => "that was interrupted".to_owned(),
        };
        return fail(format!(
            "exists already, with the checkpoint of a run {state}\n  hint: go on with --resume, or choose another name with --out"
        ));
    }
    // What a kill leaves of a file under way; `.new` was its ending before.
    let unfinished = |name: &str| write::meant(name).or(name.strip_suffix(".new")).map(str::to_owned);
    let ours = |name: &String| match is_run {
        true => BEFORE.contains(&unfinished(name).as_deref().unwrap_or(name)),
        false => unfinished(name).as_deref() == Some(file::RECIPE),
    };
    let foreign: Vec<&str> = names.iter().filter(|name| !ours(name)).map(String::as_str).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    if let Some(left) = foreign.iter().find(|name| is_run && AFTER.contains(name)) {
        return fail(format!(
            "exists already, with what a run has left ({left}) and without its checkpoints\n  hint: choose another name with --out"
        ));
    }
    let more = foreign.len().saturating_sub(5);
    let named = foreign.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    fail(format!(
        "exists already, and holds what no run has written: {named}{more}\n  hint: choose another name with --out; nothing that is not a run's is overwritten"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_no_work_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let put = |name: &str| {
            let path = run.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        let message = || free(&run).unwrap_err().to_string();
        free(&run).unwrap();
        put("recipe.toml.new");
        free(&run).unwrap();
        put("recipe.toml"); // perhaps a person's
        assert!(message().contains("recipe.toml"), "{}", message());
        put(file::LOCK);
        put("checkpoints/last.new/model.safetensors");
        put("checkpoints/best/model.safetensors");
        free(&run).unwrap();
        put("notes.txt");
        assert!(message().contains("no run has written: notes.txt"), "{}", message());
        std::fs::remove_file(run.join("notes.txt")).unwrap();
        put("receipt.json");
        assert!(message().contains("receipt.json") && message().contains("--out"), "{}", message());
        put("checkpoints/last.old/state.json");
        assert!(message().contains("--resume"), "{}", message());
        assert!(has_checkpoint(&run));
        put("file");
        assert!(free(&run.join("file")).unwrap_err().to_string().contains("no directory"));
    }
}
