//! The gradients of a whole step, student and connectors together, against finite differences of its loss.

use std::collections::BTreeSet;

use attar_data::Pipeline;
use attar_exec::{Context, Network, Params};
use attar_models::zoo::{NetworkSpec, build};

use attar_models::{Graph, Outline, generated};
use candle_core::Device;

mod features;
mod many;

use super::*;
use crate::plan::{Id, KnownTeacher, KnownView, Participants, StudentId, taps_of};
use crate::recipe::{PLAIN, Recipe, TeacherNorm, Update};
use crate::run::step::teachers::RunningTeacher;
use crate::teacher::ZooTeacher;

const LOSSES: [(&str, &str, &str); 3] = [
    ("ce", "1.0", r#"{ kind = "cross-entropy", label_smoothing = 0.1 }"#),
    ("kd", "{ at = [[1, 0.5], [2, 0.0]] }", r#"{ kind = "kd", temperature = 2.0 }"#),
    ("cd", "3.0", r#"{ kind = "channel" }"#),
];

/// A peer that learns from labels and from the student, which learns from it; and a mixed view in which the student follows
/// the teacher.
const CAST: &str = r#"
    [[peers]]
    name = "peer"
    network = { name = "resnet8" }
    [[views]]
    name = "mixed"
    kind = "mixup"
    [[losses]]
    name = "peer-ce"
    student = "peer"
    weight = 1.0
    loss = { kind = "cross-entropy" }
    [[losses]]
    name = "mutual"
    teacher = "peer"
    weight = 0.5
    loss = { kind = "kd", temperature = 1.0 }
    [[losses]]
    name = "peer-mutual"
    student = "peer"
    teacher = "student"
    weight = 0.5
    loss = { kind = "kd", temperature = 1.0 }
    [[losses]]
    name = "mixed-kd"
    teacher = "t"
    view = "mixed"
    weight = 1.0
    loss = { kind = "kd", temperature = 2.0 }
"#;

fn recipe_with(more: &str) -> Recipe {
    let mut text = PLAIN.to_owned();
    for (name, weight, loss) in LOSSES {
        text += &format!("\n[[losses]]\nname = \"{name}\"\nweight = {weight}\nloss = {loss}\n");
    }
    Recipe::parse(&(text + more), &[]).unwrap()
}

fn recipe() -> Recipe {
    recipe_with("")
}

fn graph(name: &str) -> Graph {
    build(&NetworkSpec::new(name, 3, [1, 12, 12])).unwrap()
}

fn learner(recipe: &Recipe) -> Learner {
    let (student, teacher) = (graph("resnet8"), graph("resnet14"));
    let mut everybody = Participants::plain(&student, &[], 6, recipe.seed);
    let t = everybody.teachers.push(KnownTeacher::whole("t", Outline::from(&teacher)));
    let view = |name: &String| KnownView { name: name.clone(), mixes: false, attacked: false };
    everybody.views.extend(recipe.views.iter().map(|section| view(&section.name)));
    recipe.peers.iter().for_each(|peer| everybody.add_peer(&peer.name, &graph(&peer.network.name)));
    let losses = recipe.losses.iter().map(|section| everybody.fit(section).unwrap()).collect();
    let taps = taps_of(&losses, t);
    let pipeline = Pipeline::new(Vec::new(), recipe.data.preprocessing.clone());
    let view = |section| PlannedView::check(section, &everybody, &pipeline).unwrap();
    let params = Params::init(&student, 1, "", &Device::Cpu).unwrap();
    let network = Network::new(student.clone(), params, &Device::Cpu).unwrap();
    let weights = generated::weights(&teacher, 2);
    let zoo = ZooTeacher::new(&teacher, &weights, TeacherNorm::Running, &taps, &Context::new(&Device::Cpu)).unwrap();
    let teachers = Teachers(Table::from_iter([RunningTeacher::plain("t", Box::new(zoo))]));
    let mut parts = Parts::plain(network, teachers, losses, pipeline.preprocessing.clone());
    parts.views.extend(recipe.views.iter().map(view));
    for peer in &recipe.peers {
        parts.peers.push(Student::peer(&peer.name, graph(&peer.network.name), recipe.seed, &Device::Cpu).unwrap());
    }
    Learner::new(&recipe.train, recipe.seed, parts).unwrap()
}

fn batch() -> Batch {
    let pixels = (0..6 * 144).map(|i| ((i * 7919) % 211) as f32 / 100.0 - 1.0).collect();
    Batch { pixels, shape: [6, 1, 12, 12], labels: vec![0, 1, 2, 0, 1, 2], ids: (0..6).collect() }
}

fn loaded(learner: &Learner) -> Loaded {
    learner.loaded_from(&[batch()]).unwrap()
}

fn at(epoch: usize) -> Position {
    Position { epoch, step: 0, part: 0, steps_per_epoch: 10 }
}

/// Gradients by the full names of their parameters.
fn named(learner: &Learner, gradients: &Slots) -> BTreeMap<String, Tensor> {
    let all = learner.students.gather().unwrap();
    gradients.iter().map(|(slot, gradient)| (all.name(slot).to_owned(), gradient.clone())).collect()
}

/// The loss with every parameter in `group` moved by `by` times its gradient.
fn moved(recipe: &Recipe, learner: &Learner, gradients: &BTreeMap<String, Tensor>, group: &str, by: f64) -> f64 {
    let mut all = learner.students.gather().unwrap();
    for (name, gradient) in gradients.iter().filter(|(name, _)| name.starts_with(group)) {
        let value = (all.get(name).unwrap() + (gradient * by).unwrap()).unwrap();
        all.set(name, value).unwrap();
    }
    let mut other = self::learner(recipe);
    other.students.scatter(&all).unwrap();
    let batches = loaded(&other);
    other.differentiate(Turn::Everybody, &batches, at(1)).unwrap().loss
}

/// The slope of the loss along its gradient in each group of parameters is the squared length of the gradient.
fn gradients_tell_slopes(recipe: &Recipe, groups: &[&str]) {
    let mut learner = learner(recipe);
    let start = learner.students.gather().unwrap();
    let batches = loaded(&learner);
    let gradients = learner.differentiate(Turn::Everybody, &batches, at(1)).unwrap().gradients;
    let gradients = named(&learner, &gradients);
    learner.students.scatter(&start).unwrap();
    for group in groups {
        let own = gradients.iter().filter(|(name, _)| name.starts_with(group));
        let squared: f64 =
            own.map(|(_, g)| f64::from(g.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap())).sum();
        assert!(squared > 0.0, "nothing reaches `{group}`");
        // Short, for the network is full of kinks: the quotient tends to 1 as the way gets shorter (0.94 at 2e-3 for
        // the first layer), until rounding takes over.
        let by = 1e-4 / squared.sqrt();
        let moved = |by| moved(recipe, &learner, &gradients, group, by);
        let slope = (moved(by) - moved(-by)) / (2.0 * by);
        assert!((slope / squared - 1.0).abs() < 0.015, "`{group}`: slope {slope}, gradient says {squared}");
    }
}

#[test]
fn a_step_along_the_gradient_changes_the_loss_as_the_gradient_says() {
    gradients_tell_slopes(&recipe(), &["", "losses.cd.", "conv1", "layer1", "layer3", "fc"]);
}

/// What one learns from the other is a constant, so that only one of two mutual losses may stand in this test.
#[test]
fn views_and_peers_add_their_gradients() {
    let mut recipe = recipe_with(CAST);
    recipe.losses.retain(|loss| !loss.name.contains("mutual"));
    gradients_tell_slopes(&recipe, &["", "peers.peer.", "peers.peer.layer1", "layer1", "fc", "losses.cd."]);
    let mut learner = learner(&recipe);
    let batches = loaded(&learner);
    let both = learner.differentiate(Turn::Everybody, &batches, at(1)).unwrap();
    let terms = both.terms.len();
    assert_eq!(terms, 5);
}

#[test]
fn who_teaches_is_a_constant_and_who_learns_moves() {
    let mut recipe = recipe_with(CAST);
    recipe.losses.retain(|loss| loss.name == "peer-mutual");
    let mut learner = learner(&recipe);
    let batches = loaded(&learner);
    let gradients = learner.differentiate(Turn::Everybody, &batches, at(1)).unwrap().gradients;
    let gradients = named(&learner, &gradients);
    let moves = |prefix: &str| {
        let own = gradients.iter().filter(|(name, _)| name.starts_with(prefix));
        own.map(|(_, g)| g.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sum::<f32>()
    };
    assert!(moves("peers.") > 0.0);
    assert_eq!(moves("conv1") + moves("layer") + moves("fc"), 0.0);
}

/// A step of turns is a step in which only the student moves, and then one in which only the peer does.
#[test]
fn in_turn_a_peer_learns_from_the_student_that_has_moved() {
    let all = |learner: &Learner| {
        let weights = learner.students.gather().unwrap().to_weights().unwrap();
        weights.0.into_iter().map(|(name, array)| (name, array.into_vec::<f32>().unwrap())).collect::<BTreeMap<_, _>>()
    };
    let recipe = recipe_with(CAST);
    let mut in_turn = recipe.clone();
    in_turn.train.update = Update::InTurn;
    let (mut one, mut other, mut at_once) = (learner(&in_turn), learner(&recipe), learner(&recipe));
    let outcome = one.step(&[batch()], at(1)).unwrap();
    let together = at_once.step(&[batch()], at(1)).unwrap();
    for student in [StudentId::EXPORTED, StudentId::at(1)] {
        let mut silenced = Vec::new();
        for loss in other.objective.losses.rows_mut().filter(|loss| loss.student != student) {
            silenced.push((loss.name.clone(), std::mem::replace(&mut loss.weight, 0.0.into())));
        }
        other.step(&[batch()], at(1)).unwrap();
        for (name, weight) in silenced {
            other.objective.losses.rows_mut().find(|loss| loss.name == name).unwrap().weight = weight;
        }
    }
    assert_eq!(all(&one), all(&other));
    let (one, at_once) = (all(&one), all(&at_once));
    assert_eq!(one["fc.weight"], at_once["fc.weight"], "the student learns from the peer as it was");
    assert_ne!(one["peers.peer.fc.weight"], at_once["peers.peer.fc.weight"]);
    assert_eq!(outcome.terms.keys().collect::<Vec<_>>(), together.terms.keys().collect::<Vec<_>>());
    assert_eq!((outcome.terms["mutual"], outcome.correct), (together.terms["mutual"], together.correct));
    assert!(outcome.loss.is_finite() && outcome.gradient_norm > 0.0);
}

#[test]
fn every_view_is_made_and_the_same_at_the_same_step() {
    let views = r#"
        [[views]]
        name = "cut"
        kind = "cutmix"
        [[views]]
        name = "attacked"
        kind = "adversarial"
        [[views]]
        name = "against-teacher"
        kind = "adversarial"
        against = "t"
        steps = 1
        step = 0.1
        epsilon = 0.1
        random_start = false
        climb = "labels"
        [[views]]
        name = "beyond"
        kind = "extracurricular"
    "#;
    let mut learner = learner(&recipe_with(views));
    let used: BTreeSet<ViewId> = (0..5).map(ViewId::at).collect();
    let mut make = |at: Position| {
        let loaded = learner.loaded_from(&[batch()]).unwrap();
        let Learner { views, students, teachers, .. } = &mut learner;
        views.make(&loaded, &used, students, teachers, at).unwrap()
    };
    let (made, again) = (make(at(1)), make(at(1)));
    let pixels = |batch: &ViewBatch| batch.x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let clean = pixels(&made[&ViewId::CLEAN]);
    for (id, batch) in &made {
        assert_eq!(pixels(batch), pixels(&again[id]), "{id:?}");
        assert_eq!(batch.x.dims(), [6, 1, 12, 12]);
        assert!(*id == ViewId::at(1) || (*id == ViewId::CLEAN) == (pixels(batch) == clean), "{id:?}");
    }
    let largest = |batch: &ViewBatch| pixels(batch).iter().zip(&clean).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Normalised with mean 0 and std 1, and images reach beyond black: moving into the range is no harm.
    assert!(largest(&made[&ViewId::at(3)]) <= 1.0 + 1e-6);
    // A box may be empty, but not at every step.
    let mut cut = |step| pixels(&make(Position { step, ..at(1) })[&ViewId::at(1)]);
    assert!((0..5).any(|step| cut(step) != clean));
}

/// In epoch 2 KD is off; without a need nobody asks the teacher, and what no gradient reaches gets zeros.
#[test]
fn a_weight_of_zero_switches_a_loss_off() {
    let mut learner = learner(&recipe());
    let outcome = learner.step(&[batch()], at(2)).unwrap();
    assert_eq!(outcome.terms.keys().collect::<Vec<_>>(), ["cd", "ce"]);
    assert_eq!(outcome.weights["kd"], 0.0);

    for loss in learner.objective.losses.rows_mut().filter(|loss| !loss.teachers.is_empty()) {
        loss.weight = 0.0.into();
    }
    learner.teachers.0 = Table::default();
    let batches = loaded(&learner);
    let found = learner.differentiate(Turn::Everybody, &batches, at(1)).unwrap();
    assert_eq!(found.terms.len(), 1);
    assert!(named(&learner, &found.gradients).keys().all(|name| !name.starts_with("losses.")));

    learner.objective.losses[LossId::at(0)].weight = 0.0.into();
    let batches = loaded(&learner);
    let nothing = learner.differentiate(Turn::Everybody, &batches, at(1)).unwrap();
    let is_zero = |g: &Tensor| g.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() == 0.0;
    assert!(
        nothing.loss == 0.0
            && !nothing.gradients.is_empty()
            && nothing.gradients.iter().all(|(_, gradient)| is_zero(gradient))
    );
}
