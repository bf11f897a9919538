//! Everybody that a recipe brings together, by name: students, teachers, views. What is known of each is enough to build losses
//! against it, whether it is there already or still to come.

use attar_models::Outline;

use super::ids::{StudentId, Table, TeacherId, ViewId};
use crate::recipe::{CLEAN, STUDENT};

/// Whose answers a loss learns from. Those of a student are constants to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Teacher(TeacherId),
    Student(StudentId),
}

/// A network that learns.
#[derive(Debug, Clone)]
pub(crate) struct KnownStudent {
    pub(crate) name: String,
    pub(crate) outline: Outline,
}

/// A teacher that losses and views may name.
#[derive(Debug, Clone)]
pub(crate) struct KnownTeacher {
    pub(crate) name: String,
    /// Whether it is the network in floats that the student was: beside others it teaches only where it is named.
    pub(crate) is_itself: bool,
    /// What it can be asked for.
    pub(crate) outline: Outline,
    /// Whether it has a gradient in its input.
    pub(crate) attackable: bool,
    /// Whether it answers to training images in the plain view only.
    pub(crate) only_samples: bool,
    /// How many of the data's classes its logits are of, or why they are of others.
    pub(crate) logits: Result<usize, String>,
    /// What its answers are where they are no logits but for a softmax.
    pub(crate) logarithms: Option<&'static str>,
    /// Whether it has batches of its own, in its own size.
    pub(crate) own_pixels: bool,
    /// Whether its batch norms use the statistics of the batch.
    pub(crate) batch_statistics: bool,
}

/// A view that losses may name.
#[derive(Debug, Clone)]
pub(crate) struct KnownView {
    pub(crate) name: String,
    /// Whether a sample is of more than one image.
    pub(crate) mixes: bool,
    /// Whether an attack has moved the student's pixels.
    pub(crate) attacked: bool,
}

/// All that losses choose from, by name.
#[derive(Debug, Clone)]
pub(crate) struct Participants {
    /// The student, then the peers.
    pub(crate) students: Table<StudentId, KnownStudent>,
    pub(crate) teachers: Table<TeacherId, KnownTeacher>,
    /// `clean`, then the others.
    pub(crate) views: Table<ViewId, KnownView>,
    /// Names of the classes; none where there is no data.
    pub(crate) classes: Vec<String>,
    /// Training images of each.
    pub(crate) counts: Vec<usize>,
    /// Images in the training set.
    pub(crate) samples: usize,
    pub(crate) seed: u64,
}

impl KnownTeacher {
    /// A network of the data's classes that sees the student's images and can be asked for everything.
    pub(crate) fn whole(name: impl Into<String>, outline: impl Into<Outline>) -> Self {
        let outline = outline.into();
        Self {
            is_itself: false,
            name: name.into(),
            attackable: true,
            only_samples: false,
            logits: Ok(outline.classes()),
            logarithms: None,
            own_pixels: false,
            batch_statistics: false,
            outline,
        }
    }
}

impl Participants {
    /// A student and teachers, nothing else: what most recipes have.
    pub(crate) fn plain(student: impl Into<Outline>, teachers: &[Outline], samples: usize, seed: u64) -> Self {
        let named = |(i, outline): (usize, &Outline)| KnownTeacher::whole(format!("teacher{}", i + 1), outline.clone());
        let student = KnownStudent { name: STUDENT.to_owned(), outline: student.into() };
        let clean = KnownView { name: CLEAN.to_owned(), mixes: false, attacked: false };
        Self {
            students: Table::from_iter([student]),
            teachers: teachers.iter().enumerate().map(named).collect(),
            views: Table::from_iter([clean]),
            classes: Vec::new(),
            counts: Vec::new(),
            samples,
            seed,
        }
    }

    /// Adds a network that learns along.
    pub(crate) fn add_peer(&mut self, name: &str, outline: impl Into<Outline>) {
        self.students.push(KnownStudent { name: name.to_owned(), outline: outline.into() });
    }

    /// The teacher, peer or student called `name`.
    pub(crate) fn source(&self, name: &str) -> Option<Source> {
        let teacher = self.teachers.find(|teacher| teacher.name == name).map(Source::Teacher);
        teacher.or_else(|| self.student(name).map(Source::Student))
    }

    /// The student or peer called `name`.
    pub(crate) fn student(&self, name: &str) -> Option<StudentId> {
        self.students.find(|student| student.name == name)
    }

    /// The view called `name`.
    pub(crate) fn view(&self, name: &str) -> Option<ViewId> {
        self.views.find(|view| view.name == name)
    }

    /// Names of everybody that answers to a batch.
    pub(crate) fn answering(&self) -> Vec<&str> {
        let teachers = self.teachers.rows().map(|teacher| teacher.name.as_str());
        teachers.chain(self.students.rows().map(|student| student.name.as_str())).collect()
    }

    /// The network behind a source.
    pub(crate) fn outline(&self, source: Source) -> &Outline {
        match source {
            Source::Teacher(id) => &self.teachers[id].outline,
            Source::Student(id) => &self.students[id].outline,
        }
    }

    /// Its name.
    pub(crate) fn name(&self, source: Source) -> &str {
        match source {
            Source::Teacher(id) => &self.teachers[id].name,
            Source::Student(id) => &self.students[id].name,
        }
    }

    /// What the logits of a source are of.
    pub(crate) fn logits(&self, source: Source) -> Result<usize, String> {
        match source {
            Source::Teacher(id) => self.teachers[id].logits.clone(),
            Source::Student(id) => Ok(self.students[id].outline.classes()),
        }
    }

    /// The first teacher that has batches of its own.
    pub(crate) fn with_own_pixels(&self) -> Option<&str> {
        self.teachers.rows().find(|teacher| teacher.own_pixels).map(|teacher| teacher.name.as_str())
    }
}
