//! Losses of logits as a recipe builds them: views, states, parameters, files, and what they do at their edges.

use std::collections::BTreeMap;

use attar_distill::losses::cross_entropy::cross_entropy;
use attar_distill::losses::kd::kd;
use attar_distill::losses::logits::{Spread, Standardise, smooth, standardise, swap};
use attar_distill::losses::meal::{Game, Layer, discriminate, meal, play, told_apart};
use attar_distill::losses::mlkd::{MlkdSpec, mlkd};
use attar_distill::losses::{BuildContext, Loss, LossSpec, Step, View};
use attar_distill::{Outputs, Result};
use attar_formats::write;
use attar_models::op::{GlobalAvgPool, Linear};
use attar_models::{Array, GraphBuilder, Op, Outline, Weights};
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{close, noise, number, numbers};

/// One of each loss, and of each setting that changes what it computes.
const ALL: [&str; 24] = [
    "kind = \"cross-entropy\"",
    "kind = \"pld\"",
    "kind = \"kd\"\ntemperature = 2",
    "kind = \"kd\"\ntemperature = 2\ngate = \"teacher-right\"",
    "kind = \"kd\"\ntemperature = 2\nwrong = \"drop\"\ndenominator = \"batch\"",
    "kind = \"kd\"\ntemperature = 2\nwrong = \"swap\"",
    "kind = \"kd\"\ntemperature = 2\nwrong = \"smooth\"",
    "kind = \"kd\"\ntemperature = 2\nstandardise = true",
    "kind = \"kd\"\ntemperature = 2\nstandardise = { std = \"population\", eps = 0 }",
    "kind = \"dtd\"",
    "kind = \"dtd\"\ndynamic = { by = \"cwsm\" }\nwrong = \"swap\"",
    "kind = \"dkd\"",
    "kind = \"dkd\"\nstandardise = true",
    "kind = \"nkd\"",
    "kind = \"ttm\"\ngamma = 0.2\nweighted = true",
    "kind = \"dist\"",
    "kind = \"wkd-l\"\ncost = \"equal\"",
    "kind = \"mlkd\"",
    "kind = \"ps-kd\"",
    "kind = \"tf-kd\"",
    "kind = \"tf-kd\"\ntemperature = 0.001\nright = 1",
    "kind = \"meal\"",
    "kind = \"meal\"\ndiscriminator = { game = \"joint\" }",
    "kind = \"meal\"\ndiscriminator = { game = \"adversarial\", hidden = [3] }",
];

fn network(classes: usize) -> Outline {
    let (mut builder, x) = GraphBuilder::new("tiny", [1, 1, 1]).unwrap();
    let pool = builder.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[x]).unwrap();
    let linear = Op::Linear(Linear { in_features: 1, out_features: classes, bias: true, quantized: false });
    let fc = builder.add("fc", linear, &[pool]).unwrap();
    Outline::from(&builder.finish(fc))
}

fn build(text: &str, classes: usize) -> Result<Box<dyn Loss>> {
    let spec: LossSpec = toml::from_str(text).unwrap();
    let (student, teachers) = (network(classes), [network(classes)]);
    spec.build(&BuildContext { name: "x", student: &student, teachers: &teachers, logits: &[], samples: 6, seed: 0 })
}

/// A batch: logits of the student and of one teacher, and labels.
struct Batch {
    student: Outputs,
    teachers: Vec<Outputs>,
    labels: Tensor,
    targets: Tensor,
    ids: Vec<u32>,
    params: BTreeMap<String, Tensor>,
    time: f64,
}

impl Batch {
    fn new(student: &Tensor, teacher: &Tensor, labels: &[u32]) -> Self {
        let outputs = |logits: &Tensor| Outputs { logits: logits.clone(), taps: Vec::new() };
        let classes = student.dim(1).unwrap() as u32;
        let hot = |label: &u32| (0..classes).map(|k| f64::from(u8::from(k == *label))).collect::<Vec<_>>();
        let targets = Tensor::new(labels.iter().map(hot).collect::<Vec<_>>(), &Device::Cpu).unwrap();
        Self {
            student: outputs(student),
            teachers: vec![outputs(teacher)],
            labels: Tensor::new(labels, &Device::Cpu).unwrap(),
            targets: targets.to_dtype(student.dtype()).unwrap(),
            ids: (0..labels.len() as u32).collect(),
            params: BTreeMap::new(),
            time: 1.0,
        }
    }

    /// With parameters of the loss's own, made of noise.
    fn with_params(mut self, loss: &dyn Loss) -> Self {
        let dtype = self.student.logits.dtype();
        for (i, param) in loss.params().into_iter().enumerate() {
            let value = (noise(&param.shape, i as f64) * 0.3).unwrap().to_dtype(dtype).unwrap();
            self.params.insert(param.name, Var::from_tensor(&value).unwrap().into_inner());
        }
        self
    }

    fn view<'a>(&'a self, name: &'a str) -> View<'a> {
        let Self { student, teachers, labels, targets, ids, .. } = self;
        View { name, labels, targets, ids, student, teachers }
    }

    fn step<T>(&self, see: impl FnOnce(&Step<'_>) -> T) -> T {
        let views = [self.view("clean")];
        see(&Step { views: &views, time: self.time, epochs: 4.0, params: &self.params })
    }
}

fn f32s(tensor: &Tensor) -> Tensor {
    tensor.to_dtype(DType::F32).unwrap()
}

/// The value of a loss and its gradient at the student's logits, `None` where none comes.
fn at(text: &str, student: &Tensor, teacher: &Tensor, labels: &[u32]) -> (f64, Option<Vec<f64>>) {
    let loss = build(text, student.dim(1).unwrap()).unwrap();
    let var = Var::from_tensor(student).unwrap();
    let batch = Batch::new(&var, teacher, labels).with_params(&*loss);
    let value = batch.step(|step| loss.loss(step)).unwrap();
    assert_eq!(value.rank(), 0, "{text}");
    let gradient = value.backward().unwrap().get(&var).map(numbers);
    (number(&value), gradient)
}

#[test]
fn at_the_edges_values_and_gradients_stay_finite_and_gradients_moderate() {
    let extreme = Tensor::new(&[[1e4_f32, -1e4, 0.], [-1e4, 1e4, 1e4], [0., 0., 0.]], &Device::Cpu).unwrap();
    let contrary = Tensor::new(&[[-1e4_f32, 1e4, 0.], [1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], &Device::Cpu).unwrap();
    let flat = Tensor::full(0.1_f32, (3, 3), &Device::Cpu).unwrap();
    let plain = f32s(&noise(&[3, 3], 1.0));
    let (one, two) = (f32s(&noise(&[1, 3], 2.0)), f32s(&noise(&[4, 2], 3.0)));
    let (wide, varied) = (Tensor::full(0.1_f32, (6, 10), &Device::Cpu).unwrap(), f32s(&noise(&[6, 10], 4.0)));
    let scenes: [(&str, &Tensor, &Tensor, &[u32]); 8] = [
        ("extreme", &extreme, &contrary, &[1, 0, 0]),
        ("extreme and right", &extreme, &extreme, &[0, 1, 2]),
        ("a flat student", &flat, &plain, &[0, 1, 2]),
        ("a flat teacher", &plain, &flat, &[0, 1, 2]),
        ("both flat", &flat, &flat, &[0, 1, 2]),
        ("a flat student of ten classes", &wide, &varied, &[0, 1, 2, 3, 4, 9]),
        ("one sample", &one, &one, &[1]),
        ("two classes", &two, &two, &[0, 1, 0, 1]),
    ];
    for text in ALL {
        for (scene, student, teacher, labels) in scenes {
            let (value, gradient) = at(text, student, teacher, labels);
            assert!(value.is_finite(), "{text}: {scene}: {value}");
            let gradient = gradient.unwrap();
            assert!(gradient.iter().all(|slope| slope.abs() < 1e4), "{text}: {scene}: {gradient:?}");
        }
    }
}

#[test]
fn a_student_that_answers_as_its_teacher_has_nothing_to_learn() {
    let z = noise(&[4, 5], 1.0);
    for text in ALL {
        if ["ps-kd", "tf-kd", "game", "smooth", "swap", "nkd", "wkd-l", "ttm", "pld", "cross"]
            .iter()
            .any(|word| text.contains(word))
        {
            continue; // they want something else of the student too
        }
        let (_, gradient) = at(text, &z, &z, &[0, 1, 2, 3]);
        assert!(gradient.unwrap().iter().all(|slope| slope.abs() < 1e-6), "{text}");
    }
}

#[test]
fn the_teacher_is_a_constant_of_every_loss() {
    for text in ALL {
        let loss = build(text, 4).unwrap();
        let (z, t) = (Var::from_tensor(&noise(&[3, 4], 1.0)).unwrap(), Var::from_tensor(&noise(&[3, 4], 2.0)).unwrap());
        let batch = Batch::new(&z, &t, &[3, 0, 1]).with_params(&*loss);
        let grads = batch.step(|step| loss.loss(step)).unwrap().backward().unwrap();
        assert!(grads.get(&t).is_none() && grads.get(&z).is_some(), "{text}");
    }
}

#[test]
fn a_teacher_that_is_never_right_gives_exactly_nothing_where_it_is_dropped() {
    let (z, t) = (noise(&[2, 3], 1.0), Tensor::new(&[[9.0, 0., 0.], [0., 9., 0.]], &Device::Cpu).unwrap());
    for text in ["kind = \"kd\"\ntemperature = 2\ngate = \"teacher-right\"", "kind = \"dtd\"\nwrong = \"drop\""] {
        let (value, gradient) = at(text, &z, &t, &[2, 2]);
        assert_eq!(value, 0.0);
        assert!(gradient.unwrap().iter().all(|slope| *slope == 0.0));
    }
}

#[test]
fn standardised_logits_have_mean_zero_and_deviation_one() {
    let z = f32s(&noise(&[3, 5], 1.0));
    let found = standardise(&((z.clone() * 7.0).unwrap() + 300.0).unwrap(), Spread::default()).unwrap();
    close("mean", &found.mean(1).unwrap(), &Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap(), 10.0);
    close("variance", &found.var(1).unwrap(), &Tensor::ones(3, DType::F32, &Device::Cpu).unwrap(), 1e-5);
    // A loss behind the switch reads exactly these.
    let (student, teacher) = (noise(&[3, 4], 2.0), noise(&[3, 4], 3.0));
    let (front, back) = Standardise::Switch(true).pair(&student, &teacher).unwrap();
    let expected = number(&kd(&front, &back, 2.0).unwrap());
    let (value, _) = at("kind = \"kd\"\ntemperature = 2\nstandardise = true", &student, &teacher, &[0, 1, 2]);
    assert_eq!(value, expected);
}

#[test]
fn swaps_are_exact_and_smoothed_labels_sum_to_one() {
    let t = Tensor::new(&[[1e8_f32, 1.5, -2.0], [3.0, 3.0, 0.0], [0.1, 0.2, 0.3]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[2_u32, 1, 2], &Device::Cpu).unwrap();
    let swapped = swap(&t, &labels).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(swapped, [[-2.0, 1.5, 1e8], [3.0, 3.0, 0.0], [0.1, 0.2, 0.3]]);
    let smoothed = smooth(&labels, 3, 0.1).unwrap().exp().unwrap().to_vec2::<f64>().unwrap();
    for (row, label) in smoothed.iter().zip([2, 1, 2]) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12 && (row[label] - 0.9).abs() < 1e-12, "{row:?}");
    }
}

#[test]
fn the_past_of_ps_kd_is_told_by_sample_and_survives_a_checkpoint() {
    let text = "kind = \"ps-kd\"\nalpha = 0.5";
    let (mut loss, mut reborn) = (build(text, 3).unwrap(), build(text, 3).unwrap());
    let (first, second) = (f32s(&noise(&[2, 3], 1.0)), f32s(&noise(&[2, 3], 2.0)));
    let mut batch = Batch::new(&first, &first, &[0, 2]);
    batch.ids = vec![4, 1];
    let fresh = cross_entropy(&first, &batch.targets, 0.0).unwrap();
    close("nothing to recall", &batch.step(|step| loss.loss(step)).unwrap(), &fresh, 1e-6);
    batch.step(|step| loss.after(step)).unwrap();

    // Two epochs on (of 4), the same samples in another order, and one that was not seen.
    let mut later =
        Batch::new(&Tensor::cat(&[&second, &second.narrow(0, 0, 1).unwrap()], 0).unwrap(), &second, &[2, 0, 1]);
    (later.ids, later.time) = (vec![1, 4, 5], 2.75);
    let p = softmax(&first);
    let past = Tensor::cat(
        &[&p.narrow(0, 1, 1).unwrap(), &p.narrow(0, 0, 1).unwrap(), &later.targets.narrow(0, 2, 1).unwrap()],
        0,
    );
    let mixed = ((&later.targets * 0.75).unwrap() + (past.unwrap() * 0.25).unwrap()).unwrap();
    let expected = cross_entropy(&later.student.logits, &mixed, 0.0).unwrap();
    close("recalled", &later.step(|step| loss.loss(step)).unwrap(), &expected, 1e-6);
    reborn.load(loss.state().unwrap()).unwrap();
    close("reborn", &later.step(|step| reborn.loss(step)).unwrap(), &expected, 1e-6);

    later.ids = vec![1, 4, 6];
    let message = later.step(|step| loss.loss(step)).unwrap_err().to_string();
    assert!(message.contains("sample 6 is beyond"), "{message}");
    assert!(later.step(|step| loss.after(step)).is_err());
    for state in [BTreeMap::new(), BTreeMap::from([("past".to_owned(), first.clone())])] {
        let message = reborn.load(state).unwrap_err().to_string();
        assert!(message.contains("`past` of shape [6, 3]"), "{message}");
    }
}

/// Softmax of moderate logits, the plain way.
fn softmax(logits: &Tensor) -> Tensor {
    let e = logits.exp().unwrap();
    e.broadcast_div(&e.sum_keepdim(1).unwrap()).unwrap()
}

#[test]
fn mlkd_reads_the_views_it_is_given_and_its_quirks_need_two() {
    let (weak, strong) = (noise(&[4, 3], 1.0), noise(&[4, 3], 2.0));
    let (weak_t, strong_t) = (noise(&[4, 3], 3.0), noise(&[4, 3], 4.0));
    let batches = [Batch::new(&weak, &weak_t, &[0, 1, 2, 0]), Batch::new(&strong, &strong_t, &[0, 1, 2, 0])];
    let views = [batches[0].view("weak"), batches[1].view("strong")];
    let params = BTreeMap::new();
    let step = |views| Step { views, time: 1.0, epochs: 4.0, params: &params };
    for quirks in [false, true] {
        let loss = build(&format!("kind = \"mlkd\"\nquirks = {quirks}"), 3).unwrap();
        let spec = MlkdSpec { quirks, ..MlkdSpec::default() };
        let expected = mlkd(&[(&weak, &weak_t), (&strong, &strong_t)], &spec).unwrap();
        assert_eq!(number(&loss.loss(&step(&views)).unwrap()), number(&expected));
        let one = loss.loss(&step(&views[..1]));
        assert_eq!(one.is_ok(), !quirks, "{one:?}");
    }
}

#[test]
fn in_the_adversarial_game_each_player_has_its_own_gradient() {
    let loss =
        build("kind = \"meal\"\ndiscriminator = { game = \"adversarial\", weight = 2, hidden = [3] }", 4).unwrap();
    let names: Vec<String> = loss.params().into_iter().map(|param| param.name).collect();
    let expected = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"].map(|name| format!("discriminator.{name}"));
    assert_eq!(names, expected);
    let (z, t) = (Var::from_tensor(&noise(&[3, 4], 1.0)).unwrap(), noise(&[3, 4], 2.0));
    let batch = Batch::new(&z, &t, &[0, 1, 2]).with_params(&*loss);
    let grads = batch.step(|step| loss.loss(step)).unwrap().backward().unwrap();
    let param = |name: &str| batch.params[&format!("discriminator.{name}")].clone();
    let layers: Vec<Layer> = vec![(param("fc1.weight"), param("fc1.bias")), (param("fc2.weight"), param("fc2.bias"))];

    // The student: its teachers' answers, and to be taken for one of them.
    let fooled = told_apart(&discriminate(&z, &layers, false).unwrap(), true).unwrap();
    let own = (meal(&z, &[&t]).unwrap() + (fooled * 2.0).unwrap()).unwrap().backward().unwrap();
    close("student", grads.get(&z).unwrap(), own.get(&z).unwrap(), 1e-12);
    // The discriminator: to tell them apart. Fooling is not its business.
    let apart = [(z.detach(), false), (t.clone(), true)]
        .map(|(logits, is_teacher)| told_apart(&discriminate(&logits, &layers, false).unwrap(), is_teacher).unwrap());
    let apart = (&apart[0] + &apart[1]).unwrap().backward().unwrap();
    for name in &names {
        close(name, grads.get(&batch.params[name]).unwrap(), apart.get(&batch.params[name]).unwrap(), 1e-12);
    }
    // In the authors' game both climb down the same hill.
    let joint = play(Game::Joint, &z, &t, &layers).unwrap().backward().unwrap();
    assert!(joint.get(&z).is_some() && joint.get(&layers[0].0).is_some());
}

#[test]
fn the_discriminators_widths_follow_the_classes() {
    let shapes = |classes: usize, text: &str| -> Vec<Vec<usize>> {
        build(text, classes).unwrap().params().into_iter().map(|param| param.shape).collect()
    };
    let text = "kind = \"meal\"\ndiscriminator = { game = \"joint\" }";
    assert_eq!(shapes(1000, text), [vec![125, 1000], vec![125], vec![15, 125], vec![15], vec![2, 15], vec![2]]);
    assert_eq!(shapes(10, text)[2], [8, 8]);
    assert!(shapes(10, "kind = \"meal\"").is_empty());
}

#[test]
fn costs_come_from_a_file_and_say_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.safetensors");
    let array = |shape: &[usize], data: Vec<f32>| Array::new(shape.to_vec(), data).unwrap();
    let weights = Weights(BTreeMap::from([
        ("fc.weight".to_owned(), array(&[3, 2], vec![1.0, 0.0, 1.0, 0.0, 0.0, 5.0])),
        ("broken".to_owned(), array(&[3, 3], vec![f32::NAN; 9])),
    ]));
    write::safetensors(&path, &weights, &BTreeMap::new()).unwrap();
    let text = |tensor: &str, holds: &str| {
        format!(
            "kind = \"wkd-l\"\ncost = {{ file = {path:?}, tensor = \"{tensor}\", holds = \"{holds}\" }}\ntarget = 0"
        )
    };
    // The first two classes are the same: between them earth moves for nothing.
    let far = Tensor::new(&[[3.0, 0.0, 0.0]], &Device::Cpu).unwrap();
    let near = Tensor::new(&[[0.0, 3.0, 0.0]], &Device::Cpu).unwrap();
    let (value, _) = at(&text("fc.weight", "prototypes"), &far, &near, &[2]);
    assert!(value.abs() < 1e-5, "{value}");
    let (value, _) = at("kind = \"wkd-l\"\ncost = \"equal\"\ntarget = 0", &far, &near, &[2]);
    assert!(value > 1.0, "{value}");

    for (text, expected) in [
        (text("fc.weights", "prototypes"), "losses.x.loss.cost.tensor: "),
        (text("fc.weights", "prototypes"), "did you mean `fc.weight`?"),
        (text("fc.weight", "distances"), "is [3, 2], expected distances [3, 3]"),
        (text("fc.weight", "features"), "expected features [3, n, D]"),
        (text("broken", "distances"), "is not finite"),
        (text("x", "distances").replace("teacher.s", "nobody.s"), "losses.x.loss.cost.file: "),
    ] {
        let message = build(&text, 3).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn settings_out_of_range_are_told() {
    for (text, expected) in [
        ("kind = \"kd\"\ntemperature = 2\nepsilon = 1", "losses.x.loss.epsilon: 1, expected a share between 0 and 1"),
        ("kind = \"kd\"\ntemperature = 2\nstandardise = { eps = -1 }", "losses.x.loss.standardise.eps"),
        ("kind = \"dtd\"\ndynamic = { by = \"cwsm\", least = 5 }", "dynamic.least: 5 is above the mean temperature 4"),
        ("kind = \"dtd\"\ndynamic = { by = \"flsw\", gamma = 0 }", "losses.x.loss.dynamic.gamma"),
        ("kind = \"dkd\"\nbeta = -1", "losses.x.loss.beta"),
        ("kind = \"nkd\"\ntemperature = 0", "losses.x.loss.temperature"),
        ("kind = \"ttm\"\ngamma = 0", "losses.x.loss.gamma"),
        ("kind = \"wkd-l\"\ncost = \"equal\"\niterations = 0", "losses.x.loss.iterations: 0, expected 1 to"),
        ("kind = \"mlkd\"\ntemperatures = []", "losses.x.loss.temperatures: the list is empty"),
        ("kind = \"mlkd\"\ntemperatures = [1, 0]", "losses.x.loss.temperatures"),
        ("kind = \"tf-kd\"\nright = 1.5", "losses.x.loss.right: 1.5 is not in (0, 1]"),
        ("kind = \"tf-kd\"\nright = 0.2", "losses.x.loss.right: 0.2 is not above 1/4"),
        ("kind = \"ps-kd\"\nalpha = 2", "losses.x.loss.alpha: 2 is not in [0, 1]"),
        ("kind = \"meal\"\ndiscriminator = { game = \"joint\", hidden = [0] }", "losses.x.loss.discriminator.hidden"),
    ] {
        let message = build(text, 4).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
    for kind in ["dkd", "nkd"] {
        let message = build(&format!("kind = \"{kind}\""), 1).unwrap_err().to_string();
        assert!(message.contains("a single class"), "{message}");
    }
}

/// A loss of logits that is forgotten here has not been seen at its edges.
#[test]
fn every_loss_of_logits_is_among_them() {
    for entry in attar_distill::losses::catalog() {
        let listed = |text: &&str| text.lines().any(|line| line == format!("kind = \"{}\"", entry.kind));
        let spec = toml::from_str::<LossSpec>(&format!("kind = \"{}\"", entry.kind));
        // Those that read features cannot be built on a network without stages, or name taps.
        let Some(loss) = spec.ok().and_then(|_| build(&format!("kind = \"{}\"", entry.kind), 4).ok()) else { continue };
        if loss.taps().student.is_empty() {
            assert!(ALL.iter().any(listed), "{}", entry.kind);
        }
    }
}
