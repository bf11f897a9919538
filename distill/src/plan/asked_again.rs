//! The teacher behind a store, asked itself: to write its answers down, and to check some of them when they are used.

use std::io::ErrorKind;
use std::path::Path;

use attar_data::train_batch;
use attar_exec::Context;
use candle_core::{Device, Tensor};

use super::{PlannedData, PlannedTeacher, TeacherInput};
use crate::batch::input;
use crate::error::{Error, Result};
use crate::labels::Store;
use crate::recipe::TeacherSection;
use crate::teacher::{Question, Teacher};

/// Training images that are asked again.
const SAMPLES: usize = 32;
/// Largest difference of a probability that rounding explains: half precision keeps log-probabilities to about 1e-3.
const TOLERANCE: f64 = 5e-3;

/// Whether an error says that a file is not there.
fn is_absent(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } | Error::Formats(attar_formats::Error::Io { source, .. }) => {
            source.kind() == ErrorKind::NotFound
        }
        _ => false,
    }
}

/// Largest difference of a probability over the classes that were kept, which are the likeliest: at the border of the rest
/// rounding may have kept another one.
fn difference(again: &[f64], stored: &[f32], top: usize) -> f64 {
    let kept = attar_measures::top(stored, top, f32::total_cmp);
    kept.into_iter().map(|k| (again[k].exp() - f64::from(stored[k]).exp()).abs()).fold(0.0, f64::max)
}

/// A teacher that answers.
pub(crate) struct Live {
    teacher: Box<dyn Teacher>,
    pub(crate) input: TeacherInput,
}

impl Live {
    pub(crate) fn start(teacher: PlannedTeacher, device: &Device) -> Result<Self> {
        let input = teacher.input.clone();
        Ok(Self { teacher: teacher.start(&[], &Context::new(device))?, input })
    }

    /// Logits of a batch as its input has it loaded, row by row.
    pub(crate) fn answer(&mut self, pixels: &Tensor) -> Result<Vec<Vec<f32>>> {
        let pixels = self.input.apply(pixels)?;
        let rows = self.teacher.outputs(&Question { pixels: &pixels, samples: None }, &[])?.logits.to_vec2::<f32>()?;
        match rows.iter().flatten().all(|value| value.is_finite()) {
            true => Ok(rows),
            false => Err(Error::Teacher { problem: "it answered with logits that are not finite".to_owned() }),
        }
    }
}

/// Asks the teacher behind the store for some images of the first epoch again. `Some` note where that was not possible,
/// because its weights are not where they were.
///
/// # Errors
/// Weights that are others now, or answers that differ.
pub(super) fn check(
    store: &mut Store,
    directory: &Path,
    data: &PlannedData,
    load: impl FnOnce(&TeacherSection) -> Result<PlannedTeacher>,
) -> Result<Option<String>> {
    let manifest = store.manifest.clone();
    let from = manifest.from.resolved(directory);
    let section = TeacherSection::new(manifest.teacher, from);
    let teacher = match load(&section) {
        Err(error) if is_absent(&error) => {
            let note = "the weights behind its stored answers are not where they were: taken on trust";
            return Ok(Some(format!("teacher `{}`: {note}", section.name)));
        }
        loaded => loaded?,
    };
    compare(store, teacher, directory, data, SAMPLES)?;
    Ok(None)
}

/// Asks the teacher behind the store for about `count` images of the first epoch, from all over the training images.
pub(crate) fn compare(
    store: &mut Store,
    teacher: PlannedTeacher,
    directory: &Path,
    data: &PlannedData,
    count: usize,
) -> Result<usize> {
    let manifest = store.manifest.clone();
    let fail = |problem: String| Error::Format { path: directory.to_owned(), problem };
    if teacher.weights_sha256 != manifest.weights_sha256 {
        let problem = "the teacher's weights have changed since its answers were stored\n  hint: write them again with `attar labels` into another directory";
        return Err(fail(problem.to_owned()));
    }
    if teacher.input.own().map(|own| &own.preprocessing) != manifest.teacher_preprocessing.as_ref() {
        let problem = "the teacher sees the images another way than when its answers were stored\n  hint: write them again with `attar labels` into another directory";
        return Err(fail(problem.to_owned()));
    }
    let stride = data.train.len().div_ceil(count).max(1);
    let ids: Vec<u32> = (0..data.train.len() as u32).step_by(stride).collect();
    let mut live = Live::start(teacher, &Device::Cpu)?;
    let pipeline = live.input.pipeline(&data.pipeline);
    let batch = train_batch(data.train.as_ref(), &ids, &pipeline, manifest.asked.seed, 1)?;
    let stored = store.rows(1, &ids)?;
    let again = live.answer(&input(&batch, &Device::Cpu)?)?;
    for (row, stored) in again.iter().zip(stored.chunks(manifest.asked.classes)) {
        let most = difference(&attar_measures::log_softmax(row), stored, manifest.top);
        if most > TOLERANCE {
            return Err(fail(format!(
                "asked again, the teacher answers otherwise: a probability differs by {most:.3}\n  hint: images or program have changed; write the answers again with `attar labels` into another directory"
            )));
        }
    }
    Ok(ids.len())
}
