//! A look at every image before anything is done with them: sizes, hashes, and what is wrong, with a cache between runs.

mod cache;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use attar_pixels::{Image, check_whole, decode};
use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::folder::LeftOut;

pub use cache::{Cache, cache_folder};

/// What was seen of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: u8,
    /// [`Image::sha256`].
    pub sha256: [u8; 32],
}

/// A data set, image by image.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// What was seen of each image, or what is wrong with it.
    pub images: Vec<std::result::Result<Seen, String>>,
    /// How many of them were known from a scan before.
    pub read_from_cache: usize,
}

/// Looks at all images of some data sets, in parallel. `tick` is called now and then with the number of images done and
/// their number in all, from any thread.
pub fn scan(datasets: &[&dyn Dataset], cache: Option<&Cache>, tick: &(dyn Fn(usize, usize) + Sync)) -> Vec<Scan> {
    let of = datasets.iter().map(|dataset| dataset.len()).sum::<usize>();
    let every = (of / 200).max(1);
    let (done, read_from_cache) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let look = |dataset: &dyn Dataset, index: usize| {
        let seen = match (cache, dataset.file(index)) {
            (Some(cache), Some(file)) => cache.seen(file, || look_at(dataset, index)).map(|(seen, known)| {
                read_from_cache.fetch_add(usize::from(known), Ordering::Relaxed);
                seen
            }),
            _ => look_at(dataset, index),
        };
        let now = done.fetch_add(1, Ordering::Relaxed) + 1;
        if now.is_multiple_of(every) || now == of {
            tick(now, of);
        }
        seen
    };
    let scan = |dataset: &&dyn Dataset| Scan {
        images: (0..dataset.len()).into_par_iter().map(|index| look(*dataset, index)).collect(),
        read_from_cache: read_from_cache.swap(0, Ordering::Relaxed),
    };
    let scans = datasets.iter().map(scan).collect();
    if let Some(cache) = cache {
        cache.write();
    }
    scans
}

/// Decodes an image. That of a file is also asked whether it is all there, which decoding alone does not tell.
fn look_at(dataset: &dyn Dataset, index: usize) -> std::result::Result<Seen, String> {
    let image = match dataset.file(index) {
        Some(file) => dataset.encoded(index).and_then(|bytes| {
            let image = decode(&bytes, file)?;
            check_whole(&bytes, file, &image)?;
            Ok(image)
        }),
        None => dataset.image(index),
    };
    image.map(|image| Seen::of(&image)).map_err(|error| error.problem())
}

impl Seen {
    fn of(image: &Image) -> Self {
        Self { height: image.height(), width: image.width(), channels: image.channels(), sha256: image.sha256() }
    }
}

/// A data set whose hashes are known.
pub struct Hashed {
    of: Arc<dyn Dataset>,
    hashes: Vec<[u8; 32]>,
}

impl Hashed {
    /// With the hashes of a scan of `of`; an error names what is wrong with its images.
    ///
    /// # Errors
    /// [`Error::Setting`] when an image could not be looked at.
    pub fn new(of: Arc<dyn Dataset>, scan: &Scan) -> Result<Self> {
        let hash = |seen: &std::result::Result<Seen, String>| match seen {
            Ok(seen) => Ok(seen.sha256),
            Err(problem) => Err(Error::setting("data set", problem.clone())),
        };
        let hashes = scan.images.iter().map(hash).collect::<Result<Vec<_>>>()?;
        Ok(Self { of, hashes })
    }
}

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hashed").field("images", &self.hashes.len()).finish_non_exhaustive()
    }
}

impl Dataset for Hashed {
    fn len(&self) -> usize {
        self.of.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.of.label(index)
    }

    fn image(&self, index: usize) -> Result<Image> {
        self.of.image(index)
    }

    fn encoded(&self, index: usize) -> Result<Vec<u8>> {
        self.of.encoded(index)
    }

    fn classes(&self) -> &[String] {
        self.of.classes()
    }

    fn name(&self, index: usize) -> String {
        self.of.name(index)
    }

    fn sha256(&self, index: usize) -> Result<[u8; 32]> {
        match self.hashes.get(index) {
            Some(hash) => Ok(*hash),
            None => self.of.sha256(index),
        }
    }

    fn file(&self, index: usize) -> Option<&Path> {
        self.of.file(index)
    }

    fn notes(&self) -> &[String] {
        self.of.notes()
    }

    fn left_out(&self) -> LeftOut {
        self.of.left_out()
    }
}

#[cfg(test)]
mod tests;
