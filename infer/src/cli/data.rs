//! Labelled images on the command line: `KIND:PATH`, the same kinds as in recipes.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use attar_data::{Dataset, Source};

/// Labelled images to use.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DataArgs {
    /// Labelled images: `idx:DIR`, `cifar10:PATH`, `cifar100:PATH` or `image-folder:DIR`; its test split is used.
    #[arg(long, value_name = "KIND:PATH", value_parser = source)]
    pub data: Option<Source>,
    /// Use the training split instead (of a data set that has no other).
    #[arg(long, requires = "data")]
    pub train_split: bool,
}

impl DataArgs {
    /// Opens what was named.
    ///
    /// # Errors
    /// As [`Source::open`], and when there is no image.
    pub fn open(&self) -> Result<Option<Arc<dyn Dataset>>> {
        let Some(source) = &self.data else { return Ok(None) };
        let splits = source.open()?;
        let chosen = if self.train_split { splits.train } else { splits.test };
        if chosen.is_empty() {
            bail!("{} holds no images", source.root().display());
        }
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
        "image-folder" => Ok(Source::ImageFolder { root, test: None }),
        _ => Err(attar_models::Error::unknown("kind of data", kind, &kinds).to_string()),
    }
}
