//! What a step runs where certain losses are active, and which of its results each of them reads: so many passes and
//! questions, each with its taps, and for every loss their places. The run walks along it and looks nothing up.

use std::collections::{BTreeMap, BTreeSet};

use attar_models::{Graph, NodeId};

use super::ids::{ConnectorId, Id, LossId, PassId, QuestionId, StudentId, Table, TeacherId, ViewId};
use super::losses::{PlannedLoss, prefix};
use super::participants::Source;

/// A small network that learns between a tap of a student and a loss.
#[derive(Debug, Clone)]
pub(crate) struct PlannedConnector {
    /// Of its parameters: `losses.<loss>.<connector>.`.
    pub(crate) prefix: String,
    pub(crate) graph: Graph,
    /// In whose turn it moves.
    pub(crate) student: StudentId,
}

/// The connectors of all losses, and the taps that they stand behind.
#[derive(Debug, Default)]
pub(crate) struct Connectors {
    pub(crate) table: Table<ConnectorId, PlannedConnector>,
    /// For each loss and each of its taps.
    pub(crate) behind: Table<LossId, Vec<Option<ConnectorId>>>,
}

impl Connectors {
    /// Those of these losses.
    pub(crate) fn of(losses: &Table<LossId, PlannedLoss>) -> Self {
        let mut table = Table::default();
        let behind = losses.rows().map(|loss| {
            let connectors = loss.taps.student.iter().map(|tap| tap.connector.as_ref());
            let add = |connector: Option<&crate::losses::Connector>| {
                let connector = connector?;
                let prefix = prefix(&loss.name, &connector.name);
                Some(table.push(PlannedConnector { prefix, graph: connector.graph.clone(), student: loss.student }))
            };
            connectors.map(add).collect()
        });
        let behind = behind.collect();
        Self { table, behind }
    }
}

/// What a step runs, and who reads what of it.
#[derive(Debug)]
pub(crate) struct Wiring {
    /// The views that are made, in the order of their ids.
    pub(crate) views: BTreeSet<ViewId>,
    /// What teachers are asked, view by view.
    pub(crate) questions: Table<QuestionId, PlannedQuestion>,
    /// Passes of students, view by view.
    pub(crate) passes: Table<PassId, PlannedPass>,
    /// The active losses in their order.
    pub(crate) losses: Vec<WiredLoss>,
    /// The pass whose logits say how many images the exported student got right.
    pub(crate) judged: PassId,
}

/// A view put to a teacher.
#[derive(Debug)]
pub(crate) struct PlannedQuestion {
    pub(crate) view: ViewId,
    pub(crate) teacher: TeacherId,
    /// The taps that are asked for, each once.
    pub(crate) nodes: Vec<NodeId>,
}

/// A student's pass over a view.
#[derive(Debug)]
pub(crate) struct PlannedPass {
    pub(crate) view: ViewId,
    pub(crate) student: StudentId,
    /// The taps that are asked for, each once.
    pub(crate) nodes: Vec<NodeId>,
}

/// An active loss.
#[derive(Debug)]
pub(crate) struct WiredLoss {
    pub(crate) loss: LossId,
    pub(crate) views: Vec<WiredView>,
}

/// What a loss reads in one view.
#[derive(Debug)]
pub(crate) struct WiredView {
    pub(crate) view: ViewId,
    /// Its student's pass.
    pub(crate) pass: PassId,
    pub(crate) taps: Vec<WiredTap>,
    pub(crate) teachers: Vec<WiredAnswer>,
}

/// A tap of a student's pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WiredTap {
    pub(crate) node: NodeId,
    /// Its place among the taps of the pass.
    pub(crate) place: usize,
    pub(crate) connector: Option<ConnectorId>,
}

/// An answer that a loss learns from, and the places of the taps that it reads of it.
#[derive(Debug)]
pub(crate) enum WiredAnswer {
    Teacher(QuestionId, Vec<usize>),
    Student(PassId, Vec<usize>),
}

/// Nodes that are asked for, by whom and in which view.
type Asked<Who> = BTreeMap<(ViewId, Who), BTreeSet<NodeId>>;

/// How many of a sorted list come before `key`: its place, if it is among them.
fn place<K: Ord, V>(of: &BTreeMap<K, V>, key: &K) -> usize {
    of.range(..key).count()
}

/// Places of some nodes among those that were asked for.
fn places(asked: &BTreeSet<NodeId>, nodes: &[NodeId]) -> Vec<usize> {
    nodes.iter().map(|node| asked.range(..node).count()).collect()
}

impl Wiring {
    /// Of the losses `active`, with the connectors behind their taps.
    pub(crate) fn of(
        active: &[LossId],
        losses: &Table<LossId, PlannedLoss>,
        behind: &Table<LossId, Vec<Option<ConnectorId>>>,
    ) -> Self {
        let (mut passes, mut questions) = (Asked::<StudentId>::new(), Asked::<TeacherId>::new());
        let mut views = BTreeSet::new();
        for loss in active.iter().map(|id| &losses[*id]) {
            for view in &loss.views {
                views.insert(*view);
                let own = passes.entry((*view, loss.student)).or_default();
                own.extend(loss.taps.student.iter().map(|tap| tap.node));
                for (t, source) in loss.teachers.iter().enumerate() {
                    let nodes = loss.taps.teachers.get(t).into_iter().flatten();
                    match source {
                        Source::Teacher(id) => questions.entry((*view, *id)).or_default().extend(nodes),
                        Source::Student(id) => passes.entry((*view, *id)).or_default().extend(nodes),
                    }
                }
            }
        }
        // Somebody must say how many images the student got right, even where no loss reads it.
        if !active.iter().any(|id| losses[*id].student == StudentId::EXPORTED) {
            views.insert(ViewId::CLEAN);
            passes.entry((ViewId::CLEAN, StudentId::EXPORTED)).or_default();
        }
        let pass = |view: ViewId, student: StudentId| PassId::at(place(&passes, &(view, student)));
        let wired_view = |loss: &PlannedLoss, behind: &[Option<ConnectorId>], view: ViewId| {
            let none = BTreeSet::new();
            let asked_of = |student: StudentId| passes.get(&(view, student)).unwrap_or(&none);
            let own = asked_of(loss.student);
            let taps = loss.taps.student.iter().zip(behind).map(|(tap, connector)| WiredTap {
                node: tap.node,
                place: own.range(..tap.node).count(),
                connector: *connector,
            });
            let teachers = loss.teachers.iter().enumerate().map(|(t, source)| {
                let nodes = loss.taps.teachers.get(t).map_or(&[][..], Vec::as_slice);
                match source {
                    Source::Teacher(id) => {
                        let asked = questions.get(&(view, *id)).unwrap_or(&none);
                        let question = QuestionId::at(place(&questions, &(view, *id)));
                        WiredAnswer::Teacher(question, places(asked, nodes))
                    }
                    Source::Student(id) => WiredAnswer::Student(pass(view, *id), places(asked_of(*id), nodes)),
                }
            });
            let (taps, teachers) = (taps.collect(), teachers.collect());
            WiredView { view, pass: pass(view, loss.student), taps, teachers }
        };
        let wired = active.iter().map(|id| {
            let (loss, behind) = (&losses[*id], &behind[*id]);
            WiredLoss { loss: *id, views: loss.views.iter().map(|view| wired_view(loss, behind, *view)).collect() }
        });
        let wired = wired.collect();
        let judged = passes.keys().position(|(_, student)| *student == StudentId::EXPORTED);
        let of_pass = |((view, student), nodes): ((ViewId, StudentId), BTreeSet<NodeId>)| PlannedPass {
            view,
            student,
            nodes: nodes.into_iter().collect(),
        };
        let of_question = |((view, teacher), nodes): ((ViewId, TeacherId), BTreeSet<NodeId>)| PlannedQuestion {
            view,
            teacher,
            nodes: nodes.into_iter().collect(),
        };
        Self {
            views,
            losses: wired,
            judged: PassId::at(judged.unwrap_or(0)), // there is one: see above
            passes: passes.into_iter().map(of_pass).collect(),
            questions: questions.into_iter().map(of_question).collect(),
        }
    }
}

/// The nodes that losses read of a teacher, each once.
pub(crate) fn taps_of(losses: &Table<LossId, PlannedLoss>, of: TeacherId) -> Vec<NodeId> {
    let mut nodes = BTreeSet::new();
    for loss in losses.rows() {
        let own = loss.taps.teachers.iter().zip(&loss.teachers).filter(|(_, source)| **source == Source::Teacher(of));
        nodes.extend(own.flat_map(|(taps, _)| taps));
    }
    nodes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use attar_models::Outline;
    use attar_models::zoo::{NetworkSpec, build};

    use super::*;
    use crate::plan::{KnownTeacher, KnownView, Participants};
    use crate::recipe::{PLAIN, Recipe};

    const LOSSES: &str = r#"
        [[losses]]
        name = "ce"
        weight = 1.0
        loss = { kind = "cross-entropy" }
        [[losses]]
        name = "cd"
        weight = 1.0
        teacher = "t"
        loss = { kind = "channel", pairs = [["layer3", "layer3"], ["layer1", "layer2"]] }
        [[losses]]
        name = "at"
        weight = 1.0
        teacher = "t"
        view = "mixed"
        loss = { kind = "at", pairs = [["layer2", "layer1"]] }
        [[losses]]
        name = "mutual"
        weight = 1.0
        student = "peer"
        teacher = "student"
        loss = { kind = "fitnets", pairs = [["layer1", "layer2"]] }
    "#;

    fn losses() -> Table<LossId, PlannedLoss> {
        let recipe = Recipe::parse(&format!("{PLAIN}{LOSSES}"), &[]).unwrap();
        let graph = build(&NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap();
        let mut everybody = Participants::plain(&graph, &[], 10, 0);
        everybody.teachers.push(KnownTeacher::whole("t", Outline::from(&graph)));
        everybody.add_peer("peer", &graph);
        everybody.views.push(KnownView { name: "mixed".to_owned(), mixes: true, attacked: false });
        recipe.losses.iter().map(|section| everybody.fit(section).unwrap()).collect()
    }

    /// Whatever is active, every place leads to what the loss asked for.
    #[test]
    fn every_place_holds_what_the_loss_asked_for() {
        let losses = losses();
        let behind = Connectors::of(&losses).behind;
        let all: Vec<LossId> = losses.ids().collect();
        for set in 0..1u32 << all.len() {
            let active: Vec<LossId> = all.iter().copied().filter(|id| set >> id.index() & 1 == 1).collect();
            let wiring = Wiring::of(&active, &losses, &behind);
            let judged = &wiring.passes[wiring.judged];
            assert_eq!(judged.student, StudentId::EXPORTED, "{active:?}");
            assert_eq!(wiring.losses.len(), active.len());
            for wired in &wiring.losses {
                let loss = &losses[wired.loss];
                for (view, at) in wired.views.iter().zip(&loss.views) {
                    assert!(view.view == *at && wiring.views.contains(at));
                    let pass = &wiring.passes[view.pass];
                    assert_eq!((pass.view, pass.student), (*at, loss.student));
                    for (wired, tap) in view.taps.iter().zip(&loss.taps.student) {
                        assert_eq!(pass.nodes[wired.place], tap.node);
                        assert_eq!(wired.connector.is_some(), tap.connector.is_some());
                    }
                    assert_eq!(view.teachers.len(), loss.teachers.len());
                    for (t, (answer, source)) in view.teachers.iter().zip(&loss.teachers).enumerate() {
                        let (places, nodes, who, of) = match answer {
                            WiredAnswer::Teacher(id, places) => {
                                let question = &wiring.questions[*id];
                                (places, &question.nodes, Source::Teacher(question.teacher), question.view)
                            }
                            WiredAnswer::Student(id, places) => {
                                let pass = &wiring.passes[*id];
                                (places, &pass.nodes, Source::Student(pass.student), pass.view)
                            }
                        };
                        assert_eq!((who, of), (*source, *at));
                        let read: Vec<NodeId> = places.iter().map(|place| nodes[*place]).collect();
                        assert_eq!(read, loss.taps.teachers.get(t).cloned().unwrap_or_default());
                    }
                }
            }
        }
    }

    #[test]
    fn nobody_is_asked_for_what_no_active_loss_reads() {
        let losses = losses();
        let behind = Connectors::of(&losses).behind;
        let ce = Wiring::of(&losses.ids().take(1).collect::<Vec<_>>(), &losses, &behind);
        assert_eq!((ce.passes.len(), ce.questions.len(), ce.views.len()), (1, 0, 1));
        assert!(ce.passes[ce.judged].nodes.is_empty());
        let none = Wiring::of(&[], &losses, &behind);
        assert_eq!((none.passes.len(), none.questions.len(), none.losses.len()), (1, 0, 0));
        let all = Wiring::of(&losses.ids().collect::<Vec<_>>(), &losses, &behind);
        assert_eq!((all.passes.len(), all.questions.len(), all.views.len()), (3, 2, 2));
        let t = losses.rows().flat_map(|loss| &loss.teachers).find_map(|source| match source {
            Source::Teacher(id) => Some(*id),
            Source::Student(_) => None,
        });
        assert_eq!(taps_of(&losses, t.unwrap()).len(), 3);
    }
}
