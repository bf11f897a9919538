//! The losses of a plan: their student, teachers and views chosen by name, built against the graphs, taps resolved.

use std::collections::BTreeSet;

use attar_models::{Graph, nearest};

use crate::error::{Error, Result};
use crate::knots::Knots;
use crate::losses::{Loss, Param, Site, Taps, Teachers};
use crate::recipe::{CLEAN, LossSection, Names, STUDENT};

/// A loss that fits the networks.
pub(crate) struct PlannedLoss {
    pub(crate) name: String,
    pub(crate) weight: Knots,
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) taps: Taps,
    pub(crate) params: Vec<Param>,
    /// Which student learns from it.
    pub(crate) student: usize,
    /// Whom it learns from.
    pub(crate) teachers: Vec<Source>,
    /// Which views it reads.
    pub(crate) views: Vec<usize>,
}

impl std::fmt::Debug for PlannedLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlannedLoss").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whose answers a loss learns from. Those of a student are constants to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Teacher(usize),
    Student(usize),
}

/// All that losses choose from, by name.
pub(crate) struct Cast {
    /// The student, then the peers.
    pub(crate) students: Vec<(String, Graph)>,
    /// Name, network, and whether it has taps.
    pub(crate) teachers: Vec<(String, Graph, bool)>,
    /// `clean`, then the others.
    pub(crate) views: Vec<String>,
    /// Images in the training set.
    pub(crate) samples: usize,
    pub(crate) seed: u64,
}

impl Cast {
    /// A student and teachers, nothing else: what most recipes have.
    pub(crate) fn plain(student: &Graph, teachers: &[Graph], samples: usize, seed: u64) -> Self {
        let named = |(i, graph): (usize, &Graph)| (format!("teacher{}", i + 1), graph.clone(), true);
        Self {
            students: vec![(STUDENT.to_owned(), student.clone())],
            teachers: teachers.iter().enumerate().map(named).collect(),
            views: vec![CLEAN.to_owned()],
            samples,
            seed,
        }
    }

    /// One loss built against the networks that it names.
    pub(crate) fn fit(&self, section: &LossSection) -> Result<PlannedLoss> {
        let student = match &section.student {
            None => 0,
            Some(name) => find(section, "student", name, self.students.iter().map(|(name, _)| name.as_str()))?,
        };
        let teachers = self.teachers_of(section)?;
        let views = self.views_of(section)?;
        let graphs: Vec<Graph> = teachers.iter().map(|source| self.graph(*source).clone()).collect();
        let site = Site {
            name: &section.name,
            student: &self.students[student].1,
            teachers: &graphs,
            samples: self.samples,
            seed: self.seed,
        };
        let loss = section.loss.build(&site)?;
        let (taps, params) = (loss.taps(), loss.params());
        self.check_taps(section, &taps, &teachers)?;
        check_names(section, &taps, &params)?;
        Ok(PlannedLoss {
            name: section.name.clone(),
            weight: section.weight.clone(),
            loss,
            taps,
            params,
            student,
            teachers,
            views,
        })
    }

    /// The network behind a source.
    pub(crate) fn graph(&self, source: Source) -> &Graph {
        match source {
            Source::Teacher(i) => &self.teachers[i].1,
            Source::Student(i) => &self.students[i].1,
        }
    }

    /// The teacher, peer or student called `name`.
    pub(crate) fn source(&self, name: &str) -> Option<Source> {
        let teacher = self.teachers.iter().position(|(own, ..)| own == name).map(Source::Teacher);
        teacher.or_else(|| self.students.iter().position(|(own, _)| own == name).map(Source::Student))
    }

    /// Names of everybody that answers to a batch.
    pub(crate) fn answering(&self) -> impl Iterator<Item = &str> {
        let teachers = self.teachers.iter().map(|(name, ..)| name.as_str());
        teachers.chain(self.students.iter().map(|(name, _)| name.as_str()))
    }

    fn teachers_of(&self, section: &LossSection) -> Result<Vec<Source>> {
        match &section.teacher {
            _ if section.loss.entry().teachers == Teachers::None => match section.teacher {
                None => Ok(Vec::new()),
                Some(_) => Err(fail(section, "teacher", "this loss learns from no teacher".to_owned())),
            },
            None => Ok((0..self.teachers.len()).map(Source::Teacher).collect()),
            Some(names) => {
                let find = |name: &String| {
                    let unknown = || unknown(section, "teacher", name, self.answering());
                    self.source(name).ok_or_else(unknown)
                };
                names.as_slice().iter().map(find).collect()
            }
        }
    }

    fn views_of(&self, section: &LossSection) -> Result<Vec<usize>> {
        let names = section.view.as_ref().map_or(&[][..], Names::as_slice);
        if names.is_empty() {
            return Ok(vec![0]);
        }
        let find = |name: &String| find(section, "view", name, self.views.iter().map(String::as_str));
        names.iter().map(find).collect()
    }

    fn check_taps(&self, section: &LossSection, taps: &Taps, teachers: &[Source]) -> Result<()> {
        let read = taps.teachers.iter().zip(teachers).filter(|(nodes, _)| !nodes.is_empty());
        for (_, source) in read {
            if let Source::Teacher(i) = source
                && !self.teachers[*i].2
            {
                let problem = "reads inside the teacher; an ONNX file gives only logits".to_owned();
                return Err(Error::Recipe { key: format!("losses.{}", section.name), problem });
            }
        }
        Ok(())
    }
}

/// Connectors and parameters share one space of names.
fn check_names(section: &LossSection, taps: &Taps, params: &[Param]) -> Result<()> {
    let mut names = BTreeSet::new();
    let connectors = taps.student.iter().filter_map(|tap| tap.connector.as_ref()).map(|connector| &connector.name);
    match connectors.chain(params.iter().map(|param| &param.name)).find(|name| !names.insert(*name)) {
        None => Ok(()),
        Some(twice) => {
            let problem = format!("has two connectors or parameters called `{twice}`");
            Err(Error::Recipe { key: format!("losses.{}", section.name), problem })
        }
    }
}

/// Where the parameters of a connector live: `losses.<loss>.<connector>.`.
pub(crate) fn prefix(loss: &str, connector: &str) -> String {
    format!("losses.{loss}.{connector}.")
}

fn find<'a>(
    section: &LossSection,
    key: &str,
    name: &str,
    mut known: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize> {
    let all = known.clone();
    known.position(|own| own == name).ok_or_else(|| unknown(section, key, name, all))
}

fn unknown<'a>(section: &LossSection, key: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    let near = nearest(name, known.iter().copied()).map(|near| format!(", did you mean `{near}`?"));
    fail(section, key, format!("unknown name `{name}`{}\n  known: {}", near.unwrap_or_default(), known.join(", ")))
}

fn fail(section: &LossSection, key: &str, problem: String) -> Error {
    Error::Recipe { key: format!("losses.{}.{key}", section.name), problem }
}
