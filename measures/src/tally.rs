//! How good answers are: accuracy, likelihood and calibration against labels, agreement with a
//! teacher; on the host, in `f64`.
//!
//! A [`Tally`] takes answers one by one, so that a data set of any size is measured batch by batch;
//! of each image it keeps 16 bytes. Of equal logits the first counts as the largest, everywhere. An
//! answer that is not finite is an error that names the image: weights that give one are broken,
//! and counting it as merely wrong would hide that.

use serde::{Deserialize, Serialize};

use crate::confidence::{BINS, calibration_error, risk_coverage_area};
use crate::error::{Error, Result};
use crate::logits::{argmax, log_sum_exp};
use crate::spread::percent;

/// An image counts for [`Measures::top5`] when its label is among so many largest logits.
const TOP: usize = 5;

/// What answers to labelled images are worth. Accuracies in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Measures {
    /// Images answered.
    pub images: usize,
    /// Images whose largest logit is their label's.
    pub top1: f64,
    /// Images whose label is among the five largest logits; 100 with five classes or fewer.
    pub top5: f64,
    /// Mean negative log-likelihood of the labels (cross-entropy), in nats.
    pub nll: f64,
    /// Expected calibration error over [`BINS`] bins, 0 to 1; see [`calibration_error`].
    pub ece: f64,
    /// Area under the risk-coverage curve, 0 to 1, less being better; see [`risk_coverage_area`].
    pub aurc: f64,
    /// Accuracy of each class; absent for one without images.
    pub per_class: Vec<Option<f64>>,
    /// The class with the lowest accuracy, the first of equal ones.
    pub worst_class: usize,
}

/// How alike a student's answers and a teacher's are, whatever the labels say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Likeness {
    /// Images that both put into the same class, in percent.
    pub agreement: f64,
    /// Mean `KL(teacher || student)` of the probabilities at temperature 1, in nats.
    pub kl: f64,
}

/// Gathers [`Measures`].
#[derive(Debug, Clone)]
pub struct Tally {
    within_five: usize,
    nll: f64,
    /// Confidence and whether the answer was right, image by image.
    pub(crate) answers: Vec<(f64, bool)>,
    /// Images and right answers of each class.
    classes: Vec<(usize, usize)>,
}

impl Tally {
    /// For answers of so many logits.
    pub fn new(classes: usize) -> Self {
        Self { within_five: 0, nll: 0.0, answers: Vec::new(), classes: vec![(0, 0); classes] }
    }

    /// Takes the answer `[K]` to one image.
    ///
    /// # Errors
    /// [`Error`] when there are other than K logits, one is not finite, or the label is not below
    /// K.
    pub fn add(&mut self, logits: &[f32], label: u32) -> Result<()> {
        let image = self.answers.len();
        check(logits, self.classes.len(), image)?;
        let at = label as usize;
        let (Some(class), Some(&own)) = (self.classes.get_mut(at), logits.get(at)) else {
            let problem = format!("label {label} of image {image}, expected one below {}", self.classes.len());
            return Err(Error { problem });
        };
        let log_sum = log_sum_exp(logits);
        let decision = argmax(logits);
        let right = decision == at;
        let before = logits.iter().enumerate().filter(|(i, z)| **z > own || (**z == own && *i < at)).count();
        self.within_five += usize::from(before < TOP);
        self.nll += log_sum - f64::from(own);
        self.answers.push(((f64::from(logits[decision]) - log_sum).exp(), right));
        class.0 += 1;
        class.1 += usize::from(right);
        Ok(())
    }

    /// What the answers so far are worth; `None` of none.
    pub fn measures(&self) -> Option<Measures> {
        let images = self.answers.len();
        let right = self.answers.iter().filter(|(_, right)| *right).count();
        let share = |(images, right): &(usize, usize)| (*images > 0).then(|| percent(*right, *images));
        let per_class: Vec<Option<f64>> = self.classes.iter().map(share).collect();
        let seen = per_class.iter().enumerate().filter_map(|(class, top1)| Some((class, (*top1)?)));
        Some(Measures {
            images,
            top1: percent(right, images),
            top5: percent(self.within_five, images),
            nll: self.nll / images as f64,
            ece: calibration_error(self.answers.iter().copied(), BINS)?,
            aurc: risk_coverage_area(&self.answers)?,
            worst_class: seen.min_by(|a, b| a.1.total_cmp(&b.1))?.0,
            per_class,
        })
    }
}

/// Gathers [`Likeness`].
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    images: usize,
    agreed: usize,
    kl: f64,
}

impl Comparison {
    /// Takes both answers `[K]` to one image.
    ///
    /// # Errors
    /// [`Error`] when their lengths differ or a logit is not finite.
    pub fn add(&mut self, student: &[f32], teacher: &[f32]) -> Result<()> {
        check(student, teacher.len(), self.images)?;
        check(teacher, teacher.len(), self.images)?;
        let (of_student, of_teacher) = (log_sum_exp(student), log_sum_exp(teacher));
        let term = |(s, t): (&f32, &f32)| {
            let (s, t) = (f64::from(*s) - of_student, f64::from(*t) - of_teacher);
            t.exp() * (t - s)
        };
        self.kl += student.iter().zip(teacher).map(term).sum::<f64>();
        self.agreed += usize::from(argmax(student) == argmax(teacher));
        self.images += 1;
        Ok(())
    }

    /// How alike the answers so far are; `None` of none.
    pub fn likeness(&self) -> Option<Likeness> {
        let kl = self.kl / self.images as f64;
        (self.images > 0).then(|| Likeness { agreement: percent(self.agreed, self.images), kl })
    }
}

fn check(logits: &[f32], classes: usize, image: usize) -> Result<()> {
    let problem = match logits.iter().find(|z| !z.is_finite()) {
        Some(bad) => format!("a logit of image {image} is {bad}, expected finite numbers"),
        None if logits.len() != classes || classes == 0 => {
            format!("{} logits for image {image}, expected {classes}", logits.len())
        }
        None => return Ok(()),
    };
    Err(Error { problem })
}
