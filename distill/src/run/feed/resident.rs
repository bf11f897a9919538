//! Training images that live on the device as bytes. Batches are cropped, mirrored and normalised there, with the draws and to
//! the bits of the loaders.

use std::sync::Arc;

use attar_data::{Dataset, Fill, Moves, Pipeline};
use attar_exec::device;
use attar_exec::ops::augment::{Draw, Normalisation, augment_batch};
use attar_pixels::preprocess_image;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::plan::PlannedData;
use crate::run::feed::batch::ViewBatch;

/// The training images of a run.
pub(in crate::run) struct ResidentImages {
    /// Preprocessed, but for normalisation: `u8`, `[images, H, W, C]`.
    pixels: Tensor,
    /// Knows the labels.
    dataset: Arc<dyn Dataset>,
}

impl ResidentImages {
    /// Decodes and preprocesses all images, in parallel, and brings them to the device.
    ///
    /// # Errors
    /// An image that cannot be read or comes out in another size than the network's; a device without room.
    pub(in crate::run) fn load(data: &PlannedData, device: &Device) -> Result<Self> {
        let (dataset, how) = (Arc::clone(&data.train), &data.pipeline.preprocessing);
        let [channels, height, width] = data.input;
        let mut pixels = vec![0; dataset.len() * channels * height * width];
        let one = |(index, place): (usize, &mut [u8])| {
            let image = preprocess_image(&dataset.image(index)?, how)?;
            if [image.height() as usize, image.width() as usize] != [height, width] {
                let (name, is) = (dataset.name(index), format!("{}x{}", image.width(), image.height()));
                return Err(Error::Recipe {
                    key: "data.preprocessing".to_owned(),
                    problem: format!(
                        "{name} comes out as {is}, the network takes {width}x{height}\n  hint: set `resize` and `crop` so that all images get one size"
                    ),
                });
            }
            place.copy_from_slice(image.pixels());
            Ok(())
        };
        pixels.par_chunks_exact_mut(channels * height * width).enumerate().try_for_each(one)?;
        let megabytes = pixels.len() >> 20;
        let full = |error| Error::Device {
            device: device::name(device).to_owned(),
            problem: format!(
                "{megabytes} MiB of training images: {}\n  hint: `data.resident = \"never\"` leaves them on the host",
                Error::Tensor(error)
            ),
        };
        let pixels = Tensor::from_vec(pixels, (dataset.len(), height, width, channels), device).map_err(full)?;
        Ok(Self { pixels, dataset })
    }

    /// The images `ids` as each pipeline augments them under its seed: what [`train_batch`](attar_data::train_batch) makes.
    pub(in crate::run) fn batches(
        &self,
        ids: &[u32],
        pipelines: &[(Pipeline, u64)],
        epoch: usize,
        classes: usize,
    ) -> Result<Vec<ViewBatch>> {
        let labels: Vec<u32> = ids.iter().map(|id| self.dataset.label(*id as usize)).collect();
        let look = |(pipeline, seed): &(Pipeline, u64)| {
            let moves = Moves::of(&pipeline.augment)?;
            let draw = |id: &u32| {
                let attar_data::Draw { top, left, flip } = moves.draw(*seed, epoch as u64, *id);
                Draw { top, left, flip }
            };
            let draws: Vec<_> = ids.iter().map(draw).collect();
            let how = Normalisation { mean: &pipeline.preprocessing.mean, std: &pipeline.preprocessing.std };
            let x = augment_batch(&self.pixels, ids, &draws, how, moves.fill() == Fill::Reflect)?;
            ViewBatch::plain(x, &labels, ids, classes)
        };
        pipelines.iter().map(look).collect()
    }
}

#[cfg(test)]
mod tests {
    use attar_data::{Augment, InMemory, train_batch};
    use attar_pixels::Preprocessing;

    use super::*;

    /// Seven images of 6x9 as the network sees them through `preprocessing`.
    fn data(channels: u8, preprocessing: Preprocessing) -> PlannedData {
        let pixels = (0..7 * 6 * 9 * u32::from(channels)).map(|v| (v * 37 % 251) as u8).collect();
        let classes = vec!["even".to_owned(), "odd".to_owned()];
        let images = InMemory::new([6, 9], channels, pixels, vec![0, 1, 0, 1, 0, 1, 0], classes, "train").unwrap();
        let images: Arc<dyn Dataset> = Arc::new(images);
        let [height, width] = preprocessing.crop.unwrap_or([6, 9]);
        PlannedData {
            train: Arc::clone(&images),
            validation: Arc::clone(&images),
            test: Arc::clone(&images),
            pool: images,
            input: [preprocessing.channels, height, width],
            pipeline: Pipeline::new(Vec::new(), preprocessing),
            hashes: Default::default(),
            notes: Vec::new(),
        }
    }

    fn bits(tensor: &Tensor) -> Vec<u32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    /// Every list of moves on every image, in batches of which the last one is smaller.
    fn same_as_loaded(data: &PlannedData, lists: &[Vec<Augment>]) {
        let images = ResidentImages::load(data, &Device::Cpu).unwrap();
        let mut draws = std::collections::BTreeSet::new();
        for (seed, epoch) in [(0, 1), (7, 1), (7, 2), (u64::MAX, 30)] {
            let pipeline = |augment: &Vec<Augment>| Pipeline { augment: augment.clone(), ..data.pipeline.clone() };
            let pipelines: Vec<_> = lists.iter().map(|augment| (pipeline(augment), seed)).collect();
            for ids in [&[4, 0, 6][..], &[1, 2, 3], &[5]] {
                let made = images.batches(ids, &pipelines, epoch, 2).unwrap();
                assert_eq!(made.len(), lists.len());
                for (look, (pipeline, seed)) in made.iter().zip(&pipelines) {
                    let batch = train_batch(data.train.as_ref(), ids, pipeline, *seed, epoch as u64).unwrap();
                    let loaded = ViewBatch::loaded(&batch, 2, &Device::Cpu).unwrap();
                    assert_eq!(look.x.dims(), loaded.x.dims());
                    assert_eq!(bits(&look.x), bits(&loaded.x), "{pipeline:?}, seed {seed}, epoch {epoch}");
                    assert_eq!(bits(&look.targets), bits(&loaded.targets));
                    assert_eq!(look.labels.to_vec1::<u32>().unwrap(), batch.labels);
                    assert_eq!(look.ids, batch.ids);
                    draws.insert(bits(&look.x));
                }
            }
        }
        assert!(draws.len() > 6 * lists.len(), "hardly anything is drawn");
    }

    #[test]
    fn batches_are_those_of_the_loaders_bit_for_bit() {
        let flip = || Augment::Flip { p: 0.5 };
        let pad_crop = |fill| Augment::PadCrop { padding: 4, fill };
        let mut lists = vec![vec![flip()]];
        for fill in [Fill::Zero, Fill::Reflect] {
            lists.extend([
                vec![pad_crop(fill)],
                vec![pad_crop(fill), flip()],
                vec![flip(), pad_crop(fill)],
                vec![flip(), pad_crop(fill), flip()],
            ]);
        }
        let (mean, std) = (vec![0.4914, 0.4822, 0.4465], vec![0.2470, 0.2435, 0.2616]);
        same_as_loaded(&data(3, Preprocessing::normalise(mean, std)), &lists);
        // Grey images become coloured, and are cut before they are augmented.
        let cut = Preprocessing { crop: Some([5, 6]), ..Preprocessing::normalise(vec![0.5; 3], vec![0.1, 0.2, 0.3]) };
        same_as_loaded(&data(1, cut), &lists);
    }

    #[test]
    fn an_image_of_another_size_is_named() {
        let mut data = data(1, Preprocessing::normalise(vec![0.5], vec![0.1]));
        data.input = [1, 9, 6];
        let message = ResidentImages::load(&data, &Device::Cpu).map(|_| ()).unwrap_err().to_string();
        assert!(["train[", "9x6", "6x9", "hint:"].iter().all(|part| message.contains(part)), "{message}");
    }
}
