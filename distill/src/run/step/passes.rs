//! What a step asks of the networks: each student's pass over each view that a loss reads, the connectors behind its taps,
//! the teachers' answers; and the way back.

use std::collections::{BTreeMap, BTreeSet};

use attar_exec::{Network, Outputs, Slots, Tape, ops};
use attar_measures::random::Stream;
use attar_models::NodeId;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::error::{Error, Result};
use crate::losses::{Step, View};
use crate::plan::{PlannedLoss, Source, prefix};
use crate::run::step::learner::{Learner, taps_of};
use crate::run::step::views::Look;
use crate::teacher::{Question, Samples};

/// One student's pass over one view.
pub(in crate::run) struct Pass {
    student: usize,
    view: usize,
    /// Nodes whose values it handed out.
    nodes: Vec<NodeId>,
    pub(in crate::run) outputs: Outputs,
    /// The logits as the losses see them.
    logits: Var,
    tape: Tape,
}

/// A node of a student, or the end of a connector, as a loss sees it.
struct Seen {
    var: Var,
    node: NodeId,
    /// For a connector: its prefix and the tape of its pass.
    connector: Option<(String, Tape)>,
}

/// A teacher's answer to a view, with the taps that were asked for.
struct Answer {
    nodes: Vec<NodeId>,
    outputs: Outputs,
}

/// All answers to a batch, for the losses that are active.
pub(in crate::run) struct Passes {
    pub(in crate::run) students: Vec<Pass>,
    /// For each active loss and each of its views: the pass, and what it sees of it.
    seen: Vec<Vec<(usize, Vec<Seen>)>>,
    /// For each active loss, its own parameters.
    own: Vec<BTreeMap<String, Var>>,
}

/// What each active loss sees of a batch.
pub(in crate::run) struct Stage {
    looks: BTreeMap<usize, Look>,
    names: Vec<String>,
    /// For each active loss and each of its views: the view, the student's outputs, the teachers'.
    outputs: Vec<Vec<(usize, Outputs, Vec<Outputs>)>>,
    params: Vec<BTreeMap<String, Tensor>>,
    epochs: f64,
}

/// The views that the active losses read; the plain one if none of them reads the student.
pub(in crate::run) fn views_of(losses: &[&PlannedLoss]) -> BTreeSet<usize> {
    let mut views: BTreeSet<usize> = losses.iter().flat_map(|loss| loss.views.iter().copied()).collect();
    if !losses.iter().any(|loss| loss.student == 0) {
        views.insert(0);
    }
    views
}

impl Learner {
    /// The teachers' answers to every view in which an active loss asks them.
    pub(in crate::run) fn ask_teachers(
        &mut self,
        active: &[usize],
        looks: &BTreeMap<usize, Look>,
        epoch: usize,
    ) -> Result<TeacherAnswers> {
        let mut answers = BTreeMap::new();
        for (view, look) in looks {
            let losses = || active.iter().map(|i| &self.losses[*i]).filter(|loss| loss.views.contains(view));
            let asked: BTreeSet<Source> = losses().flat_map(|loss| loss.teachers.iter().copied()).collect();
            let asked: Vec<(Source, Vec<NodeId>)> =
                asked.into_iter().map(|source| (source, taps_of(losses(), source))).collect();
            for (source, nodes) in asked {
                if let Source::Teacher(i) = source {
                    let samples = (*view == 0).then_some(Samples { epoch, ids: &look.ids });
                    let pixels = self.seen(i, look)?;
                    let outputs = self.teachers[i].outputs(&Question { pixels, samples }, &nodes)?;
                    answers.insert((*view, source), Answer { nodes, outputs });
                }
            }
        }
        Ok(TeacherAnswers(answers))
    }

    /// Students forward over the views, connectors over their taps.
    pub(in crate::run) fn ask_students(
        &mut self,
        active: &[usize],
        looks: &BTreeMap<usize, Look>,
        rng: &mut Stream,
    ) -> Result<Passes> {
        let mut students = Vec::new();
        for (view, look) in looks {
            for student in 0..self.students.len() {
                let Some(nodes) = self.nodes_of(active, *view, student) else { continue };
                let (outputs, tape) = self.students[student].network.train(&look.x, &nodes, rng)?;
                let logits = Var::from_tensor(&outputs.logits)?;
                students.push(Pass { student, view: *view, nodes, outputs, logits, tape });
            }
        }
        let mut seen = Vec::with_capacity(active.len());
        let mut own = Vec::with_capacity(active.len());
        for i in active {
            let views = self.losses[*i].views.clone();
            seen.push(views.iter().map(|view| self.see(*i, *view, &students, rng)).collect::<Result<Vec<_>>>()?);
            let loss = &self.losses[*i];
            let var = |name: &String| -> Result<(String, Var)> {
                let full = format!("losses.{}.{name}", loss.name);
                Ok((name.clone(), Var::from_tensor(self.own.get(&full)?)?))
            };
            own.push(loss.params.iter().map(|param| var(&param.name)).collect::<Result<_>>()?);
        }
        Ok(Passes { students, seen, own })
    }

    /// The nodes of a student that active losses read in a view, as its own or as a teacher's; `None` if nobody reads it.
    fn nodes_of(&self, active: &[usize], view: usize, student: usize) -> Option<Vec<NodeId>> {
        let losses = || active.iter().map(|i| &self.losses[*i]).filter(|loss| loss.views.contains(&view));
        let learns = losses().any(|loss| loss.student == student);
        let teaches = losses().any(|loss| loss.teachers.contains(&Source::Student(student)));
        // Somebody must say how many images the student got right, even where no loss reads it.
        let idle = student == 0 && view == 0 && !active.iter().any(|i| self.losses[*i].student == 0);
        if !(learns || teaches || idle) {
            return None;
        }
        let own = losses().filter(|loss| loss.student == student).flat_map(|loss| &loss.taps.student);
        let mut nodes: Vec<NodeId> = own.map(|tap| tap.node).collect();
        nodes.extend(taps_of(losses(), Source::Student(student)));
        nodes.sort_unstable();
        nodes.dedup();
        Some(nodes)
    }

    /// Makes a variable of everything that a loss sees of its student's pass over a view, connectors applied.
    fn see(&mut self, loss: usize, view: usize, passes: &[Pass], rng: &mut Stream) -> Result<(usize, Vec<Seen>)> {
        let loss = &self.losses[loss];
        let at = passes.iter().position(|pass| pass.view == view && pass.student == loss.student);
        let (at, pass) = at.and_then(|at| Some((at, passes.get(at)?))).ok_or_else(|| lost("a pass"))?;
        let mut seen = Vec::with_capacity(loss.taps.student.len());
        for tap in &loss.taps.student {
            let value = pick(&pass.nodes, &pass.outputs, tap.node)?;
            seen.push(match &tap.connector {
                None => Seen { var: Var::from_tensor(value)?, node: tap.node, connector: None },
                Some(connector) => {
                    let prefix = prefix(&loss.name, &connector.name);
                    let network = self.connectors.get_mut(&prefix).ok_or_else(|| lost(&prefix))?;
                    let (outputs, tape) = network.train(value, &[], rng)?;
                    let var = Var::from_tensor(&outputs.logits)?;
                    Seen { var, node: tap.node, connector: Some((prefix, tape)) }
                }
            });
        }
        Ok((at, seen))
    }

    /// What each active loss sees.
    pub(in crate::run) fn stage(
        &self,
        active: &[usize],
        looks: BTreeMap<usize, Look>,
        passes: &Passes,
        answers: &TeacherAnswers,
    ) -> Result<Stage> {
        let mut outputs = Vec::with_capacity(active.len());
        for (i, seen) in active.iter().zip(&passes.seen) {
            let loss = &self.losses[*i];
            let mut views = Vec::with_capacity(seen.len());
            for (view, (pass, seen)) in loss.views.iter().zip(seen) {
                let taps = seen.iter().map(|seen| seen.var.as_tensor().clone()).collect();
                let logits = passes.students[*pass].logits.as_tensor().clone();
                let teacher = |(t, source): (usize, &Source)| {
                    let wanted = loss.taps.teachers.get(t).map_or(&[][..], Vec::as_slice);
                    answers.of(*view, *source, wanted, passes)
                };
                let teachers = loss.teachers.iter().enumerate().map(teacher).collect::<Result<_>>()?;
                views.push((*view, Outputs { logits, taps }, teachers));
            }
            outputs.push(views);
        }
        let own = |params: &BTreeMap<String, Var>| {
            params.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
        };
        Ok(Stage {
            looks,
            names: self.view_names(),
            outputs,
            params: passes.own.iter().map(own).collect(),
            epochs: self.train.epochs as f64,
        })
    }

    /// Gradients of every parameter that takes part, under its full name. A parameter of a student or connector that ran, or
    /// of a loss that was active, that no gradient reaches gets zeros: weight decay and momentum still act on it, as in
    /// PyTorch.
    pub(in crate::run) fn back(
        &self,
        active: &[usize],
        store: Option<&GradStore>,
        passes: Passes,
    ) -> Result<BTreeMap<String, Tensor>> {
        let of = |var: &Var| store.and_then(|store| store.get(var.as_tensor()).cloned());
        let mut all = BTreeMap::new();
        let mut ends: Vec<Vec<(NodeId, Tensor)>> = Vec::with_capacity(passes.students.len());
        for pass in &passes.students {
            let output = self.students[pass.student].network.graph().output();
            ends.push(of(&pass.logits).map(|gradient| (output, gradient)).into_iter().collect());
        }
        for (pass, seen) in passes.seen.into_iter().flatten() {
            for Seen { var, node, connector } in seen {
                let gradient = of(&var);
                match connector {
                    None => ends[pass].extend(gradient.map(|gradient| (node, gradient))),
                    Some((prefix, tape)) => {
                        let network = self.connectors.get(&prefix).ok_or_else(|| lost(&prefix))?;
                        let end = network.graph().output();
                        let end = gradient.into_iter().map(|gradient| (end, gradient)).collect();
                        let found = network.backward(tape, end, true)?;
                        ends[pass].extend(found.input.map(|gradient| (node, gradient)));
                        collect(&mut all, &prefix, network, found.params)?;
                    }
                }
            }
        }
        for (pass, ends) in passes.students.into_iter().zip(ends) {
            let student = &self.students[pass.student];
            let found = student.network.backward(pass.tape, ends, false)?;
            collect(&mut all, &student.prefix, &student.network, found.params)?;
        }
        for (i, own) in active.iter().zip(&passes.own) {
            for (name, var) in own {
                let gradient = of(var).map_or_else(|| var.as_tensor().zeros_like(), Ok)?;
                all.insert(format!("losses.{}.{name}", self.losses[*i].name), gradient);
            }
        }
        Ok(all)
    }

    fn view_names(&self) -> Vec<String> {
        let plain = std::iter::once(crate::recipe::CLEAN.to_owned());
        plain.chain(self.views.iter().map(|view| view.name.clone())).collect()
    }
}

/// The teachers' answers to the views of a batch.
pub(in crate::run) struct TeacherAnswers(BTreeMap<(usize, Source), Answer>);

impl TeacherAnswers {
    /// The answer to a view, with the taps that a loss wants of it.
    fn of(&self, view: usize, source: Source, wanted: &[NodeId], passes: &Passes) -> Result<Outputs> {
        let (nodes, outputs) = match source {
            Source::Teacher(_) => {
                let answer = self.0.get(&(view, source)).ok_or_else(|| lost("a teacher's answer"))?;
                (&answer.nodes, &answer.outputs)
            }
            Source::Student(i) => {
                let pass = passes.students.iter().find(|pass| pass.view == view && pass.student == i);
                let pass = pass.ok_or_else(|| lost("a peer's answer"))?;
                (&pass.nodes, &pass.outputs)
            }
        };
        let taps = wanted.iter().map(|node| pick(nodes, outputs, *node).cloned()).collect::<Result<_>>()?;
        Ok(Outputs { logits: outputs.logits.clone(), taps })
    }
}

impl Stage {
    /// Calls `body` with what the active loss in `slot` sees.
    pub(in crate::run) fn with<T>(
        &self,
        slot: usize,
        time: f64,
        body: impl FnOnce(&Step<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut views = Vec::with_capacity(self.outputs[slot].len());
        for (view, student, teachers) in &self.outputs[slot] {
            let look = self.looks.get(view).ok_or_else(|| lost("a view"))?;
            views.push(View {
                name: &self.names[*view],
                labels: &look.labels,
                targets: &look.targets,
                ids: &look.ids,
                student,
                teachers,
            });
        }
        body(&Step { views: &views, time, epochs: self.epochs, params: &self.params[slot] })
    }

    /// Class of each sample in a view.
    pub(in crate::run) fn labels(&self, view: usize) -> Result<Vec<u32>> {
        Ok(self.looks.get(&view).ok_or_else(|| lost("a view"))?.labels.to_vec1::<u32>()?)
    }
}

impl Passes {
    /// The first pass of the student that is exported: the view it was over, and its logits.
    pub(in crate::run) fn exported(&self) -> Result<(usize, Tensor)> {
        let pass = self.students.iter().find(|pass| pass.student == 0).ok_or_else(|| lost("the student's pass"))?;
        Ok((pass.view, pass.outputs.logits.clone()))
    }
}

/// Adds the gradients of a network's trained parameters to those found before; zeros where there are none.
fn collect(all: &mut BTreeMap<String, Tensor>, prefix: &str, network: &Network, mut found: Slots) -> Result<()> {
    let params = network.params();
    for slot in params.trained_slots() {
        let full = format!("{prefix}{}", params.name(slot));
        let gradient = match (all.remove(&full), found.take(slot)) {
            (Some(before), Some(gradient)) => ops::add(network.context().backend(), &before, &gradient)?,
            (Some(gradient), None) | (None, Some(gradient)) => gradient,
            (None, None) => params.value(slot).zeros_like()?,
        };
        all.insert(full, gradient);
    }
    Ok(())
}

/// The value of `node` among the taps that `nodes` asked for.
fn pick<'a>(nodes: &[NodeId], outputs: &'a Outputs, node: NodeId) -> Result<&'a Tensor> {
    let tap = nodes.iter().position(|asked| *asked == node).and_then(|i| outputs.taps.get(i));
    tap.ok_or_else(|| lost("a tap"))
}

/// Something that planning put in place is not there any more.
pub(in crate::run) fn lost(what: &str) -> Error {
    candle_core::Error::Msg(format!("{what} is missing: the plan and the run disagree")).into()
}
