//! Who does what: peers, views and losses of a recipe, fitted to what is known of the teachers, which may be still to come.

use std::collections::BTreeMap;

use attar_models::{Outline, ValueKind};

use super::data::PlannedData;
use super::ground::{Ground, build_network};
use super::ids::{LossId, StudentId, Table, TeacherId, ViewId};
use super::losses::PlannedLoss;
use super::participants::{KnownTeacher, KnownView, Participants};
use super::residence::Residence;
use super::views::PlannedView;
use super::{PlannedPeer, fail, idle, training};
use crate::error::Result;
use crate::losses::AnyLoss;
use crate::recipe::{LossSection, PeerSection, Recipe, ViewKind, ViewSection};

/// A recipe's parts, each with a role.
pub(super) struct Arrangement {
    pub(super) participants: Participants,
    pub(super) peers: Vec<PlannedPeer>,
    pub(super) views: Table<ViewId, PlannedView>,
    pub(super) losses: Table<LossId, PlannedLoss>,
    pub(super) residence: Residence,
    /// What people should know of unusual settings of training.
    pub(super) remarks: Vec<String>,
}

impl Arrangement {
    /// Fits everything together, with the losses that a program gave by their names. What does nothing is an error unless `allow_idle`.
    pub(super) fn of(
        recipe: &Recipe,
        ground: &Ground,
        teachers: Table<TeacherId, KnownTeacher>,
        mut given: BTreeMap<String, AnyLoss>,
        allow_idle: bool,
    ) -> Result<Self> {
        let data = &ground.data;
        let peer = |section: &PeerSection| {
            let (_, graph) = build_network(&section.network, &format!("peers.{}.network", section.name), data)?;
            Ok(PlannedPeer { name: section.name.clone(), graph })
        };
        let peers = recipe.peers.iter().map(peer).collect::<Result<Vec<_>>>()?;
        let participants = participants(recipe, data, ground.outline(), &peers, teachers);
        let mut views = Table::from_iter([PlannedView::clean()]);
        for section in &recipe.views {
            views.push(PlannedView::check(section, &participants, &data.pipeline)?);
            data.check_view(section, recipe.seed)?;
        }
        let fit = |section: &LossSection| match given.remove(&section.name) {
            None => participants.fit(section),
            Some(loss) => participants.fit_given(section, loss),
        };
        let losses: Table<LossId, PlannedLoss> = recipe.losses.iter().map(fit).collect::<Result<_>>()?;
        everybody_has_a_part(&participants, &losses)?;
        training::check(recipe, data, &losses)?;
        let moves = training::moves(recipe, ground, &peers, &losses)?;
        let remarks = training::notes(recipe, &ground.student, &moves);
        if !allow_idle {
            idle::check(recipe, data.train.len().div_ceil(recipe.train.batch), &losses, &views, &participants)?;
        }
        check_last_batch(recipe, data.train.len(), &participants, &losses)?;
        let residence = Residence::decide(recipe, data, participants.with_own_pixels(), ground.device.is_cuda())?;
        Ok(Self { participants, peers, views, losses, residence, remarks })
    }
}

/// Everybody that a loss may name.
fn participants(
    recipe: &Recipe,
    data: &PlannedData,
    student: Outline,
    peers: &[PlannedPeer],
    teachers: Table<TeacherId, KnownTeacher>,
) -> Participants {
    let view = |section: &ViewSection| KnownView {
        name: section.name.clone(),
        mixes: match section.kind {
            ViewKind::Mixup { .. } | ViewKind::Cutmix { .. } | ViewKind::Extracurricular { .. } => true,
            ViewKind::Augmented { .. } | ViewKind::Adversarial { .. } => false,
        },
        attacked: matches!(section.kind, ViewKind::Adversarial { .. }),
    };
    let mut participants = Participants::plain(student, &[], data.train.len(), recipe.seed);
    participants.teachers = teachers;
    participants.classes = data.classes().to_vec();
    participants.counts = counts(data);
    peers.iter().for_each(|peer| participants.add_peer(&peer.name, &peer.graph));
    participants.views.extend(recipe.views.iter().map(view));
    participants
}

/// Training images of each class.
fn counts(data: &PlannedData) -> Vec<usize> {
    let mut counts = vec![0; data.classes().len()];
    for label in data.train.labels() {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    counts
}

/// Nobody is brought on for nothing.
fn everybody_has_a_part(participants: &Participants, losses: &Table<LossId, PlannedLoss>) -> Result<()> {
    let learns = |student: StudentId| losses.rows().any(|loss| loss.student == student);
    if let Some((id, student)) = participants.students.iter().find(|(id, _)| !learns(*id)) {
        return Err(match id {
            StudentId::EXPORTED => fail("losses", "the student learns from none of them"),
            _ => {
                let problem = "learns from no loss; name it as the `student` of one";
                fail(&format!("peers.{}", student.name), problem)
            }
        });
    }
    let is_read = |view: ViewId| view == ViewId::CLEAN || losses.rows().any(|loss| loss.views.contains(&view));
    match participants.views.iter().find(|(id, _)| !is_read(*id)) {
        None => Ok(()),
        Some((_, view)) => {
            Err(fail(&format!("views.{}", view.name), "is read by no loss; name it as the `view` of one"))
        }
    }
}

/// A batch norm needs two values a channel. Where maps have shrunk to one position, a last batch of one image has one,
/// and the first epoch would end in an error.
fn check_last_batch(
    recipe: &Recipe,
    images: usize,
    participants: &Participants,
    losses: &Table<LossId, PlannedLoss>,
) -> Result<()> {
    let batch = recipe.train.batch;
    let (smallest, last) = match images % batch {
        0 => (batch, "every batch"),
        rest => (rest, "the last batch of an epoch"),
    };
    if smallest > 1 {
        return Ok(());
    }
    let students = participants.students.rows().map(|student| student.outline.clone());
    let taps = losses.rows().flat_map(|loss| &loss.taps.student);
    let connectors = taps.filter_map(|tap| tap.connector.as_ref()).map(|connector| Outline::from(&connector.graph));
    let teachers = participants.teachers.rows().filter(|teacher| teacher.batch_statistics);
    let teachers = teachers.map(|teacher| teacher.outline.clone());
    for network in students.chain(connectors).chain(teachers) {
        let mut norms = network.values().iter().filter(|value| value.kind == ValueKind::BatchNorm);
        if let Some(norm) = norms.find(|norm| norm.shape.iter().skip(1).product::<usize>() == 1) {
            let problem = format!(
                "{last} holds one image, of which `{}` in `{}` sees one value a channel and cannot normalise it\n  hint: choose another batch size",
                norm.name,
                network.name()
            );
            return Err(fail("train.batch", problem));
        }
    }
    Ok(())
}
