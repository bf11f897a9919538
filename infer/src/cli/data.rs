//! Labelled images on the command line: `KIND:PATH`, the same kinds as in recipes, and which split of them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use attar_data::{Dataset, Source};

use super::say;

/// Labelled images to use.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DataArgs {
    /// Labelled images: `idx:DIR`, `cifar10:PATH`, `cifar100:PATH` or `image-folder:DIR`; its test split is used. Of an image
    /// folder `DIR/test` or `DIR/val` is enough, and so are images of known classes alone, `DIR/CLASS/*`.
    #[arg(long, value_name = "KIND:PATH", value_parser = source)]
    pub data: Option<Source>,
    /// Use this split: `train`, `test`, `val` or any other folder of an image folder.
    #[arg(long, value_name = "NAME", requires = "data")]
    pub split: Option<String>,
    /// The same as `--split train`.
    #[arg(long, requires = "data", conflicts_with = "split", hide = true)]
    pub train_split: bool,
}

impl DataArgs {
    /// Opens what was named.
    ///
    /// # Errors
    /// As [`Source::open_judged`], and when there is no image.
    pub fn open(&self) -> Result<Option<Arc<dyn Dataset>>> {
        self.open_for(&[])
    }

    /// Opens what was named for somebody who knows these classes: labels count in them, found by name. What was put right or
    /// chosen is said on stderr. Without `known` the classes are those of the data.
    ///
    /// # Errors
    /// As [`Source::open_judged`], and when there is no image.
    pub fn open_for(&self, known: &[String]) -> Result<Option<Arc<dyn Dataset>>> {
        let Some(source) = &self.data else { return Ok(None) };
        let split = if self.train_split { Some("train") } else { self.split.as_deref() };
        let chosen = source.open_judged(split, known)?;
        if chosen.is_empty() {
            bail!("{} holds no images", source.root().display());
        }
        chosen.notes().iter().for_each(say);
        Ok(Some(chosen))
    }
}

/// Reads `KIND:PATH`.
///
/// # Errors
/// In words for people, with the nearest kind.
pub fn source(text: &str) -> Result<Source, String> {
    let kinds = ["idx", "cifar10", "cifar100", "image-folder"];
    let Some((kind, path)) = text.split_once(':') else {
        return Err(format!("expected KIND:PATH with KIND one of {}", kinds.join(", ")));
    };
    let root = PathBuf::from(path);
    match kind {
        "idx" => Ok(Source::Idx { root, classes: None }),
        "cifar10" => Ok(Source::Cifar10 { root }),
        "cifar100" => Ok(Source::Cifar100 { root }),
        "image-folder" => Ok(Source::image_folder(root)),
        _ => Err(attar_models::Error::unknown("kind of data", kind, &kinds).to_string()),
    }
}
