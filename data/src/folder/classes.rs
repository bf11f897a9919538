//! The class folders of a split: their names as they are meant, and which labels they get.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attar_formats::classes::composed;

use super::walk::Walk;

/// A folder of one class.
#[derive(Debug, Clone)]
pub(super) struct ClassFolder {
    pub(super) path: PathBuf,
    /// The folder's name, without blanks and carriage returns around it.
    pub(super) name: String,
}

/// The class folders in `directory`, by letters. Two folders of one class are a finding.
pub(super) fn class_folders(directory: &Path, walk: &mut Walk, notes: &mut Vec<String>) -> Vec<ClassFolder> {
    let paths = match walk.entries(directory) {
        Ok(paths) => paths,
        Err(error) => {
            walk.find(directory, error.to_string());
            return Vec::new();
        }
    };
    let mut folders: Vec<ClassFolder> = Vec::new();
    let mut seen = BTreeMap::new();
    for path in paths {
        if !path.is_dir() {
            walk.left_out.add("beside the class folders");
            continue;
        }
        let Some(raw) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            walk.find(&path, "a class name that is not UTF-8".to_owned());
            continue;
        };
        let name = clean(&raw).to_owned();
        if name != raw {
            notes
                .push(format!("the folder {raw:?} has blanks or a carriage return around its name: taken as `{name}`"));
        }
        match seen.insert(composed(&name), raw.clone()) {
            Some(other) => walk.find(&path, format!("a second folder of the class `{name}`, beside {other:?}")),
            None if name.is_empty() => walk.find(&path, "a class name of blanks".to_owned()),
            None => folders.push(ClassFolder { path, name }),
        }
    }
    folders
}

/// A name as it is meant: without a byte order mark, and without blanks and carriage returns around it.
pub(crate) fn clean(name: &str) -> &str {
    name.trim_start_matches('\u{feff}').trim()
}

/// Gives the folders of a split their labels by name. Those of no class are given back.
pub(super) fn labelled(
    folders: Vec<ClassFolder>,
    classes: &[String],
    split: &str,
    notes: &mut Vec<String>,
) -> (BTreeMap<u32, ClassFolder>, Vec<ClassFolder>) {
    let places: BTreeMap<String, u32> = classes.iter().map(|name| composed(name)).zip(0..).collect();
    let (mut known, mut unknown) = (BTreeMap::new(), Vec::new());
    let mut other_form = 0;
    for folder in folders {
        match places.get(&composed(&folder.name)) {
            Some(label) => {
                other_form += usize::from(classes[*label as usize] != folder.name);
                known.insert(*label, folder);
            }
            None => unknown.push(folder),
        }
    }
    if other_form > 0 {
        notes.push(format!(
            "{split}: {other_form} class names are in another Unicode form (NFC against NFD): taken as equal"
        ));
    }
    (known, unknown)
}
