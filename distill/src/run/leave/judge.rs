//! The exported weights judged on the test images, beside the teachers that they learned from.

use std::collections::BTreeMap;

use attar_data::Batch;
use attar_formats::receipt::{TeacherMeasures, TestMeasures};
use attar_measures::{Comparison, Measures, Tally};
use attar_pixels::Preprocessing;
use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::recipe::Which;
use crate::run::step::teachers::{RunningTeacher, Teachers};
use crate::teacher::Question;

/// Gathers [`TestMeasures`] batch by batch.
pub(in crate::run) struct Judge {
    student: Tally,
    teachers: Vec<(Tally, Comparison)>,
}

impl Judge {
    /// For so many classes and teachers.
    pub(in crate::run) fn new(classes: usize, teachers: usize) -> Self {
        let tally = Tally::new(classes);
        Self { teachers: vec![(tally.clone(), Comparison::default()); teachers], student: tally }
    }

    /// Takes the student's answers to a batch, row by row, and asks the teachers. `input` (`[N, C, H, W]`) is the batch as the
    /// student saw it; `own` makes it for a teacher that takes another preprocessing, of the images' indices.
    pub(in crate::run) fn add(
        &mut self,
        batch: &Batch,
        input: &Tensor,
        rows: &[Vec<f32>],
        teachers: &mut Teachers,
        own: &dyn Fn(&Preprocessing, &[u32]) -> Result<Tensor>,
    ) -> Result<()> {
        let labels = &batch.labels;
        rows.iter().zip(labels).try_for_each(|(row, label)| self.student.add(row, *label))?;
        for ((tally, comparison), teacher) in self.teachers.iter_mut().zip(teachers.0.rows_mut()) {
            if teacher.teacher.only_samples() || teacher.worth.is_none() {
                continue; // stored answers know no test images, and logits of other classes are not compared
            }
            let pixels = match teacher.input.own() {
                None => input.clone(),
                Some(taken) => own(&taken.preprocessing, &batch.ids)?,
            };
            let question = Question { pixels: &pixels, samples: None };
            let answers = teacher.outputs(&question, &[])?.logits.to_vec2::<f32>()?;
            let named = |attar_measures::Error { problem }| Error::Answer {
                problem: format!("teacher `{}`: {problem}", teacher.name),
            };
            for ((answer, row), label) in answers.iter().zip(rows).zip(labels) {
                tally.add(answer, *label).map_err(named)?;
                comparison.add(row, answer).map_err(named)?;
            }
        }
        Ok(())
    }

    /// What it all comes to. Classes and teachers are called by their names.
    pub(in crate::run) fn measures(
        &self,
        weights: Which,
        classes: &[String],
        teachers: &Teachers,
    ) -> Result<TestMeasures> {
        let nothing = || Error::Answer { problem: "there are none: no test images".to_owned() };
        let student = self.student.measures().ok_or_else(nothing)?;
        let of = |((tally, comparison), teacher): (&(Tally, Comparison), &RunningTeacher)| {
            let Measures { top1, nll, ece, .. } = tally.measures()?;
            Some((teacher.name.clone(), TeacherMeasures { top1, nll, ece, likeness: comparison.likeness()? }))
        };
        let teachers = self.teachers.iter().zip(teachers.0.rows()).filter_map(of).collect();
        let worst_class = classes.get(student.worst_class).cloned().unwrap_or_default();
        Ok(TestMeasures { weights, student, worst_class, teachers, robustness: BTreeMap::new() })
    }
}
