//! The data of a plan: opened, cut to subsets, split, and checked against its own settings.

use std::path::Path;
use std::sync::Arc;

use attar_data::{Augment, Dataset, Pipeline, Splits, eval_batch, fingerprint, hold_out, train_batch};
use attar_formats::hash::hex;
use attar_formats::receipt::Hashes;
use attar_pixels::Image;
use sha2::{Digest, Sha256};

use super::scan::{Look, Part, check_names};
use crate::error::{Error, Result};
use crate::labels::AnswersKey;
use crate::recipe::{DataSection, ViewKind, ViewSection};

/// Some images of another data set, in a given order.
pub(crate) struct Subset {
    of: Arc<dyn Dataset>,
    indices: Vec<u32>,
}

impl Subset {
    pub(crate) fn new(of: Arc<dyn Dataset>, indices: Vec<u32>) -> Self {
        Self { of, indices }
    }

    /// A larger index stays out of range in the set behind, which says so.
    fn at(&self, index: usize) -> usize {
        self.indices.get(index).map_or(usize::MAX, |i| *i as usize)
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.of.label(self.at(index))
    }

    fn image(&self, index: usize) -> attar_data::Result<Image> {
        self.of.image(self.at(index))
    }

    fn encoded(&self, index: usize) -> attar_data::Result<Vec<u8>> {
        self.of.encoded(self.at(index))
    }

    fn classes(&self) -> &[String] {
        self.of.classes()
    }

    fn name(&self, index: usize) -> String {
        self.of.name(self.at(index))
    }

    fn sha256(&self, index: usize) -> attar_data::Result<[u8; 32]> {
        self.of.sha256(self.at(index))
    }

    fn file(&self, index: usize) -> Option<&Path> {
        self.of.file(self.at(index))
    }
}

/// The images of two data sets of the same classes, one after the other.
struct Joined {
    first: Arc<dyn Dataset>,
    second: Arc<dyn Dataset>,
}

impl Joined {
    fn at(&self, index: usize) -> (&dyn Dataset, usize) {
        match index.checked_sub(self.first.len()) {
            None => (self.first.as_ref(), index),
            Some(index) => (self.second.as_ref(), index),
        }
    }
}

impl Dataset for Joined {
    fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    fn label(&self, index: usize) -> u32 {
        let (of, index) = self.at(index);
        of.label(index)
    }

    fn image(&self, index: usize) -> attar_data::Result<Image> {
        let (of, index) = self.at(index);
        of.image(index)
    }

    fn encoded(&self, index: usize) -> attar_data::Result<Vec<u8>> {
        let (of, index) = self.at(index);
        of.encoded(index)
    }

    fn classes(&self) -> &[String] {
        self.first.classes()
    }

    fn name(&self, index: usize) -> String {
        let (of, index) = self.at(index);
        of.name(index)
    }

    fn sha256(&self, index: usize) -> attar_data::Result<[u8; 32]> {
        let (of, index) = self.at(index);
        of.sha256(index)
    }

    fn file(&self, index: usize) -> Option<&Path> {
        let (of, index) = self.at(index);
        of.file(index)
    }
}

/// What the images are, by [`fingerprint`]: pixels and labels in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of the training and validation images together, as receipts state it.
    pub pool: [u8; 32],
    /// Of the images that are learned from.
    pub train: [u8; 32],
    /// Of the test images.
    pub test: [u8; 32],
}

/// Images to learn from, to choose by and to be judged by.
#[derive(Clone)]
pub struct PlannedData {
    /// Learned from.
    pub train: Arc<dyn Dataset>,
    /// Held out from the training images; empty when the recipe says `validation = 0`.
    pub validation: Arc<dyn Dataset>,
    /// Evaluated at the end.
    pub test: Arc<dyn Dataset>,
    /// Training and validation together, for the fingerprint.
    pub(crate) pool: Arc<dyn Dataset>,
    /// Augmentation and preprocessing.
    pub pipeline: Pipeline,
    /// Shape of one input sample, `[C, H, W]`.
    pub input: [usize; 3],
    /// Where the images' hashes came from.
    pub(crate) hashes: Hashes,
    /// What people should know of the images.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for PlannedData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes = (self.train.len(), self.validation.len(), self.test.len());
        f.debug_struct("PlannedData").field("sizes", &sizes).field("input", &self.input).finish_non_exhaustive()
    }
}

impl PlannedData {
    /// Opens the data, unless a program gave `images`, splits it and looks at every image. The split depends on `seed` and the labels only. Without a `look`
    /// somebody else has looked at these images.
    pub(super) fn open(
        section: &DataSection,
        images: Option<Splits>,
        seed: u64,
        look: Option<&Look<'_>>,
    ) -> Result<Self> {
        let pipeline = Pipeline::new(section.augment.clone(), section.preprocessing.clone());
        pipeline.check().map_err(|error| fail("data", error.to_string()))?;
        let share = section.validation.share();
        if !(0.0..1.0).contains(&share) {
            return Err(fail("data.validation", format!("{share}, expected a share in [0, 1)")));
        }
        let splits = images.map_or_else(|| section.source.open_with(section.validation.folder()), Ok)?;
        check_names(splits.train.classes())?;
        let learned = subset(splits.train, section.train_subset, seed, "data.train_subset")?;
        let test = subset(splits.test, section.test_subset, seed, "data.test_subset")?;
        let (pool, train, validation) = match splits.validation {
            None => {
                let (train, validation) = hold_out(&learned.labels(), share, seed);
                (learned, train, validation)
            }
            Some(second) => {
                let (of, all) = (learned.len() as u32, (learned.len() + second.len()) as u32);
                let joined: Arc<dyn Dataset> = Arc::new(Joined { first: learned, second });
                (joined, (0..of).collect(), (of..all).collect())
            }
        };
        if train.is_empty() || test.is_empty() {
            return Err(fail("data.source", "no images to learn from, or none to be judged by".to_owned()));
        }
        if share > 0.0 && validation.is_empty() {
            let problem = format!("{share} of {} images is none at all", pool.len());
            return Err(fail("data.validation", problem));
        }
        let (pool, test, hashes) = match look {
            None => (pool, test, Hashes::default()),
            Some(look) => {
                let crops = pipeline.augment.iter().any(|one| matches!(one, Augment::RandomResizedCrop { .. }));
                let mut evaluated = vec![!crops; pool.len()];
                validation.iter().for_each(|index| evaluated[*index as usize] = true);
                let all = vec![true; test.len()];
                let parts = [Part { images: pool, evaluated }, Part { images: test, evaluated: all }];
                let ([pool, test], hashes) = look.at(section, &pipeline, parts)?;
                (pool, test, hashes)
            }
        };
        let input = input_shape(pool.as_ref(), &pipeline, seed)?;
        Ok(Self {
            train: Arc::new(Subset::new(Arc::clone(&pool), train)),
            validation: Arc::new(Subset::new(Arc::clone(&pool), validation)),
            test,
            pool,
            pipeline,
            input,
            hashes,
            notes: splits.notes,
        })
    }

    /// Which pixels and labels these are; cheap, from what was seen of the images when the plan was made.
    ///
    /// # Errors
    /// When an image that was not looked at cannot be read.
    pub fn fingerprints(&self) -> Result<Fingerprints> {
        Ok(Fingerprints {
            pool: fingerprint(self.pool.as_ref())?,
            train: fingerprint(self.train.as_ref())?,
            test: fingerprint(self.test.as_ref())?,
        })
    }

    /// Checks that a view that augments another way comes out in the network's shape.
    pub(super) fn check_view(&self, section: &ViewSection, seed: u64) -> Result<()> {
        let ViewKind::Augmented { augment, .. } = &section.kind else { return Ok(()) };
        let key = format!("views.{}.augment", section.name);
        let pipeline = Pipeline { augment: augment.clone(), ..self.pipeline.clone() };
        let batch = train_batch(self.pool.as_ref(), &[0], &pipeline, seed, 0);
        let [_, channels, height, width] = batch.map_err(|error| fail(&key, error.to_string()))?.shape;
        match [channels, height, width] == self.input {
            true => Ok(()),
            false => {
                Err(fail(&key, format!("comes out as {height}x{width}, the plain view as {:?}", &self.input[1..])))
            }
        }
    }

    /// Fingerprint of the training images in their order, in hex: what stored answers name.
    ///
    /// # Errors
    /// When an image that was not looked at cannot be read.
    pub(crate) fn images_sha256(&self) -> Result<String> {
        Ok(hex(&fingerprint(self.train.as_ref())?))
    }

    /// What a run over these images asks its teacher.
    pub(crate) fn answers_key(&self, seed: u64) -> AnswersKey {
        let mut hash = Sha256::new();
        self.train.labels().iter().for_each(|label| hash.update(label.to_le_bytes()));
        AnswersKey {
            seed,
            samples: self.train.len(),
            classes: self.classes().len(),
            labels_sha256: hex(&hash.finalize()),
            augment: self.pipeline.augment.clone(),
            preprocessing: self.pipeline.preprocessing.clone(),
        }
    }

    /// Class names in the order of the labels.
    pub fn classes(&self) -> &[String] {
        self.train.classes()
    }
}

/// About `count` images, the same share of every class.
fn subset(of: Arc<dyn Dataset>, count: Option<usize>, seed: u64, key: &str) -> Result<Arc<dyn Dataset>> {
    match count {
        None => Ok(of),
        Some(count) if count == 0 || count > of.len() => {
            Err(fail(key, format!("{count}, expected 1 to {} (all there are)", of.len())))
        }
        Some(count) => {
            // The split of the subset must not be the subset of the split: another seed.
            let (_, chosen) = hold_out(&of.labels(), count as f64 / of.len() as f64, seed.wrapping_add(0x5EED));
            Ok(Arc::new(Subset::new(of, chosen)))
        }
    }
}

/// The network's input, from the first image; training and evaluation must agree. The image is made both ways, so that an
/// augmentation which does not fit it fails here and not in the first epoch.
fn input_shape(images: &dyn Dataset, pipeline: &Pipeline, seed: u64) -> Result<[usize; 3]> {
    let [_, channels, h, w] = eval_batch(images, &[0], &pipeline.preprocessing)?.shape;
    let [_, _, train_h, train_w] = train_batch(images, &[0], pipeline, seed, 0)?.shape;
    if [h, w] != [train_h, train_w] {
        let problem = format!(
            "training images come out as {train_h}x{train_w}, evaluation as {h}x{w}\n  hint: make `random-resized-crop` and `preprocessing.crop` the same size"
        );
        return Err(fail("data.augment", problem));
    }
    Ok([channels, h, w])
}

fn fail(key: &str, problem: String) -> Error {
    Error::Recipe { key: key.to_owned(), problem }
}
