//! Where images come from, as a recipe and the command line say it, and the ways in which a source is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attar_formats::classes;
use serde::{Deserialize, Serialize};

use crate::aligned::Aligned;
use crate::dataset::{Dataset, Splits};
use crate::error::{Error, Result};
use crate::folder::{self, Survey, Tree};
use crate::{cifar, idx};

/// Where images come from, as a recipe says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// MNIST's format: `{train,t10k}-images-idx3-ubyte` and `-labels-idx1-ubyte`, plain or `.gz`.
    Idx {
        /// Directory (or `.tar.gz`) of the four files.
        root: PathBuf,
        /// Class names. Without them: `labels.txt` in the directory, one name a line; else the digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        classes: Option<Vec<String>>,
    },
    /// CIFAR-10, the binary version or the one for Python.
    Cifar10 {
        /// Directory of the files, its parent, or the official `.tar.gz`.
        root: PathBuf,
    },
    /// CIFAR-100, the binary version or the one for Python, fine labels.
    Cifar100 {
        /// Directory of the files, its parent, or the official `.tar.gz`.
        root: PathBuf,
    },
    /// `train/CLASS/...` and `val/CLASS/...` or `test/CLASS/...` with PNG, JPEG or WebP files.
    ImageFolder {
        /// Directory of the splits.
        root: PathBuf,
        /// Folder of the test split; by default `test`, or `val` where there is no `test`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<String>,
        /// The classes in the order of their labels; by default the folders of `train`, by letters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        classes: Option<Vec<String>>,
        /// Classes that may be without an image in `train`; any other such class is an error.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allow_empty: Vec<String>,
    },
    /// A data set of a program that trains with it; no recipe can open it.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Given {
        /// What the program calls it.
        what: String,
    },
}

impl Source {
    /// An image folder with nothing else said about it.
    pub fn image_folder(root: impl Into<PathBuf>) -> Self {
        Self::ImageFolder { root: root.into(), test: None, classes: None, allow_empty: Vec::new() }
    }

    /// Opens what is learned from and what is judged by.
    ///
    /// # Errors
    /// When a file is missing, truncated or not what its name promises; for an image folder everything that is wrong with it,
    /// in one list.
    pub fn open(&self) -> Result<Splits> {
        self.open_with(None)
    }

    /// As [`open`](Self::open), with the folder `validation` of an image folder as images to choose by.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where there is no such folder.
    pub fn open_with(&self, validation: Option<&str>) -> Result<Splits> {
        if let (Some(name), false) = (validation, matches!(self, Self::ImageFolder { .. })) {
            let problem = format!("the folder `{name}`, but only an image folder has folders; say a share, e.g. 0.1");
            return Err(Error::setting("validation", problem));
        }
        match self {
            Self::Idx { root, classes } => idx::open(root, classes.as_deref()),
            Self::Cifar10 { root } => cifar::open_10(root),
            Self::Cifar100 { root } => cifar::open_100(root),
            Self::ImageFolder { .. } => self.tree().open(validation),
            Self::Given { what } => Err(given(what)),
        }
    }

    /// Opens the images that something is judged by, and no others: the split of this name, or without a name the test split.
    /// An image folder needs no `train` for it, and none at all where its own folders are classes (`CLASS/*`).
    ///
    /// Where `known` is not empty it is what the labels count in: classes are found in it by their names, and
    /// [`classes`](Dataset::classes) of the answer is `known`. What was put right is said in [`notes`](Dataset::notes).
    ///
    /// # Errors
    /// As [`open`](Self::open); when there is no such split; a class that `known` does not have.
    pub fn open_judged(&self, split: Option<&str>, known: &[String]) -> Result<Arc<dyn Dataset>> {
        let chosen = match self {
            Self::ImageFolder { .. } => return Ok(Arc::new(self.tree().open_judged(split, known)?)),
            Self::Idx { root, classes } => {
                let learned = self.is_train(split)?;
                // The files hold numbers; without names of their own they are the positions that the network was taught.
                let unnamed = classes.is_none() && !known.is_empty() && !idx::names_classes(root)?;
                let classes = if unnamed { Some(known) } else { classes.as_deref() };
                let images: Arc<dyn Dataset> = Arc::new(idx::open_split(root, classes, learned)?);
                if unnamed {
                    let note = "the files name no classes: their labels are taken as positions".to_owned();
                    return Ok(Arc::new(Aligned::noted(images, vec![note])));
                }
                images
            }
            Self::Given { what } => return Err(given(what)),
            Self::Cifar10 { .. } | Self::Cifar100 { .. } => {
                let learned = self.is_train(split)?;
                let splits = self.open()?;
                if learned { splits.train } else { splits.test }
            }
        };
        if known.is_empty() {
            return Ok(chosen);
        }
        let alignment = classes::align(chosen.classes(), known)
            .map_err(|problem| Error::format(self.root(), format!("other classes than those expected: {problem}")))?;
        Ok(Arc::new(Aligned::new(chosen, &alignment.columns, known, alignment.note)))
    }

    /// Opens what there is and collects what is wrong instead of stopping at it; `split` looks at one split alone.
    ///
    /// # Errors
    /// When nothing can be opened at all.
    pub fn survey(&self, split: Option<&str>) -> Result<Survey> {
        if let Self::ImageFolder { .. } = self {
            return self.tree().survey(split);
        }
        let chosen = split.map(|_| self.is_train(split)).transpose()?;
        let Splits { train, test, notes, .. } = self.open()?;
        let classes = train.classes().to_vec();
        let named = [("train", train, true), ("test", test, false)].into_iter();
        let kept = named.filter(|(_, _, learned)| chosen.is_none_or(|chosen| chosen == *learned));
        let splits = kept.map(|(name, images, _)| (name.to_owned(), images)).collect();
        Ok(Survey { classes, splits, notes, ..Survey::default() })
    }

    /// Whether `split` is the one to learn from, of sources that have two.
    fn is_train(&self, split: Option<&str>) -> Result<bool> {
        match split {
            None | Some("test") => Ok(false),
            Some("train") => Ok(true),
            Some(other) => Err(Error::format(self.root(), format!("no split {other}; there are train and test"))),
        }
    }

    fn tree(&self) -> Tree<'_> {
        match self {
            Self::ImageFolder { root, test, classes, allow_empty } => folder::Tree {
                root,
                test: test.as_deref(),
                classes: classes.as_deref(),
                allow_empty: allow_empty.as_slice(),
            },
            other => Tree { root: other.root(), test: None, classes: None, allow_empty: &[] },
        }
    }

    /// The directory or archive.
    pub fn root(&self) -> &Path {
        match self {
            Self::Idx { root, .. }
            | Self::Cifar10 { root }
            | Self::Cifar100 { root }
            | Self::ImageFolder { root, .. } => root,
            Self::Given { what } => Path::new(what),
        }
    }

    /// The same source with a relative root taken from `base`, e.g. the recipe's directory.
    #[must_use]
    pub fn relative_to(mut self, base: &Path) -> Self {
        match &mut self {
            Self::Idx { root, .. }
            | Self::Cifar10 { root }
            | Self::Cifar100 { root }
            | Self::ImageFolder { root, .. } => *root = base.join(&*root),
            Self::Given { .. } => {}
        }
        self
    }
}

/// A data set that only its program has.
fn given(what: &str) -> Error {
    let problem = format!("`{what}` is a data set of the program that made this run\n  hint: only that program has it");
    Error::setting("source", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_reads_as_a_recipe_writes_it() {
        let source: Source = toml::from_str("kind = 'image-folder'\nroot = 'pets'").unwrap();
        assert_eq!(source, Source::image_folder("pets"));
        assert_eq!(toml::to_string(&source).unwrap(), "kind = \"image-folder\"\nroot = \"pets\"\n");
        assert_eq!(source.clone().relative_to(Path::new("/data")).root(), Path::new("/data/pets"));
        assert_eq!(source.relative_to(Path::new("a")).root(), Path::new("a/pets"));
        let source: Source = toml::from_str("kind = 'idx'\nroot = '/x'\nclasses = ['a', 'b']").unwrap();
        assert_eq!(toml::from_str::<Source>(&toml::to_string(&source).unwrap()).unwrap(), source);
        let error = toml::from_str::<Source>("kind = 'cifar11'\nroot = 'x'").unwrap_err().to_string();
        assert!(error.contains("cifar10") && error.contains("image-folder"), "{error}");
        let error = toml::from_str::<Source>("kind = 'cifar10'\nroute = 'x'\nroot = 'x'").unwrap_err().to_string();
        assert!(error.contains("unknown field `route`"), "{error}");
    }
}
