//! Is this teacher any good? Asked before anybody learns from it, beside what its card says, and where the answer is bad,
//! why that may be.

mod causes;
mod chance;

use std::sync::Arc;

use attar_data::{Dataset, hold_out};
use attar_measures::{argmax, wilson_interval};
use candle_core::{DType, Tensor};
use causes::Cause;
use chance::hardly_better;

use super::events::Event;
use super::feed::evaluate::Evaluation;
use super::feed::prefetch::batches;
use super::step::teachers::{RunningTeacher, Worth};
use super::{Run, Setup};
use crate::checkpoint::{CheckedOn, Exact, TeacherCheck};
use crate::error::{Error, Result};
use crate::plan::Subset;
use crate::teacher::{Question, Samples};

/// Images that a teacher is measured on, at most.
const MOST: usize = 2000;
/// Apart from the draws of the split.
const SALT: u64 = 0xC0FFEE;
/// Points of accuracy that a card may promise above the interval.
const TOO_MUCH: f64 = 2.0;

/// The images that a teacher is measured on.
struct Sample {
    on: CheckedOn,
    images: Arc<dyn Dataset>,
    /// Where they stand among those that they were chosen from.
    ids: Vec<u32>,
    of: usize,
}

impl Sample {
    fn choose(setup: &Setup, teacher: &RunningTeacher) -> Self {
        let data = &setup.data;
        let (on, from) = match (teacher.teacher.only_samples(), data.validation.is_empty()) {
            (true, _) => (CheckedOn::StoredAnswers, &data.train),
            (false, false) => (CheckedOn::Validation, &data.validation),
            (false, true) => (CheckedOn::Training, &data.train),
        };
        let (images, ids) = at_most(from, MOST, setup.recipe.seed);
        Self { on, images, ids, of: from.len() }
    }
}

/// At most about `count` of the images, the same share of every class, and where they stand.
fn at_most(from: &Arc<dyn Dataset>, count: usize, seed: u64) -> (Arc<dyn Dataset>, Vec<u32>) {
    if from.len() <= count {
        return (Arc::clone(from), (0..from.len() as u32).collect());
    }
    let share = count as f64 / from.len() as f64;
    let (_, mut chosen) = hold_out(&from.labels(), share, seed.wrapping_add(SALT));
    chosen.truncate(count); // shares of classes are rounded
    (Arc::new(Subset::new(Arc::clone(from), chosen.clone())), chosen)
}

/// What was answered: the top class of each image, and its label.
#[derive(Debug, Default)]
struct Answered {
    top: Vec<u32>,
    labels: Vec<u32>,
}

impl Answered {
    fn add(&mut self, rows: &[Vec<f32>], labels: &[u32]) {
        self.top.extend(rows.iter().map(|row| argmax(row) as u32));
        self.labels.extend(labels);
    }

    fn correct(&self) -> usize {
        self.top.iter().zip(&self.labels).filter(|(top, label)| top == label).count()
    }
}

impl Run<'_> {
    /// Accuracy of every teacher before anybody learns from it.
    pub(super) fn check_teachers(&mut self) -> Result<()> {
        for id in self.learner.teachers.0.ids() {
            let RunningTeacher { name, worth, .. } = &self.learner.teachers.0[id];
            let (name, worth) = (name.clone(), worth.clone());
            let Some(worth) = worth else {
                self.tell(&Event::Teacher { name, val_top1: None, check: None })?;
                continue;
            };
            self.observer.event(&Event::Preparing { what: format!("checking teacher `{name}`") });
            let (check, failed) = check(&self.setup, &mut self.learner.teachers.0[id], &worth)?;
            let mut val_top1 = None;
            if check.on == CheckedOn::Validation {
                val_top1 = Some(check.top1());
                self.state.teacher_top1.insert(name.clone(), Exact(check.top1()));
            }
            self.state.teacher_checks.insert(name.clone(), check.clone());
            self.tell(&Event::Teacher { name: name.clone(), val_top1, check: Some(check) })?;
            if let Some(problem) = failed {
                return Err(Error::Recipe { key: format!("teachers.{name}.at_least"), problem });
            }
        }
        Ok(())
    }
}

/// Measures one teacher; where it is worse than its recipe demands, also says so.
fn check(setup: &Setup, teacher: &mut RunningTeacher, worth: &Worth) -> Result<(TeacherCheck, Option<String>)> {
    let sample = Sample::choose(setup, teacher);
    let answered = match sample.on {
        CheckedOn::StoredAnswers => ask_stored(setup, teacher, &sample)?,
        _ => ask(setup, teacher, &sample.images)?,
    };
    let (correct, images) = (answered.correct(), answered.labels.len());
    let mut check = TeacherCheck { on: sample.on, images, of: sample.of, correct, warning: None };
    let suspicion = suspicion(&check, setup.data.classes().len(), worth);
    let short = worth.at_least.filter(|least| check.top1() < least * 100.0);
    if suspicion.is_none() && short.is_none() {
        return Ok((check, None));
    }
    let why = causes::find(setup, teacher, worth, &sample, &answered)?;
    let why = why.map_or_else(|| causes::nothing_found(sample.on), |cause| Cause::to_string(&cause));
    let found = format!("right on {:.1} % of {}", check.top1(), check.images_in_words());
    check.warning = suspicion.map(|suspicion| format!("teacher `{}` is {found}: {suspicion}{why}", teacher.name));
    let failed = short.map(|least| format!("{least}, but the teacher is {found}{why}"));
    Ok((check, failed))
}

/// What is odd about a teacher's accuracy.
fn suspicion(check: &TeacherCheck, classes: usize, worth: &Worth) -> Option<String> {
    let high = wilson_interval(check.correct, check.images).high;
    if hardly_better(check.correct, check.images, classes) {
        return Some(format!("hardly better than chance ({:.1} %)", 100.0 / classes.max(1) as f64));
    }
    let (name, stated) = worth.stated.as_ref()?;
    (stated - 100.0 * high >= TOO_MUCH).then(|| {
        format!(
            "its card says {stated:.1} % ({name}), which is far above what these images allow (at most {:.1} %)",
            100.0 * high
        )
    })
}

/// A teacher's answers to images as it is asked in training.
fn ask(setup: &Setup, teacher: &mut RunningTeacher, images: &Arc<dyn Dataset>) -> Result<Answered> {
    let own = teacher.input.own().cloned();
    let mut evaluation = super::train::evaluation(setup, images);
    if let Some(own) = &own {
        evaluation.preprocessing = &own.preprocessing;
    }
    run(&evaluation, |x| Ok(teacher.outputs(&Question { pixels: x, samples: None }, &[])?.logits))
}

fn run(evaluation: &Evaluation<'_>, forward: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Answered> {
    let mut answered = Answered::default();
    evaluation.run(forward, |batch, _, rows| {
        answered.add(rows, &batch.labels);
        Ok(())
    })?;
    Ok(answered)
}

/// The stored answers of the first epoch.
fn ask_stored(setup: &Setup, teacher: &mut RunningTeacher, sample: &Sample) -> Result<Answered> {
    let pixels = Tensor::zeros(1, DType::F32, &setup.device)?;
    let mut answered = Answered::default();
    for ids in batches(&sample.ids, setup.recipe.train.batch) {
        let question = Question { pixels: &pixels, samples: Some(Samples { epoch: 1, ids: &ids }) };
        let rows = teacher.teacher.outputs(&question, &[])?.logits.to_vec2::<f32>()?;
        let labels: Vec<u32> = ids.iter().map(|id| setup.data.train.label(*id as usize)).collect();
        answered.add(&rows, &labels);
    }
    Ok(answered)
}
