//! What a plan would run: for people (`Display`) and for programs (serde), before anything is spent on it.

use std::fmt;

use attar_exec::device;
use attar_formats::card::Origin;
use attar_models::NodeId;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Plan, PlannedLoss, Residence, Source, TeacherInput};
use crate::recipe::{CLEAN, STUDENT};

/// A plan in words and numbers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Description {
    /// Name of the run.
    pub name: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Why it is not another device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_note: Option<String>,
    /// Threads to compute with.
    pub threads: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Images to learn from.
    pub train_images: usize,
    /// Bytes that these take on the device, where they live there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Why they do not, where one may have hoped for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_note: Option<String>,
    /// What people should know of the images: what was left out, which folders judge.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub image_notes: Vec<String>,
    /// Images to choose by.
    pub validation_images: usize,
    /// Images to be judged by.
    pub test_images: usize,
    /// Number of classes.
    pub classes: usize,
    /// Epochs.
    pub epochs: usize,
    /// Images a batch.
    pub batch: usize,
    /// Batches a step.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(default)]
    pub accumulate: usize,
    /// Steps in an epoch.
    pub steps_per_epoch: usize,
    /// What people should know of the start and of unusual settings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub notes: Vec<String>,
    /// The student.
    pub student: NetworkDescription,
    /// The teachers.
    pub teachers: Vec<NetworkDescription>,
    /// Networks that learn along.
    pub peers: Vec<NetworkDescription>,
    /// The losses.
    pub losses: Vec<LossDescription>,
    /// Learning rate and weights at the epochs where one of them changes (or a sample of those).
    pub schedule: Vec<ScheduleRow>,
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

/// A network in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NetworkDescription {
    /// `student`, or the teacher's name.
    pub role: String,
    /// Name of the network.
    pub network: String,
    /// Where the student's came from; absent for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Shape of one input sample, `[C, H, W]`.
    pub input: Vec<usize>,
    /// Trained parameters; absent where they are not known (ONNX).
    pub parameters: Option<usize>,
    /// Multiply-accumulates for one image; absent where they are not known.
    pub macs: Option<u64>,
    /// Whether batches are normalised anew for it.
    pub renormalised: bool,
    /// Whether it sees the same crops in its own size and by its own filter.
    pub own_view: bool,
}

/// A loss and what it reads.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LossDescription {
    /// Its name.
    pub name: String,
    /// Who learns from it.
    pub student: String,
    /// From whom.
    pub teachers: Vec<String>,
    /// On which views of the batch.
    pub views: Vec<String>,
    /// Nodes of the student that it reads.
    pub student_taps: Vec<TapDescription>,
    /// Nodes of the teacher that it reads.
    pub teacher_taps: Vec<TapDescription>,
    /// Parameters that it trains beside the student's.
    pub parameters: usize,
}

/// A node that a loss reads.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TapDescription {
    /// Name of the node.
    pub node: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Shape behind the connector, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<Vec<usize>>,
}

/// Learning rate and weights at the first step of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ScheduleRow {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// Weight of each loss, in the recipe's order.
    pub weights: Vec<f64>,
}

/// Rows of the schedule that fit a screen.
const ROWS: usize = 12;

impl Description {
    pub(super) fn of(plan: &Plan) -> Self {
        let recipe = &plan.recipe;
        let student = NetworkDescription {
            role: "student".to_owned(),
            network: plan.student.name().to_owned(),
            origin: Some(plan.origin.clone()),
            input: plan.student.input_shape().to_vec(),
            parameters: Some(plan.student.parameter_count()),
            macs: Some(plan.student.macs()),
            renormalised: false,
            own_view: false,
        };
        let teachers = plan.teachers.rows().map(|teacher| NetworkDescription {
            role: teacher.name.clone(),
            network: teacher.outline.name().to_owned(),
            origin: None,
            input: teacher.outline.input_shape().to_vec(),
            parameters: teacher.size.map(|size| size.0),
            macs: teacher.size.map(|size| size.1),
            renormalised: matches!(teacher.input, TeacherInput::Renormalised(_)),
            own_view: teacher.input.own().is_some(),
        });
        let peers = plan.peers.iter().map(|peer| NetworkDescription {
            role: peer.name.clone(),
            network: peer.graph.name().to_owned(),
            origin: None,
            input: peer.graph.input_shape().to_vec(),
            parameters: Some(peer.graph.parameter_count()),
            macs: Some(peer.graph.macs()),
            renormalised: false,
            own_view: false,
        });
        Self {
            name: recipe.name.clone(),
            device: device::name(&plan.device).to_owned(),
            device_note: plan.device_note.clone(),
            threads: plan.threads,
            seed: recipe.seed,
            train_images: plan.data.train.len(),
            resident_bytes: match plan.residence {
                Residence::Device { bytes } => Some(bytes),
                Residence::Host { .. } => None,
            },
            resident_note: plan.residence.note().map(str::to_owned),
            image_notes: plan.data.notes.clone(),
            validation_images: plan.data.validation.len(),
            test_images: plan.data.test.len(),
            classes: plan.data.classes().len(),
            epochs: recipe.train.epochs,
            batch: recipe.train.batch,
            accumulate: recipe.train.accumulate.unwrap_or(1),
            notes: plan.remarks.clone(),
            steps_per_epoch: plan.steps_per_epoch,
            student,
            teachers: teachers.collect(),
            peers: peers.collect(),
            losses: losses(plan),
            schedule: schedule(plan),
        }
    }
}

fn losses(plan: &Plan) -> Vec<LossDescription> {
    let everybody = &plan.participants;
    let tap = |source: Source, node: NodeId, connected: Option<Vec<usize>>| {
        let value = everybody.outline(source).value(node);
        TapDescription { node: value.name.clone(), shape: value.shape.clone(), connected }
    };
    let describe = |loss: &PlannedLoss| {
        let connectors = || loss.taps.student.iter().filter_map(|tap| tap.connector.as_ref());
        let student = loss.taps.student.iter().map(|own| {
            let connected = own.connector.as_ref().map(|connector| connector.graph.output_shape().to_vec());
            tap(Source::Student(loss.student), own.node, connected)
        });
        let teacher = loss.taps.teachers.iter().zip(&loss.teachers);
        let teacher = teacher.flat_map(|(nodes, source)| nodes.iter().map(|node| tap(*source, *node, None)));
        LossDescription {
            name: loss.name.clone(),
            student: everybody.students[loss.student].name.clone(),
            teachers: loss.teachers.iter().map(|source| everybody.name(*source).to_owned()).collect(),
            views: loss.views.iter().map(|view| everybody.views[*view].name.clone()).collect(),
            student_taps: student.collect(),
            teacher_taps: teacher.collect(),
            parameters: connectors().map(|connector| connector.graph.parameter_count()).sum::<usize>()
                + loss.params.iter().map(|param| param.shape.iter().product::<usize>()).sum::<usize>(),
        }
    };
    plan.losses.rows().map(describe).collect()
}

fn schedule(plan: &Plan) -> Vec<ScheduleRow> {
    let total = plan.recipe.train.epochs;
    let row = |epoch: usize| {
        let at = |knots: &crate::knots::Knots| knots.value(epoch as f64, total as f64);
        ScheduleRow {
            epoch,
            learning_rate: at(&plan.recipe.train.learning_rate),
            weights: plan.losses.rows().map(|loss| at(&loss.weight)).collect(),
        }
    };
    let values = |row: &ScheduleRow| (row.learning_rate, row.weights.clone());
    let mut rows: Vec<ScheduleRow> = (1..=total).map(row).collect();
    rows.dedup_by(|later, earlier| values(later) == values(earlier));
    if rows.len() > ROWS {
        let last = rows.len() - 1;
        rows = (0..ROWS).map(|i| rows[i * last / (ROWS - 1)].clone()).collect();
    }
    rows
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "run        {} (seed {})", self.name, self.seed)?;
        writeln!(f, "device     {}, {} threads", self.device, self.threads)?;
        if let Some(note) = &self.device_note {
            writeln!(f, "           {note}")?;
        }
        let (train, validation, test) = (self.train_images, self.validation_images, self.test_images);
        writeln!(f, "images     {train} train, {validation} validation, {test} test, {} classes", self.classes)?;
        self.image_notes.iter().try_for_each(|note| writeln!(f, "           {note}"))?;
        if let Some(bytes) = self.resident_bytes {
            writeln!(
                f,
                "           those to train on live on the device, in {:.1} MiB",
                bytes as f64 / f64::from(1 << 20)
            )?;
        }
        if let Some(note) = &self.resident_note {
            writeln!(f, "           {note}")?;
        }
        let (epochs, steps) = (self.epochs, self.steps_per_epoch);
        let batches = if self.accumulate == 1 { String::new() } else { format!("{} batches of ", self.accumulate) };
        writeln!(f, "steps      {epochs} epochs x {steps} steps of {batches}{} images", self.batch)?;
        for note in &self.notes {
            writeln!(f, "note       {note}")?;
        }
        for network in std::iter::once(&self.student).chain(&self.teachers).chain(&self.peers) {
            write!(f, "{:<10} {} {:?}", network.role, network.network, network.input)?;
            if let (Some(parameters), Some(macs)) = (network.parameters, network.macs) {
                write!(f, ", {parameters} parameters, {:.1} M MACs", macs as f64 / 1e6)?;
            }
            if let Some(origin) = network.origin.as_ref().filter(|origin| origin.zoo().is_none()) {
                write!(f, ", {origin}")?;
            }
            let note = match (network.own_view, network.renormalised) {
                (true, _) => ", sees the same crops in its own way",
                (_, true) => ", with its own mean and std",
                _ => "",
            };
            writeln!(f, "{note}")?;
        }
        for loss in &self.losses {
            write!(f, "loss       {}", loss.name)?;
            if loss.student != STUDENT {
                write!(f, ", {} learns", loss.student)?;
            }
            if !loss.teachers.is_empty() {
                write!(f, ", from {}", loss.teachers.join(", "))?;
            }
            if loss.views != [CLEAN] {
                write!(f, ", on {}", loss.views.join(", "))?;
            }
            if loss.parameters > 0 {
                write!(f, ", trains {} parameters of its own", loss.parameters)?;
            }
            writeln!(f)?;
            for (i, tap) in loss.student_taps.iter().enumerate() {
                write!(f, "             student {} {:?}", tap.node, tap.shape)?;
                if let Some(shape) = &tap.connected {
                    write!(f, " -> {shape:?}")?;
                }
                match loss.teacher_taps.get(i) {
                    Some(tap) => writeln!(f, " ~ teacher {} {:?}", tap.node, tap.shape)?,
                    None => writeln!(f)?,
                }
            }
        }
        write!(f, "{:>10} {:>12}", "epoch", "lr")?;
        self.losses.iter().try_for_each(|loss| write!(f, " {:>10}", loss.name))?;
        for row in &self.schedule {
            write!(f, "\n{:>10} {:>12.6}", row.epoch, row.learning_rate)?;
            row.weights.iter().try_for_each(|weight| write!(f, " {weight:>10.4}"))?;
        }
        writeln!(f)
    }
}
