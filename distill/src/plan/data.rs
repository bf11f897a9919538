//! The data of a plan: opened, cut to subsets, split, and checked against its own settings.

use std::sync::Arc;

use attar_data::{Dataset, Image, Pipeline, eval_batch, hold_out, train_batch};

use crate::error::{Error, Result};
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
}

impl std::fmt::Debug for PlannedData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes = (self.train.len(), self.validation.len(), self.test.len());
        f.debug_struct("PlannedData").field("sizes", &sizes).field("input", &self.input).finish_non_exhaustive()
    }
}

impl PlannedData {
    /// Opens the data and splits it. The split depends on `seed` and the labels only.
    pub(super) fn open(section: &DataSection, seed: u64) -> Result<Self> {
        let pipeline = Pipeline::new(section.augment.clone(), section.preprocessing.clone());
        pipeline.check().map_err(|error| fail("data", error.to_string()))?;
        if !(0.0..1.0).contains(&section.validation) {
            return Err(fail("data.validation", format!("{}, expected a share in [0, 1)", section.validation)));
        }
        let splits = section.source.open()?;
        let pool = subset(splits.train, section.train_subset, seed, "data.train_subset")?;
        let test = subset(splits.test, section.test_subset, seed, "data.test_subset")?;
        let (train, validation) = hold_out(&pool.labels(), section.validation, seed);
        if train.is_empty() || test.is_empty() {
            return Err(fail("data.source", "no images to learn from, or none to be judged by".to_owned()));
        }
        if section.validation > 0.0 && validation.is_empty() {
            let problem = format!("{} of {} images is none at all", section.validation, pool.len());
            return Err(fail("data.validation", problem));
        }
        let input = input_shape(pool.as_ref(), &pipeline, seed)?;
        Ok(Self {
            train: Arc::new(Subset::new(Arc::clone(&pool), train)),
            validation: Arc::new(Subset::new(Arc::clone(&pool), validation)),
            test,
            pool,
            pipeline,
            input,
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
