//! The losses of a plan: their student, teachers and views chosen by name, built against outlines, taps resolved.

use std::collections::BTreeSet;

use attar_models::{NodeId, Outline, suggest};

use super::ids::{StudentId, ViewId};
use super::participants::{Participants, Source};
use crate::error::{Error, Result};
use crate::knots::Knots;
use crate::losses::{AnyLoss, BuildContext, Loss, LossSpec, Param, Taps, Teachers};
use crate::recipe::{LossSection, Names};

/// A loss that fits the networks.
pub(crate) struct PlannedLoss {
    pub(crate) name: String,
    pub(crate) weight: Knots,
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) taps: Taps,
    pub(crate) params: Vec<Param>,
    /// Which student learns from it.
    pub(crate) student: StudentId,
    /// Whom it learns from.
    pub(crate) teachers: Vec<Source>,
    /// Which views it reads.
    pub(crate) views: Vec<ViewId>,
}

impl std::fmt::Debug for PlannedLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlannedLoss").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a loss stands: its name, its weight, and whom it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LossPlace<'a> {
    pub(crate) name: &'a str,
    pub(crate) weight: &'a Knots,
    /// Who learns from it; the student if left out.
    pub(crate) student: Option<&'a str>,
    /// Whom it learns from; all teachers if left out.
    pub(crate) teacher: Option<&'a Names>,
    /// Which views it reads; the plain one if left out.
    pub(crate) view: Option<&'a Names>,
}

impl<'a> LossPlace<'a> {
    /// Of a loss of a recipe.
    pub(crate) fn of(section: &'a LossSection) -> Self {
        Self {
            name: &section.name,
            weight: &section.weight,
            student: section.student.as_deref(),
            teacher: section.teacher.as_ref(),
            view: section.view.as_ref(),
        }
    }

    /// An error about one key beside the loss.
    fn error(&self, key: &str, problem: impl Into<String>) -> Error {
        let key = if key.is_empty() { String::new() } else { format!(".{key}") };
        Error::Recipe { key: format!("losses.{}{key}", self.name), problem: problem.into() }
    }

    fn unknown(&self, key: &str, name: &str, known: &[&str]) -> Error {
        self.error(key, suggest(&format!("unknown name `{name}`"), name, known))
    }
}

impl Participants {
    /// A loss of a recipe, built against the networks that it names.
    pub(crate) fn fit(&self, section: &LossSection) -> Result<PlannedLoss> {
        let (place, teachers) = (LossPlace::of(section), section.loss.entry().teachers);
        self.fit_with(&place, teachers, section.loss.entry().kind, |context, mixes| {
            self.spec(&section.loss, context, mixes)
        })
    }

    /// A loss that a program gave in place of the section's.
    pub(super) fn fit_given(&self, section: &LossSection, given: AnyLoss) -> Result<PlannedLoss> {
        let place = LossPlace::of(section);
        match given {
            AnyLoss::Spec(_) => self.fit(section),
            AnyLoss::Given(loss) => {
                let (teachers, kind) = (loss.teachers(), format!("{loss:?}"));
                self.fit_with(&place, teachers, &kind, |context, _| {
                    context.check_teachers(teachers)?;
                    Ok(loss)
                })
            }
            AnyLoss::Built { what, teachers, build } => self.fit_with(&place, teachers, &what, |context, _| {
                context.check_teachers(teachers)?;
                build(context)
            }),
        }
    }

    fn spec(&self, spec: &LossSpec, context: &BuildContext<'_>, mixes: bool) -> Result<Box<dyn Loss>> {
        spec.weighted(context, &self.classes, &self.counts, mixes)?.build(context)
    }

    /// A loss that `build` makes for the networks that its place names; it is told whether a view of it mixes images.
    /// `kind` is what errors call it.
    pub(crate) fn fit_with(
        &self,
        place: &LossPlace<'_>,
        wanted: Teachers,
        kind: &str,
        build: impl FnOnce(&BuildContext<'_>, bool) -> Result<Box<dyn Loss>>,
    ) -> Result<PlannedLoss> {
        let student = match place.student {
            None => StudentId::EXPORTED,
            Some(name) => self.student(name).ok_or_else(|| {
                let known: Vec<&str> = self.students.rows().map(|student| student.name.as_str()).collect();
                place.unknown("student", name, &known)
            })?,
        };
        let teachers = self.teachers_of(place, wanted)?;
        let views = self.views_of(place)?;
        let outlines: Vec<Outline> = teachers.iter().map(|source| self.outline(*source).clone()).collect();
        let logits: Vec<_> = teachers.iter().map(|source| self.logits(*source)).collect();
        let context = BuildContext {
            name: place.name,
            student: &self.students[student].outline,
            teachers: &outlines,
            logits: &logits,
            samples: self.samples,
            seed: self.seed,
        };
        let loss = build(&context, views.iter().any(|view| self.views[*view].mixes))?;
        let (taps, params) = (loss.taps(), loss.params());
        check_taps(place, &taps, &context)?;
        self.check_answers(place, &taps, &teachers, &views)?;
        self.check_logarithms(place, kind, &*loss, &teachers)?;
        check_names(place, &taps, &params)?;
        self.check_views(place, &*loss, &views)?;
        if teachers.contains(&Source::Student(student)) {
            return Err(place.error("teacher", "a network that learns from its own answers learns nothing"));
        }
        let (name, weight) = (place.name.to_owned(), place.weight.clone());
        Ok(PlannedLoss { name, weight, loss, taps, params, student, teachers, views })
    }

    /// Checks that a loss can read as many views, and of their kind.
    fn check_views(&self, place: &LossPlace<'_>, loss: &dyn Loss, views: &[ViewId]) -> Result<()> {
        let wanted = loss.views();
        let distinct: BTreeSet<&ViewId> = views.iter().collect();
        if !wanted.contains(&views.len()) || distinct.len() < views.len() {
            let (least, most) = (wanted.start(), wanted.end());
            let wanted = if least == most { least.to_string() } else { format!("{least} or more") };
            return Err(place.error("view", format!("{} named, this loss reads {wanted}, each once", views.len())));
        }
        if views.iter().any(|view| self.views[*view].mixes) && loss.remembers_images() {
            let problem = "this loss remembers each image by its number, and this view mixes images";
            return Err(place.error("view", problem));
        }
        Ok(())
    }

    /// Checks that a loss which reads logits themselves is given such.
    fn check_logarithms(&self, place: &LossPlace<'_>, kind: &str, loss: &dyn Loss, teachers: &[Source]) -> Result<()> {
        let logarithms = |source: &Source| match source {
            Source::Teacher(id) => self.teachers[*id].logarithms.map(|what| (&self.teachers[*id].name, what)),
            Source::Student(_) => None,
        };
        match teachers.iter().find_map(logarithms).filter(|_| loss.reads_raw_logits()) {
            None => Ok(()),
            Some((name, what)) => Err(place.error(
                "",
                format!(
                    "`{kind}` as set here reads logits themselves and not their softmax, and `{name}` gives {what}\n  hint: use a teacher that answers with logits"
                ),
            )),
        }
    }

    fn teachers_of(&self, place: &LossPlace<'_>, wanted: Teachers) -> Result<Vec<Source>> {
        match place.teacher {
            None if wanted == Teachers::None => Ok(Vec::new()),
            Some(_) if wanted == Teachers::None => Err(place.error("teacher", "this loss learns from no teacher")),
            None => {
                let (own, itself): (Vec<_>, Vec<_>) = self.teachers.ids().partition(|id| !self.teachers[*id].is_itself);
                let all = if own.is_empty() { itself } else { own };
                Ok(all.into_iter().map(Source::Teacher).collect())
            }
            Some(names) if names.as_slice().is_empty() => Err(place.error("teacher", "an empty list, expected a name")),
            Some(names) => {
                let find =
                    |name: &String| self.source(name).ok_or_else(|| place.unknown("teacher", name, &self.answering()));
                names.as_slice().iter().map(find).collect()
            }
        }
    }

    fn views_of(&self, place: &LossPlace<'_>) -> Result<Vec<ViewId>> {
        let names = place.view.map_or(&[][..], Names::as_slice);
        if names.is_empty() {
            return Ok(vec![ViewId::CLEAN]);
        }
        let find = |name: &String| {
            self.view(name).ok_or_else(|| {
                let known: Vec<&str> = self.views.rows().map(|view| view.name.as_str()).collect();
                place.unknown("view", name, &known)
            })
        };
        names.iter().map(find).collect()
    }

    /// Checks that the teachers can answer what a loss asks.
    fn check_answers(&self, place: &LossPlace<'_>, taps: &Taps, teachers: &[Source], views: &[ViewId]) -> Result<()> {
        for (t, source) in teachers.iter().enumerate() {
            let Source::Teacher(id) = source else { continue };
            let teacher = &self.teachers[*id];
            if teacher.own_pixels && views.iter().any(|view| self.views[*view].attacked) {
                return Err(place.error(
                    "",
                    "an attack moves the student's pixels, and this teacher sees the images in its own size\n  hint: let it teach in another view, or use a teacher of the student's input size",
                ));
            }
            let reads_inside = taps.teachers.get(t).is_some_and(|nodes| !nodes.is_empty());
            if teacher.outline.is_closed() && reads_inside {
                let name = &teacher.name;
                return Err(place.error("", format!("reads inside its teacher, and `{name}` gives only logits")));
            }
            if teacher.only_samples && views != [ViewId::CLEAN] {
                return Err(place.error("", "stored answers are to the plain view only"));
            }
        }
        Ok(())
    }
}

/// The nodes that a loss names are those of its networks.
fn check_taps(place: &LossPlace<'_>, taps: &Taps, context: &BuildContext<'_>) -> Result<()> {
    let check =
        |network: &Outline, nodes: &[NodeId]| match nodes.iter().find(|node| node.index() >= network.values().len()) {
            None => Ok(()),
            Some(node) => {
                let problem = format!("taps value {}, and `{}` has none of this number", node.index(), network.name());
                Err(place
                    .error("", format!("{problem}\n  hint: take taps from the outline that the loss is built with")))
            }
        };
    let own: Vec<NodeId> = taps.student.iter().map(|tap| tap.node).collect();
    check(context.student, &own)?;
    if taps.teachers.len() > context.teachers.len() {
        let (asked, there) = (taps.teachers.len(), context.teachers.len());
        return Err(place.error("", format!("taps {asked} teachers, and it has {there}")));
    }
    taps.teachers.iter().zip(context.teachers).try_for_each(|(nodes, network)| check(network, nodes))
}

/// Connectors and parameters share one space of names.
fn check_names(place: &LossPlace<'_>, taps: &Taps, params: &[Param]) -> Result<()> {
    let mut names = BTreeSet::new();
    let connectors = taps.student.iter().filter_map(|tap| tap.connector.as_ref());
    let connectors = connectors.map(|connector| connector.name.replace('.', "-"));
    match connectors.chain(params.iter().map(|param| param.name.clone())).find(|name| !names.insert(name.clone())) {
        None => Ok(()),
        Some(twice) => Err(place.error("", format!("has two connectors or parameters called `{twice}`"))),
    }
}

/// Where the parameters of a connector live: `losses.<loss>.<connector>.`. Dots in its name become dashes, or those of
/// `layer1.0` would lie among those of `layer1`.
pub(crate) fn prefix(loss: &str, connector: &str) -> String {
    format!("losses.{loss}.{}.", connector.replace('.', "-"))
}
