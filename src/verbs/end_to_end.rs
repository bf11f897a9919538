//! The options of verbs that make a file of pixels in and classes out beside a model.

use std::path::Path;

use anyhow::{Result, bail};
use attar::end_to_end::{self, Request};
use attar_formats::bundle::EndToEndModel;
use attar_infer::EngineKind;
use attar_infer::engine::available;

use crate::engines::EngineArgs;

/// Whether there is to be such a file, and what it may differ by.
#[derive(Debug, clap::Args)]
pub(crate) struct EndToEndArgs {
    /// Write a further file, `model.end-to-end.onnx`, that takes the pixels of a decoded image (`uint8`, height, width, channels)
    /// and gives the best classes. It needs ONNX Runtime, in which it is compared with the same in steps before it is listed.
    #[arg(long)]
    with_preprocessing: bool,
    /// How many classes that file gives.
    #[arg(long, value_name = "K", default_value_t = 5, requires = "with_preprocessing", value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// By how many steps of 255 its pixels may differ from those of the preprocessing here, where a resize makes them.
    #[arg(long, value_name = "STEPS", default_value_t = 1, requires = "with_preprocessing")]
    pixel_tolerance: u8,
}

impl EndToEndArgs {
    /// Fails where the file that is asked for could not be compared, before any work is done.
    pub(super) fn check(&self, engines: &EngineArgs) -> Result<()> {
        let found = available(&engines.ort.search()).into_iter().find(|found| found.engine == EngineKind::Ort);
        match found.and_then(|found| found.problem) {
            Some(problem) if self.with_preprocessing => bail!("--with-preprocessing needs ONNX Runtime: {problem}"),
            _ => Ok(()),
        }
    }

    /// Makes the file of the bundle's `model`, where it was asked for.
    pub(super) fn add(&self, root: &Path, model: &str, engines: &EngineArgs) -> Result<Option<EndToEndModel>> {
        if !self.with_preprocessing {
            return Ok(None);
        }
        let request = Request { top: usize::from(self.top), pixel_tolerance: self.pixel_tolerance };
        Ok(Some(end_to_end::add(root, model, &request, &engines.ort.search())?))
    }
}
