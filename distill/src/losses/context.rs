//! What a loss is built from: where it stands in the recipe and the outlines of the networks that it reads; and errors
//! about both.

use attar_models::Outline;

use super::catalog::{Entry, Teachers};
use crate::error::{Error, Result};

/// Where a loss stands in the recipe, and what it reads.
#[derive(Debug, Clone, Copy)]
pub struct BuildContext<'a> {
    /// Name of the loss in the recipe.
    pub name: &'a str,
    /// The network that learns.
    pub student: &'a Outline,
    /// The networks that it learns from, which may be no graphs, in the order in which the recipe names them for this loss.
    pub teachers: &'a [Outline],
    /// What the logits of each of them are of: so many classes, the student's where the numbers agree; or why they are of
    /// other classes, in words. Empty where the outlines say it all.
    pub logits: &'a [std::result::Result<usize, String>],
    /// Images in the training set; sample ids are below it.
    pub samples: usize,
    /// Seed of the run.
    pub seed: u64,
}

impl<'a> BuildContext<'a> {
    /// An error about one setting.
    pub(super) fn error(&self, setting: &str, problem: impl Into<String>) -> Error {
        Error::Recipe { key: format!("losses.{}.loss.{setting}", self.name), problem: problem.into() }
    }

    /// The one teacher of a loss that reads one.
    pub(super) fn teacher(&self) -> Result<&'a Outline> {
        self.check_teachers(Teachers::One)?;
        self.teachers.first().ok_or_else(|| self.error("kind", "the recipe has no teacher"))
    }

    /// Checks that there are as many teachers as a loss reads.
    pub(crate) fn check_teachers(&self, wanted: Teachers) -> Result<()> {
        match (wanted, self.teachers.len()) {
            (Teachers::None, _) | (Teachers::One, 1) | (Teachers::Many, 1..) => Ok(()),
            (_, 0) => Err(self.error(
                "kind",
                "this loss learns from a teacher, and the recipe has none\n  hint: add [[teachers]]",
            )),
            (_, many) => Err(self.error(
                "kind",
                format!(
                    "this loss reads one teacher, and the recipe has {many}\n  hint: choose with `teacher = \"NAME\"` beside the weight"
                ),
            )),
        }
    }

    /// Checks that student and teachers know the same number of classes, and says how many.
    pub(super) fn same_classes(&self) -> Result<usize> {
        let student = self.student;
        let own: usize = student.output_shape().iter().product();
        if let Some(Err(problem)) = self.logits.iter().find(|logits| logits.is_err()) {
            return Err(self.error("kind", format!("reads the teacher's logits, and {problem}")));
        }
        if self.logits.len() == self.teachers.len() && self.logits.iter().all(|logits| *logits == Ok(own)) {
            return Ok(own);
        }
        if let Some(teacher) = self.teachers.iter().find(|teacher| teacher.output_shape() != student.output_shape()) {
            let classes =
                |network: &Outline| format!("`{}` answers with {:?} logits", network.name(), network.output_shape());
            let problem = format!(
                "student and teacher know different numbers of classes: {}, {}\n  hint: use a teacher trained on the same classes",
                classes(student),
                classes(teacher)
            );
            return Err(self.error("kind", problem));
        }
        Ok(own)
    }

    /// Checks that a setting is finite and above 0.
    pub(super) fn positive(&self, setting: &str, value: f64) -> Result<()> {
        if value.is_finite() && value > 0.0 {
            return Ok(());
        }
        Err(self.error(setting, format!("{value} is not a {}, expected a finite number above 0", words(setting))))
    }

    /// Checks that a setting is finite and not below 0.
    pub(super) fn at_least_zero(&self, setting: &str, value: f64) -> Result<()> {
        if value.is_finite() && value >= 0.0 {
            return Ok(());
        }
        Err(self.error(setting, format!("{value} does not fit, expected a finite number, 0 or above")))
    }

    /// Checks what every loss of a kind needs.
    pub(super) fn check(&self, entry: &Entry) -> Result<()> {
        self.check_teachers(entry.teachers)
    }
}

/// A setting's name as words.
fn words(setting: &str) -> String {
    setting.replace('_', " ")
}
