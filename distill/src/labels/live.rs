//! The teacher behind a store, asked itself: to write its answers down, and to check some of them when they are used.

use std::path::Path;

use attar_data::train_batch;
use candle_core::{Device, Tensor};

use super::record::{decode, encode};
use super::store::Store;
use crate::error::{Error, Result};
use crate::plan::{PlannedData, PlannedTeacher, Renormalise};
use crate::recipe::TeacherSection;
use crate::run::input;
use crate::teacher::{Question, Teacher};

/// Training images that are asked again.
const SAMPLES: usize = 32;
/// Largest difference of a probability that rounding explains: half precision keeps log-probabilities to about 1e-3.
const TOLERANCE: f32 = 5e-3;

/// A teacher that answers.
pub(super) struct Live {
    teacher: Box<dyn Teacher>,
    renormalise: Option<Renormalise>,
}

impl Live {
    pub(super) fn start(teacher: PlannedTeacher, device: &Device) -> Result<Self> {
        let renormalise = teacher.renormalise.clone();
        Ok(Self { teacher: teacher.start(&[], device)?, renormalise })
    }

    /// Logits of a batch as the student sees it, row by row.
    pub(super) fn answer(&mut self, pixels: &Tensor) -> Result<Vec<Vec<f32>>> {
        let pixels = self.renormalise.as_ref().map_or_else(|| Ok(pixels.clone()), |how| how.apply(pixels))?;
        let rows = self.teacher.outputs(&Question { pixels: &pixels, samples: None }, &[])?.logits.to_vec2::<f32>()?;
        match rows.iter().flatten().all(|value| value.is_finite()) {
            true => Ok(rows),
            false => Err(Error::Teacher { problem: "it answered with logits that are not finite".to_owned() }),
        }
    }
}

impl Store {
    /// Asks the teacher behind the store for some images of the first epoch again. `Some` note where that was not possible,
    /// because its weights are not where they were.
    ///
    /// # Errors
    /// Weights that are others now, or answers that differ.
    pub(crate) fn check(
        &mut self,
        directory: &Path,
        data: &PlannedData,
        load: impl FnOnce(&TeacherSection) -> Result<PlannedTeacher>,
    ) -> Result<Option<String>> {
        let manifest = self.manifest.clone();
        let from = manifest.from.resolved(directory);
        let section = TeacherSection { name: manifest.teacher, from, bn: crate::recipe::TeacherNorm::Running };
        let Ok(teacher) = load(&section) else {
            let note = "the weights behind its stored answers are not where they were: taken on trust";
            return Ok(Some(format!("teacher `{}`: {note}", section.name)));
        };
        let fail = |problem: String| Error::Format { path: directory.to_owned(), problem };
        if teacher.weights_sha256 != manifest.weights_sha256 {
            let problem = "the teacher's weights have changed since its answers were stored\n  hint: write them again with `attar labels` into another directory";
            return Err(fail(problem.to_owned()));
        }
        let ids: Vec<u32> = (0..data.train.len().min(SAMPLES) as u32).collect();
        let batch = train_batch(data.train.as_ref(), &ids, &data.pipeline, manifest.asked.seed, 1)?;
        let mut live = Live::start(teacher, &Device::Cpu)?;
        let stored = self.rows(1, &ids)?;
        for (row, stored) in
            live.answer(&input(&batch, &Device::Cpu)?)?.iter().zip(stored.chunks(manifest.asked.classes))
        {
            let mut record = Vec::new();
            encode(row, manifest.top, &mut record);
            let again = decode(&record, row.len(), manifest.top).unwrap_or_default();
            let most = again.iter().zip(stored).map(|(a, b)| (a.exp() - b.exp()).abs()).fold(0.0, f32::max);
            if most > TOLERANCE {
                return Err(fail(format!(
                    "asked again, the teacher answers otherwise: a probability differs by {most:.3}\n  hint: images or program have changed; write the answers again with `attar labels` into another directory"
                )));
            }
        }
        Ok(None)
    }
}
