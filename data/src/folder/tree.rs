//! The splits of an image folder: which folders they are, opened with one list of classes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_formats::classes::composed;

use super::classes::{ClassFolder, class_folders, labelled};
use super::walk::{MAX_DEPTH, Walk};
use super::{Finding, Folder, LeftOut, Survey};
use crate::dataset::{Dataset, Splits};
use crate::error::{Error, Result};

/// Folders of a root that are splits wherever they are.
const USUAL: [&str; 3] = ["train", "val", "test"];

/// An image folder as a source describes it.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(crate) root: &'a Path,
    pub(crate) test: Option<&'a str>,
    pub(crate) classes: Option<&'a [String]>,
    pub(crate) allow_empty: &'a [String],
}

/// One split, read: its images with labels, and the classes that have none.
struct Part {
    images: Folder,
    empty: Vec<String>,
    findings: Vec<Finding>,
}

impl Tree<'_> {
    /// Opens what is learned from, what is judged by and, where it is named, the folder to choose by. Everything that is
    /// wrong is one error.
    pub(crate) fn open(&self, validation: Option<&str>) -> Result<Splits> {
        self.check_root()?;
        let train = self.split_directory("train")?;
        let (test, mut notes) = self.test_folder(validation)?;
        if validation == Some(test.as_str()) {
            let problem = format!("{test}/ cannot be chosen by and judged by at once");
            return Err(Error::format(self.root, format!("{problem}\n  hint: `test = \"...\"` names another folder")));
        }
        let (classes, mut findings) = self.learned_classes(&train, &mut notes)?;
        let names = std::iter::once("train").chain(std::iter::once(test.as_str())).chain(validation);
        let mut parts = Vec::new();
        for name in names {
            let mut part = self.part(name, &self.split_directory(name)?, &classes, "train does not have", &mut notes);
            findings.append(&mut part.findings);
            if name == "train" {
                findings.extend(self.not_allowed(&part.empty).map(|class| Finding {
                    name: format!("train/{class}"),
                    problem: "a class without an image".to_owned(),
                }));
            }
            parts.push(part.images);
        }
        let mut left_out = LeftOut::default();
        parts.iter().for_each(|part| left_out.extend(&part.left_out));
        notes.extend(left_out.note());
        self.refuse(&findings)?;
        let mut parts = parts.into_iter().map(|part| Arc::new(part) as Arc<dyn Dataset>);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(train), Some(test), validation) => Ok(Splits { train, test, validation, notes }),
            _ => Err(Error::format(self.root, "no splits")),
        }
    }

    /// Opens one split alone to judge by; its classes are those of `known`, or where that is empty those of `train`, or its own.
    pub(crate) fn open_judged(&self, split: Option<&str>, known: &[String]) -> Result<Folder> {
        self.check_root()?;
        let mut notes = Vec::new();
        let (name, directory) = self.judged_directory(split, known, &mut notes)?;
        let lacking = if known.is_empty() { "train does not have" } else { "is not one of those expected" };
        let (classes, mut findings) = if known.is_empty() {
            let train = self.root.join("train");
            self.learned_classes(if train.is_dir() { &train } else { &directory }, &mut notes)?
        } else {
            (known.to_vec(), Vec::new())
        };
        let mut part = self.part(&name, &directory, &classes, lacking, &mut notes);
        findings.append(&mut part.findings);
        self.refuse(&findings)?;
        notes.extend(part.images.left_out.note());
        let present = classes.len() - part.empty.len();
        if !known.is_empty() && present < classes.len() {
            notes.push(format!("{present} of {} classes have images here", classes.len()));
        }
        part.images.notes = notes;
        Ok(part.images)
    }

    /// All splits that there are, or `split` alone, and everything that is wrong.
    pub(crate) fn survey(&self, split: Option<&str>) -> Result<Survey> {
        self.check_root()?;
        let mut notes = Vec::new();
        let mut names: Vec<(String, PathBuf)> = match split {
            Some(name) => vec![(name.to_owned(), self.split_directory(name)?)],
            None => USUAL
                .into_iter()
                .chain(self.test.filter(|test| !USUAL.contains(test)))
                .map(|name| (name.to_owned(), self.root.join(name)))
                .filter(|(_, directory)| directory.is_dir())
                .collect(),
        };
        let mut findings = Vec::new();
        if names.is_empty() {
            // Folders of classes alone, as `verify` takes them.
            let (name, directory) = self.judged_directory(None, &[], &mut notes)?;
            names.push((name, directory));
        } else if split.is_none() && !self.root.join("train").is_dir() {
            notes.push("there is no folder train: nothing to learn from".to_owned());
        }
        let train = self.root.join("train");
        let of_classes = if train.is_dir() { &train } else { &names[0].1 };
        let (classes, mut wrong) = self.learned_classes(of_classes, &mut notes)?;
        findings.append(&mut wrong);
        let mut left_out = LeftOut::default();
        let mut splits = Vec::new();
        for (name, directory) in &names {
            let mut part = self.part(name, directory, &classes, "train does not have", &mut notes);
            findings.append(&mut part.findings);
            left_out.extend(&part.images.left_out);
            splits.push((name.clone(), Arc::new(part.images) as Arc<dyn Dataset>));
        }
        if split.is_none() && self.test.is_none() && ["test", "val"].iter().all(|name| self.root.join(name).is_dir()) {
            notes.push("test and val are both there: test judges".to_owned());
        }
        let allow_empty = self.allow_empty.to_vec();
        Ok(Survey { classes, splits, findings, allow_empty, notes, left_out })
    }

    fn check_root(&self) -> Result<()> {
        if !std::fs::metadata(self.root).map_err(|error| Error::io(self.root, error))?.is_dir() {
            return Err(Error::format(self.root, "not a directory\n  hint: unpack the archive first"));
        }
        Ok(())
    }

    fn split_directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.root.join(name);
        if !name.is_empty() && Path::new(name).file_name() == Some(name.as_ref()) && directory.is_dir() {
            return Ok(directory);
        }
        let found = self.folders()?;
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        Err(Error::format(
            self.root,
            format!(
                "no folder {name}; found {found}\n  hint: an image folder is train/CLASS/... and val/CLASS/... or test/CLASS/..."
            ),
        ))
    }

    /// What lies in the root, by name.
    fn folders(&self) -> Result<Vec<String>> {
        let paths = Walk::default().entries(self.root).map_err(|error| Error::io(self.root, error))?;
        Ok(paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    /// The folder that judges, and what is to be said of the choice.
    fn test_folder(&self, validation: Option<&str>) -> Result<(String, Vec<String>)> {
        if let Some(name) = self.test {
            return Ok((name.to_owned(), Vec::new()));
        }
        match (self.root.join("test").is_dir(), self.root.join("val").is_dir()) {
            (true, true) if validation != Some("val") => {
                let hold_out = if validation.is_some() {
                    String::new()
                } else {
                    "; `validation = { folder = \"val\" }` in a recipe chooses by val".to_owned()
                };
                Ok(("test".to_owned(), vec![format!("test and val are both there: test judges{hold_out}")]))
            }
            (true, _) => Ok(("test".to_owned(), Vec::new())),
            _ => Ok(("val".to_owned(), Vec::new())),
        }
    }

    /// Where the images to judge by are: a split, or the root itself where its folders are the classes.
    fn judged_directory(
        &self,
        split: Option<&str>,
        known: &[String],
        notes: &mut Vec<String>,
    ) -> Result<(String, PathBuf)> {
        if let Some(name) = split {
            return Ok((name.to_owned(), self.split_directory(name)?));
        }
        let folders = class_folders(self.root, &mut Walk::default(), &mut Vec::new());
        let is_known = |folder: &ClassFolder| known.iter().any(|name| composed(name) == composed(&folder.name));
        let has_splits = USUAL.into_iter().chain(self.test).any(|name| self.root.join(name).is_dir());
        let of_classes = !folders.is_empty() && folders.iter().all(is_known);
        if of_classes || (!has_splits && !folders.is_empty()) {
            notes.push("no split folders: the folders are taken as classes".to_owned());
            return Ok(("images".to_owned(), self.root.to_owned()));
        }
        let (name, more) = self.test_folder(None)?;
        notes.extend(
            more.iter().map(|_| "test and val are both there: test judges (--split val takes the other)".to_owned()),
        );
        if !self.root.join(&name).is_dir() && self.root.join("train").is_dir() {
            let problem = "neither test nor val is there\n  hint: `--split train` takes the training images";
            return Err(Error::format(self.root, problem));
        }
        let directory = self.split_directory(&name)?;
        Ok((name, directory))
    }

    /// The classes in the order of their labels: as stated, or the folders of `directory` by letters.
    fn learned_classes(&self, directory: &Path, notes: &mut Vec<String>) -> Result<(Vec<String>, Vec<Finding>)> {
        let mut walk = Walk::default();
        let folders = class_folders(directory, &mut walk, &mut Vec::new());
        if folders.is_empty() && walk.findings.is_empty() {
            return Err(Error::format(directory, "no class folders; expected train/CLASS/*.png, .jpg or .webp"));
        }
        let classes = match self.classes {
            Some(stated) => stated.to_vec(),
            None => folders.iter().map(|folder| folder.name.clone()).collect(),
        };
        let mut findings = Vec::new();
        let mut find = |name: &str, problem: &str| {
            findings.push(Finding { name: name.to_owned(), problem: problem.to_owned() });
        };
        if self.classes.is_some() {
            let (known, unknown) = labelled(folders, &classes, "classes", notes);
            unknown.iter().for_each(|folder| find(&folder.name, "a class folder that `classes` does not name"));
            let lacking = classes.iter().zip(0..).filter(|(_, label)| !known.contains_key(label));
            let lacking = lacking.filter(|(class, _)| !self.allow_empty.contains(class));
            lacking.for_each(|(class, _)| find(class, "named in `classes`, but there is no such folder"));
        }
        let strange = self.allow_empty.iter().filter(|class| !classes.contains(class));
        strange.for_each(|class| find(class, "named in `allow_empty`, but there is no such class"));
        Ok((classes, findings))
    }

    /// Reads one split.
    fn part(&self, name: &str, directory: &Path, classes: &[String], lacking: &str, notes: &mut Vec<String>) -> Part {
        let mut walk = Walk::default();
        let folders = class_folders(directory, &mut walk, notes);
        let (known, unknown) = labelled(folders, classes, name, notes);
        let is_listed = self.classes.is_some() && name == "train";
        for folder in unknown.iter().filter(|_| !is_listed) {
            walk.find(&folder.path, format!("a class that {lacking}"));
        }
        let mut files = Vec::new();
        let mut empty = Vec::new();
        for (class, label) in classes.iter().zip(0..) {
            if let Some(folder) = known.get(&label) {
                walk.collect(&folder.path, MAX_DEPTH);
            }
            if walk.images.is_empty() {
                empty.push(class.clone());
            }
            files.extend(walk.images.drain(..).map(|path| (path, label)));
        }
        if files.is_empty() && walk.findings.is_empty() {
            walk.find(directory, "no PNG, JPEG or WebP files in its class folders".to_owned());
        }
        let findings = walk.findings_below(self.root);
        let images = Folder {
            root: self.root.to_owned(),
            files,
            classes: classes.to_vec(),
            notes: Vec::new(),
            left_out: walk.left_out,
        };
        Part { images, empty, findings }
    }

    fn not_allowed(&self, empty: &[String]) -> impl Iterator<Item = String> {
        empty.iter().filter(|class| !self.allow_empty.contains(class)).cloned().collect::<Vec<_>>().into_iter()
    }

    /// All findings as one error.
    fn refuse(&self, findings: &[Finding]) -> Result<()> {
        let hint = match findings.first() {
            None => return Ok(()),
            Some(found) if found.problem.contains("are read") || found.problem.contains("begins like") => {
                "convert or rename such files, or move them away"
            }
            Some(found) if found.problem.contains("without an image") => {
                "remove the folder, or name it in the source's `allow_empty = [...]`"
            }
            _ => "`attar data check` looks at every file",
        };
        let problem = match findings {
            [found] => {
                return Err(Error::format(&self.root.join(&found.name), format!("{}\n  hint: {hint}", found.problem)));
            }
            all => format!("{} things are wrong:{}\n  hint: {hint}", all.len(), Finding::list(all)),
        };
        Err(Error::format(self.root, problem))
    }
}
