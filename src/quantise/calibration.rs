//! The images that ranges are found by.

use anyhow::{Result, bail};
use attar_compress::{Images, Synthesis, synthesise};
use attar_data::{CalibrationImages, Dataset};
use attar_formats::bundle::file;
use attar_formats::{hash, read};
use attar_infer::Bundle;
use attar_pixels::Preprocessing;
use schemars::JsonSchema;
use serde::Serialize;

/// Images that ranges are found by, preprocessed.
#[derive(Debug)]
pub struct Calibration {
    pub(super) shape: [usize; 3],
    pub(super) images: Vec<Vec<f32>>,
    /// Over the sha256 of the pixels of each image, in order; of made ones over their numbers.
    pub(super) sha256: String,
    pub(super) from: ImagesFrom,
}

/// Where calibration images come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImagesFrom {
    /// A data set.
    Data,
    /// The statistics that the network's batch norms remember.
    BatchNorms,
}

impl ImagesFrom {
    /// As it is printed and stands in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::BatchNorms => "batch-norms",
        }
    }
}

impl Calibration {
    /// At most `count` images of a data set, of no class more than its share ([`CalibrationImages`]).
    ///
    /// # Errors
    /// As [`CalibrationImages::collect`].
    pub fn of(data: &dyn Dataset, how: &Preprocessing, shape: [usize; 3], count: usize) -> Result<Self> {
        let CalibrationImages { inputs: images, sha256 } = CalibrationImages::collect(data, how, shape, count)?;
        let hashes: String = sha256.as_flattened().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { shape, images, sha256: hash::sha256(hashes.as_bytes()), from: ImagesFrom::Data })
    }

    /// `count` images made of the network that a bundle holds unfolded, by what its batch norms remember of the images of
    /// training. `progress` hears how many of how many steps are done.
    ///
    /// # Errors
    /// A bundle without that network; as [`attar_compress::synthesise`].
    pub fn synthesised(bundle: &Bundle, count: usize, progress: &mut dyn FnMut(usize, usize)) -> Result<Self> {
        let (root, manifest) = (bundle.root(), bundle.manifest());
        let held = manifest.files.contains_key(file::GRAPH).then(|| manifest.read_if_listed(root, file::WEIGHTS));
        let Some(weights) = held.transpose()?.flatten() else {
            bail!(
                "{} does not hold the network as it was trained, whose batch norms images could be made of",
                root.display()
            );
        };
        let weights = read::parse_safetensors(&weights, &root.join(file::WEIGHTS))?.weights;
        let graph = attar_formats::graph::read(&root.join(file::GRAPH))?;
        let how = bundle.preprocessing();
        let range: Vec<[f32; 2]> =
            how.mean.iter().zip(&how.std).map(|(mean, std)| [-mean / std, (1.0 - mean) / std]).collect();
        let settings = Synthesis { images: count, ..Synthesis::default() };
        let all = count.div_ceil(settings.batch) * settings.steps;
        let made = synthesise(&graph, &weights, &range, &settings, &mut |done| progress(done, all))?;
        let numbers: Vec<u8> = made.images.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        let shape = bundle.card().network.input;
        Ok(Self { shape, images: made.images, sha256: hash::sha256(&numbers), from: ImagesFrom::BatchNorms })
    }

    pub(super) fn images(&self) -> Result<Images<'_>> {
        Ok(Images::new(self.shape, &self.images)?)
    }
}
