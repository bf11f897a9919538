//! The networks that learn, the connectors behind their taps and what losses train themselves: forward, back, and on their way
//! to a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use attar_exec::ops::Backend;
use attar_exec::params::{Joint, ParamId};
use attar_exec::{Network, Outputs, Params, Precision, Slots, Tape, ops};
use attar_formats::checkpoint;
use attar_measures::random::Stream;
use attar_models::{NodeId, Weights};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::plan::{ConnectorId, Id, LossId, PassId, PlannedConnector, PlannedLoss, StudentId, Table, ViewId, Wiring};
use crate::run::feed::batch::ViewBatch;
use crate::run::step::student::Student;

/// A connector at work.
pub(in crate::run) struct Connector {
    /// Of its parameters: `losses.<loss>.<connector>.`.
    pub(in crate::run) prefix: String,
    pub(in crate::run) network: Network,
}

/// All that learns.
pub(in crate::run) struct Students {
    pub(in crate::run) networks: Table<StudentId, Student>,
    pub(in crate::run) connectors: Table<ConnectorId, Connector>,
    /// What losses train themselves, under full names.
    loss_params: Params,
    /// All parameters and buffers as one list: of the students, the connectors, and the losses' own.
    joint: Joint,
    /// In whose turn each of the list moves.
    owners: Vec<StudentId>,
}

/// One student's pass over one view.
pub(in crate::run) struct Pass {
    student: StudentId,
    view: ViewId,
    pub(in crate::run) outputs: Outputs,
    /// The logits as the losses see them.
    logits: Var,
    tape: Tape,
}

/// A node of a student, or the end of a connector, as a loss sees it.
struct TapVar {
    var: Var,
    node: NodeId,
    /// For a connector: which, and the tape of its pass.
    connector: Option<(ConnectorId, Tape)>,
}

/// What a loss sees of its student in one view.
pub(in crate::run) struct SeenView {
    pass: PassId,
    taps: Vec<TapVar>,
}

/// All passes of a batch, and what the active losses see of them.
pub(in crate::run) struct Passes {
    pub(in crate::run) table: Table<PassId, Pass>,
    /// For each active loss, its views and its own parameters.
    pub(in crate::run) losses: Vec<SeenLoss>,
}

/// What an active loss sees of its student.
pub(in crate::run) struct SeenLoss {
    loss: LossId,
    pub(in crate::run) views: Vec<SeenView>,
    /// Its own parameters by their short names.
    params: BTreeMap<String, Var>,
}

impl SeenView {
    /// Logits and taps as the loss reads them.
    pub(in crate::run) fn outputs(&self, passes: &Table<PassId, Pass>) -> Outputs {
        let taps = self.taps.iter().map(|tap| tap.var.as_tensor().clone()).collect();
        Outputs { logits: passes[self.pass].logits.as_tensor().clone(), taps }
    }
}

impl SeenLoss {
    /// Its own parameters as the loss reads them.
    pub(in crate::run) fn params(&self) -> BTreeMap<String, Tensor> {
        self.params.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }
}

impl Students {
    /// The students as given, the exported one first; fresh connectors and parameters of losses.
    pub(in crate::run) fn new(
        exported: Student,
        peers: Vec<Student>,
        connectors: Table<ConnectorId, PlannedConnector>,
        losses: &Table<LossId, PlannedLoss>,
        (seed, precision): (u64, Precision),
    ) -> Result<Self> {
        let device = exported.network.device().clone();
        let mut networks: Table<StudentId, Student> = std::iter::once(exported).chain(peers).collect();
        networks.rows_mut().for_each(|student| student.network.set_precision(precision));
        let context = networks[StudentId::EXPORTED].network.context().clone();
        let mut movers: Vec<StudentId> = networks.ids().collect();
        let connectors = connectors.try_map(|_, PlannedConnector { prefix, graph, student }| -> Result<Connector> {
            let params = Params::init(&graph, seed, &prefix, &device)?;
            movers.push(student);
            Ok(Connector { prefix, network: Network::new(graph, params, &context)? })
        })?;
        let (mut loss_params, mut of_losses) = (Params::default(), BTreeMap::new());
        for loss in losses.rows() {
            let params = Params::loose(&checkpoint::loss(&loss.name), &loss.params, seed, &device)?;
            of_losses.extend(params.iter().map(|(name, ..)| (name.to_owned(), loss.student)));
            loss_params.merge("", params)?;
        }
        let named = networks.rows().map(|student| (student.prefix.as_str(), student.learned()));
        let connected = connectors.rows().map(|Connector { prefix, network }| (prefix.as_str(), network.params()));
        let joint = Joint::new(named.chain(connected).chain([("", &loss_params)]))?;
        let mut owners = vec![StudentId::EXPORTED; (0..=movers.len()).map(|part| joint.slots(part).len()).sum()];
        for (part, mover) in movers.iter().enumerate() {
            joint.slots(part).iter().for_each(|slot| owners[slot.index()] = *mover);
        }
        for (slot, mover) in joint.slots(movers.len()).iter().zip(of_losses.values()) {
            owners[slot.index()] = *mover;
        }
        Ok(Self { networks, connectors, loss_params, joint, owners })
    }

    /// The student that is exported.
    pub(in crate::run) fn exported(&self) -> &Network {
        &self.networks[StudentId::EXPORTED].network
    }

    /// In whose turn each of what [`Students::gather`] collects moves: its student's, or that of the loss that trains it.
    pub(in crate::run) fn owners(&self) -> &[StudentId] {
        &self.owners
    }

    fn peers(&self) -> impl Iterator<Item = &Student> {
        self.networks.iter().filter(|(id, _)| *id != StudentId::EXPORTED).map(|(_, student)| student)
    }

    /// Everything that learns, under full names; tensors are shared, not copied.
    pub(in crate::run) fn gather(&self) -> Result<Params> {
        let networks = self.networks.rows().map(Student::learned);
        let connectors = self.connectors.rows().map(|connector| connector.network.params());
        Ok(self.joint.gather(networks.chain(connectors).chain([&self.loss_params]))?)
    }

    /// Puts what [`Students::gather`] collected back.
    pub(in crate::run) fn scatter(&mut self, all: &Params) -> Result<()> {
        let networks = self.networks.rows_mut().map(Student::learned_mut);
        let connectors = self.connectors.rows_mut().map(|connector| connector.network.params_mut());
        self.joint.scatter(all, networks.chain(connectors).chain([&mut self.loss_params]))?;
        self.networks.rows_mut().try_for_each(Student::settle)
    }

    /// Tells every network which of its parameters stay as they are, by the beginnings of their names.
    pub(in crate::run) fn fix(&mut self, frozen_under: impl Fn(&str) -> BTreeSet<String>) {
        for student in self.networks.rows_mut() {
            student.fix(frozen_under(&student.prefix));
        }
        for Connector { prefix, network } in self.connectors.rows_mut() {
            network.fix(&frozen_under(prefix));
        }
    }

    /// The exported student with these parameters, if there are any, in `f32`, as it will be exported.
    pub(in crate::run) fn evaluated(&self, averages: Option<&Params>) -> Result<Network> {
        let mut network = self.exported().clone();
        network.set_precision(Precision::F32);
        if let Some(averages) = averages {
            self.networks[StudentId::EXPORTED].take_into(averages, &mut network)?;
        }
        Ok(network)
    }

    /// What of the exported student learns, of which averages are taken.
    pub(in crate::run) fn learned(&self) -> &Params {
        self.networks[StudentId::EXPORTED].learned()
    }

    /// Whether the exported student learns by other parameters than those that leave.
    pub(in crate::run) fn is_in_integers(&self) -> bool {
        self.networks[StudentId::EXPORTED].latent.is_some()
    }

    /// Everything but the exported student, under full names.
    pub(in crate::run) fn pack(&self, into: &mut Weights) -> Result<()> {
        let mut add = |prefix: &str, weights: Weights| {
            into.0.extend(weights.0.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
        };
        for peer in self.peers() {
            add(&peer.prefix, peer.network.params().to_weights()?);
        }
        add("", self.loss_params.to_weights()?);
        for Connector { prefix, network } in self.connectors.rows() {
            add(prefix, network.params().to_weights()?);
        }
        Ok(())
    }

    /// Goes back to a checkpoint, in which `exported` are the parameters of the student that is exported.
    pub(in crate::run) fn unpack(&mut self, exported: &Params, checkpoint: &Checkpoint) -> Result<()> {
        let trainer = &checkpoint.trainer;
        let device = self.exported().device().clone();
        let restore = |network: &mut Network, prefix: &str| -> Result<()> {
            let own = Params::from_weights(network.graph(), &trainer.under(prefix), &device)?;
            Ok(network.params_mut().take(&own)?)
        };
        for (id, student) in self.networks.iter_mut() {
            match id {
                StudentId::EXPORTED => {
                    student.learned_mut().take(exported)?;
                    student.settle()?;
                }
                _ => restore(&mut student.network, &student.prefix)?,
            }
        }
        self.connectors.rows_mut().try_for_each(|Connector { prefix, network }| restore(network, prefix))?;
        let names: Vec<String> = self.loss_params.iter().map(|(name, ..)| name.to_owned()).collect();
        for name in names {
            let Some(array) = trainer.get(&name) else {
                let problem = format!("the checkpoint lacks `{name}`, which a loss trains");
                return Err(candle_core::Error::Msg(problem).into());
            };
            self.loss_params.set(&name, Tensor::from_slice(array.f32()?, array.shape.as_slice(), &device)?)?;
        }
        Ok(())
    }

    /// Students forward over the views, connectors over their taps.
    pub(in crate::run) fn forward(
        &mut self,
        wiring: &Wiring,
        views: &BTreeMap<ViewId, ViewBatch>,
        losses: &Table<LossId, PlannedLoss>,
        rng: &mut Stream,
    ) -> Result<Passes> {
        let mut table = Table::default();
        for planned in wiring.passes.rows() {
            let network = &mut self.networks[planned.student].network;
            let (outputs, tape) = network.train(&views[&planned.view].x, &planned.nodes, rng)?;
            let logits = Var::from_tensor(&outputs.logits)?;
            table.push(Pass { student: planned.student, view: planned.view, outputs, logits, tape });
        }
        let mut seen = Vec::with_capacity(wiring.losses.len());
        for wired in &wiring.losses {
            let mut of_views = Vec::with_capacity(wired.views.len());
            for view in &wired.views {
                let outputs = &table[view.pass].outputs;
                let taps = view.taps.iter().map(|tap| {
                    let (node, value) = (tap.node, &outputs.taps[tap.place]);
                    let Some(id) = tap.connector else {
                        return Ok(TapVar { var: Var::from_tensor(value)?, node, connector: None });
                    };
                    let (outputs, tape) = self.connectors[id].network.train(value, &[], rng)?;
                    Ok(TapVar { var: Var::from_tensor(&outputs.logits)?, node, connector: Some((id, tape)) })
                });
                of_views.push(SeenView { pass: view.pass, taps: taps.collect::<Result<_>>()? });
            }
            let loss = &losses[wired.loss];
            let var = |name: &String| -> Result<(String, Var)> {
                let full = format!("{}{name}", checkpoint::loss(&loss.name));
                Ok((name.clone(), Var::from_tensor(self.loss_params.get(&full)?)?))
            };
            let params = loss.params.iter().map(|param| var(&param.name)).collect::<Result<_>>()?;
            seen.push(SeenLoss { loss: wired.loss, views: of_views, params });
        }
        Ok(Passes { table, losses: seen })
    }

    /// Gradients of every parameter that takes part, by its slot in what [`Students::gather`] collects. A parameter of a student or connector that ran, or
    /// of a loss that was active, that no gradient reaches gets zeros: weight decay and momentum still act on it, as in
    /// PyTorch.
    pub(in crate::run) fn backward(
        &self,
        store: Option<&GradStore>,
        passes: Passes,
        losses: &Table<LossId, PlannedLoss>,
    ) -> Result<Slots> {
        let of = |var: &Var| store.and_then(|store| store.get(var.as_tensor()).cloned());
        let Passes { table, losses: seen } = passes;
        let (mut all, part_of_losses) = (Slots::default(), self.networks.len() + self.connectors.len());
        // What arrives at each pass, node by node.
        let mut ends: Table<PassId, Vec<(NodeId, Tensor)>> = table
            .rows()
            .map(|pass| {
                let output = self.networks[pass.student].network.graph().output();
                of(&pass.logits).map(|gradient| (output, gradient)).into_iter().collect()
            })
            .collect();
        let mut of_losses = Vec::with_capacity(seen.len());
        for SeenLoss { loss, views, params } in seen {
            for SeenView { pass, taps } in views {
                for TapVar { var, node, connector } in taps {
                    let gradient = of(&var);
                    let Some((id, tape)) = connector else {
                        ends[pass].extend(gradient.map(|gradient| (node, gradient)));
                        continue;
                    };
                    let network = &self.connectors[id].network;
                    let slots = self.joint.slots(self.networks.len() + id.index());
                    let end = network.graph().output();
                    let end = gradient.into_iter().map(|gradient| (end, gradient)).collect();
                    let found = network.backward(tape, end, true)?;
                    ends[pass].extend(found.input.map(|gradient| (node, gradient)));
                    collect(&mut all, slots, network.params(), found.params, network.context().backend())?;
                }
            }
            of_losses.push((loss, params));
        }
        table.try_map(|id, pass| {
            let student = &self.networks[pass.student];
            let found = student.network.backward(pass.tape, std::mem::take(&mut ends[id]), false)?;
            let (slots, found) = (self.joint.slots(pass.student.index()), student.gradients(found.params)?);
            collect(&mut all, slots, student.learned(), found, student.network.context().backend())
        })?;
        for (loss, params) in of_losses {
            for (name, var) in &params {
                let gradient = of(var).map_or_else(|| var.as_tensor().zeros_like(), Ok)?;
                let own = self.loss_params.id(&format!("{}{name}", checkpoint::loss(&losses[loss].name)))?;
                all.put(self.joint.slots(part_of_losses)[own.index()], gradient);
            }
        }
        Ok(all)
    }
}

impl Passes {
    /// The view that a pass was over, and its logits.
    pub(in crate::run) fn answer(&self, pass: PassId) -> (ViewId, Tensor) {
        let pass = &self.table[pass];
        (pass.view, pass.outputs.logits.clone())
    }
}

/// Adds the gradients of trained parameters to those found before, which stand in these slots of the list of all; zeros where
/// there are none.
fn collect(all: &mut Slots, slots: &[ParamId], params: &Params, mut found: Slots, on: Backend) -> Result<()> {
    for own in params.trained_slots() {
        let slot = slots[own.index()];
        let gradient = match (all.take(slot), found.take(own)) {
            (Some(before), Some(gradient)) => ops::add(on, &before, &gradient)?,
            (Some(gradient), None) | (None, Some(gradient)) => gradient,
            (None, None) => params.value(own).zeros_like()?,
        };
        all.put(slot, gradient);
    }
    Ok(())
}
