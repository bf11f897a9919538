//! The losses of a plan: their student, teachers and views chosen by name, built against the graphs, taps resolved.

use std::collections::BTreeSet;

use attar_models::{Graph, suggest};

use super::Gives;
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

/// A teacher that losses may name.
pub(crate) struct CastTeacher {
    pub(crate) name: String,
    pub(crate) graph: Graph,
    /// What it can be asked for.
    pub(crate) gives: Gives,
    /// How many of the data's classes its logits are of, or why they are of others.
    pub(crate) logits: std::result::Result<usize, String>,
    /// What its answers are where they are no logits but for a softmax.
    pub(crate) logarithms: Option<&'static str>,
}

impl CastTeacher {
    /// A network of the data's classes.
    pub(crate) fn whole(name: impl Into<String>, graph: Graph) -> Self {
        let logits = Ok(graph.output_shape().iter().product());
        Self { name: name.into(), graph, gives: Gives::All, logits, logarithms: None }
    }
}

/// All that losses choose from, by name.
pub(crate) struct Cast {
    /// The student, then the peers.
    pub(crate) students: Vec<(String, Graph)>,
    pub(crate) teachers: Vec<CastTeacher>,
    /// `clean`, then the others.
    pub(crate) views: Vec<String>,
    /// Those of them in which a sample is of more than one image.
    pub(crate) mixing: Vec<usize>,
    /// Those of them in which an attack has moved the student's pixels.
    pub(crate) attacked: Vec<usize>,
    /// Teachers that have batches of their own.
    pub(crate) own_sight: Vec<usize>,
    /// Names of the classes; none where there is no data.
    pub(crate) classes: Vec<String>,
    /// Training images of each.
    pub(crate) counts: Vec<usize>,
    /// Images in the training set.
    pub(crate) samples: usize,
    pub(crate) seed: u64,
}

impl Cast {
    /// A student and teachers, nothing else: what most recipes have.
    pub(crate) fn plain(student: &Graph, teachers: &[Graph], samples: usize, seed: u64) -> Self {
        let named = |(i, graph): (usize, &Graph)| CastTeacher::whole(format!("teacher{}", i + 1), graph.clone());
        Self {
            students: vec![(STUDENT.to_owned(), student.clone())],
            teachers: teachers.iter().enumerate().map(named).collect(),
            views: vec![CLEAN.to_owned()],
            mixing: Vec::new(),
            attacked: Vec::new(),
            own_sight: Vec::new(),
            classes: Vec::new(),
            counts: Vec::new(),
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
        let logits: Vec<_> = teachers.iter().map(|source| self.logits(*source)).collect();
        let site = Site {
            name: &section.name,
            student: &self.students[student].1,
            teachers: &graphs,
            logits: &logits,
            samples: self.samples,
            seed: self.seed,
        };
        let mixes = views.iter().any(|view| self.mixing.contains(view));
        let spec = section.loss.weighted(&site, &self.classes, &self.counts, mixes)?;
        let loss = spec.build(&site).map_err(|error| self.mention_logits_only(error, &teachers))?;
        let (taps, params) = (loss.taps(), loss.params());
        self.check_gives(section, &taps, &teachers, &views)?;
        self.check_logarithms(section, &*loss, &teachers)?;
        check_names(section, &taps, &params)?;
        self.check_views(section, &*loss, &views)?;
        if teachers.contains(&Source::Student(student)) {
            return Err(fail(
                section,
                "teacher",
                "a network that learns from its own answers learns nothing".to_owned(),
            ));
        }
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

    /// Checks that a loss can read as many views, and of their kind.
    fn check_views(&self, section: &LossSection, loss: &dyn Loss, views: &[usize]) -> Result<()> {
        let wanted = loss.views();
        let distinct: BTreeSet<&usize> = views.iter().collect();
        if !wanted.contains(&views.len()) || distinct.len() < views.len() {
            let (least, most) = (wanted.start(), wanted.end());
            let wanted = if least == most { least.to_string() } else { format!("{least} or more") };
            return Err(fail(section, "view", format!("{} named, this loss reads {wanted}, each once", views.len())));
        }
        if views.iter().any(|view| self.mixing.contains(view)) && loss.remembers_images() {
            let problem = "this loss remembers each image by its number, and this view mixes images";
            return Err(fail(section, "view", problem.to_owned()));
        }
        Ok(())
    }

    /// The network behind a source.
    pub(crate) fn graph(&self, source: Source) -> &Graph {
        match source {
            Source::Teacher(i) => &self.teachers[i].graph,
            Source::Student(i) => &self.students[i].1,
        }
    }

    /// What the logits of a source are of.
    fn logits(&self, source: Source) -> std::result::Result<usize, String> {
        match source {
            Source::Teacher(i) => self.teachers[i].logits.clone(),
            Source::Student(i) => Ok(self.students[i].1.output_shape().iter().product()),
        }
    }

    /// Checks that a loss which reads logits themselves is given such.
    fn check_logarithms(&self, section: &LossSection, loss: &dyn Loss, teachers: &[Source]) -> Result<()> {
        let logarithms = |source: &Source| match source {
            Source::Teacher(i) => self.teachers[*i].logarithms.map(|what| (&self.teachers[*i].name, what)),
            Source::Student(_) => None,
        };
        match teachers.iter().find_map(logarithms).filter(|_| loss.reads_raw_logits()) {
            None => Ok(()),
            Some((name, what)) => Err(Error::Recipe {
                key: format!("losses.{}", section.name),
                problem: format!(
                    "`{}` as set here reads logits themselves and not their softmax, and `{name}` gives {what}\n  hint: use a teacher that answers with logits",
                    section.loss.entry().kind
                ),
            }),
        }
    }

    /// The teacher, peer or student called `name`.
    pub(crate) fn source(&self, name: &str) -> Option<Source> {
        let teacher = self.teachers.iter().position(|teacher| teacher.name == name).map(Source::Teacher);
        teacher.or_else(|| self.students.iter().position(|(own, _)| own == name).map(Source::Student))
    }

    /// Names of everybody that answers to a batch.
    pub(crate) fn answering(&self) -> impl Iterator<Item = &str> {
        let teachers = self.teachers.iter().map(|teacher| teacher.name.as_str());
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
                if names.as_slice().is_empty() {
                    return Err(fail(section, "teacher", "an empty list, expected a name".to_owned()));
                }
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

    /// Adds to an error about taps that a teacher has none.
    fn mention_logits_only(&self, error: Error, teachers: &[Source]) -> Error {
        let has_none = |source: &&Source| matches!(source, Source::Teacher(i) if self.teachers[*i].gives != Gives::All);
        match (error, teachers.iter().find(has_none)) {
            (Error::Recipe { key, problem }, Some(Source::Teacher(i))) if key.ends_with(".pairs") => {
                let name = &self.teachers[*i].name;
                let problem = format!("{problem}\n  note: `{name}` (an ONNX file or stored answers) gives only logits");
                Error::Recipe { key, problem }
            }
            (error, _) => error,
        }
    }

    /// Checks that the teachers can give what a loss reads.
    fn check_gives(&self, section: &LossSection, taps: &Taps, teachers: &[Source], views: &[usize]) -> Result<()> {
        let fail =
            |problem: &str| Err(Error::Recipe { key: format!("losses.{}", section.name), problem: problem.to_owned() });
        for (t, source) in teachers.iter().enumerate() {
            let Source::Teacher(i) = source else { continue };
            if self.own_sight.contains(i) && views.iter().any(|view| self.attacked.contains(view)) {
                return fail(
                    "an attack moves the student's pixels, and this teacher sees the images in its own size\n  hint: let it teach in another view, or use a teacher of the student's input size",
                );
            }
            let reads_inside = taps.teachers.get(t).is_some_and(|nodes| !nodes.is_empty());
            match self.teachers[*i].gives {
                Gives::All => {}
                _ if reads_inside => {
                    return fail("reads inside the teacher; an ONNX file or stored answers give only logits");
                }
                Gives::StoredLogits if views != [0] => return fail("stored answers are to the plain view only"),
                Gives::Logits | Gives::StoredLogits => {}
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

/// Where the parameters of a connector live: `losses.<loss>.<connector>.`. Dots in its name become dashes, or those of
/// `layer1.0` would lie among those of `layer1`.
pub(crate) fn prefix(loss: &str, connector: &str) -> String {
    format!("losses.{loss}.{}.", connector.replace('.', "-"))
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
    fail(section, key, suggest(&format!("unknown name `{name}`"), name, &known))
}

fn fail(section: &LossSection, key: &str, problem: String) -> Error {
    Error::Recipe { key: format!("losses.{}.{key}", section.name), problem }
}
