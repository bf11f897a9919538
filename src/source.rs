//! Labelled images on the command line: the options that `attar-infer` has, too, and whether their hashes are kept.

use attar_data::{Cache, Source, cache_folder};
use attar_distill::PlanOptions;

pub(crate) use attar_infer::cli::data::source;

/// Whether hashes of images are kept between runs.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct CacheArgs {
    /// Decode and hash every image anew, and keep nothing of it. Without it hashes of image files that have not changed are
    /// taken from `$ATTAR_CACHE_DIR`, by default `~/.cache/attar`.
    #[arg(long)]
    no_cache: bool,
}

impl CacheArgs {
    /// The cache of a data set.
    pub(crate) fn open(self, source: &Source) -> Option<Cache> {
        let folder = cache_folder().filter(|_| !self.no_cache)?;
        Some(Cache::open(&folder, source.root()))
    }

    /// The same for a plan.
    pub(crate) fn apply(self, options: PlanOptions) -> PlanOptions {
        PlanOptions { cache: options.cache.filter(|_| !self.no_cache), ..options }
    }

    /// The same for a process of its own.
    pub(crate) fn arguments(self) -> Option<&'static str> {
        self.no_cache.then_some("--no-cache")
    }
}
