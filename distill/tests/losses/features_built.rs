//! Losses of features as recipes build them: which taps they read, through which regressors, and what does not fit.

use std::collections::BTreeMap;

use attar_distill::losses::at::at;
use attar_distill::losses::fitnets::hint;
use attar_distill::losses::vid::vid;
use attar_distill::losses::wkd_f::wkd_f;
use attar_distill::losses::{BuildContext, Init, Loss, LossSpec, Step, View};
use attar_distill::{Network, Outputs, Params, Result};
use attar_measures::random::Stream;
use attar_models::op::{Conv2d, Dropout, GlobalAvgPool, Linear};
use attar_models::{GraphBuilder, NodeId, Op, Outline};
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{against_pytorch, by_differences, cases, close, noise, number};

/// Stages of these shapes `[C, H, W]`, each the output of a convolution; then mean, dropout, linear.
fn network(name: &str, shapes: &[[usize; 3]]) -> Outline {
    let (mut builder, mut at) = GraphBuilder::new(name, [3, 16, 16]).unwrap();
    let mut from = [3, 16, 16];
    for (i, &to) in shapes.iter().enumerate() {
        let mut conv = Conv2d::square(from[0], to[0], 1, 1, 0);
        conv.kernel = [1 + from[1] - to[1], 1 + from[2] - to[2]];
        at = builder.add(format!("layer{}.conv", i + 1), Op::Conv2d(conv), &[at]).unwrap();
        builder.stage(format!("layer{}", i + 1), at);
        from = to;
    }
    at = builder.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[at]).unwrap();
    at = builder.add("dropout", Op::Dropout(Dropout { p: 0.5 }), &[at]).unwrap();
    let linear = Op::Linear(Linear { in_features: from[0], out_features: 5, bias: true, quantized: false });
    let fc = builder.add("fc", linear, &[at]).unwrap();
    Outline::from(&builder.finish(fc))
}

/// A network with one stage, its input.
fn one_map([channels, height, width]: [usize; 3]) -> Outline {
    let (mut builder, x) = GraphBuilder::new("one-map", [channels, height, width]).unwrap();
    builder.stage("layer1", x);
    let pool = builder.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[x]).unwrap();
    Outline::from(&builder.finish(pool))
}

fn build(text: &str, student: &Outline, teacher: &Outline) -> Result<Box<dyn Loss>> {
    let spec: LossSpec = toml::from_str(text).unwrap();
    let teachers = [teacher.clone()];
    spec.build(&BuildContext { name: "x", student, teachers: &teachers, logits: &[], samples: 10, seed: 0 })
}

fn kind(name: &str) -> String {
    format!("kind = \"{name}\"\n")
}

#[test]
fn each_reads_the_taps_that_its_paper_reads() {
    let student = network("small", &[[4, 16, 16], [6, 8, 8], [8, 4, 4]]);
    let teacher = network("large", &[[4, 16, 16], [8, 16, 16], [12, 8, 8]]);
    let fourth = network("deep", &[[4, 16, 16], [8, 8, 8], [8, 4, 4], [9, 2, 2]]);
    let names = |graph: &Outline, nodes: &[NodeId]| -> Vec<String> {
        nodes.iter().map(|id| graph.value(*id).name.clone()).collect()
    };
    let all = ["layer1.conv", "layer2.conv", "layer3.conv"];
    for (name, expected, connected) in [
        ("fitnets", &all[1..2], true),
        ("at", &all[..], false),
        ("sp", &all[2..], false),
        ("rkd", &["avgpool"], false),
        ("pkt", &["avgpool"], false),
        ("nst", &all[..], false),
        ("vid", &all[..], true),
        ("wkd-f", &all[2..], true),
    ] {
        let taps = build(&kind(name), &student, &teacher).unwrap().taps();
        assert_eq!(taps.teachers.len(), 1);
        let own: Vec<NodeId> = taps.student.iter().map(|tap| tap.node).collect();
        assert_eq!(names(&student, &own), expected, "{name}");
        assert_eq!(names(&teacher, &taps.teachers[0]), expected, "{name}");
        assert!(taps.student.iter().all(|tap| tap.connector.is_some() == connected), "{name}");
    }
    // Each network's own middle, last and penultimate; of four stages the second is the middle.
    for (name, expected) in [("fitnets", "layer2.conv"), ("sp", "layer4.conv"), ("rkd", "avgpool")] {
        let taps = build(&kind(name), &student, &fourth).unwrap().taps();
        assert_eq!(names(&fourth, &taps.teachers[0]), [expected], "{name}");
    }
}

#[test]
fn regressors_end_in_the_teachers_shape_or_keep_the_smaller_size() {
    let teacher = [7, 8, 8];
    for (name, settings, own, expected) in [
        ("fitnets", "", [4, 8, 8], [7, 8, 8]),
        ("fitnets", "", [4, 16, 16], [7, 8, 8]),
        ("fitnets", "", [4, 11, 9], [7, 8, 8]),
        ("fitnets", "", [4, 4, 16], [7, 4, 8]),
        ("vid", "", [4, 16, 24], [7, 8, 8]),
        ("vid", "", [4, 3, 8], [7, 3, 8]),
        ("wkd-f", "", [4, 16, 5], [7, 16, 5]),
        ("wkd-f", "projector = \"bottleneck\"", [4, 8, 8], [7, 8, 8]),
    ] {
        let loss = build(&(kind(name) + settings), &one_map(own), &one_map(teacher)).unwrap();
        let connector = loss.taps().student[0].connector.clone().unwrap();
        assert_eq!(connector.name, "layer1");
        assert_eq!(connector.graph.output_shape(), expected, "{name} {own:?}");
    }
}

#[test]
fn vid_trains_a_variance_a_channel_that_starts_as_written() {
    let (student, teacher) = (one_map([2, 2, 2]), one_map([3, 2, 2]));
    for (text, variance) in [("", 5.0), ("variance = 0.01", 0.01), ("variance = 200", 200.0)] {
        let params = build(&(kind("vid") + text), &student, &teacher).unwrap().params();
        assert_eq!((params[0].name.as_str(), params[0].shape.as_slice()), ("layer1-scale", &[3][..]));
        let Init::Constant(scale) = params[0].init else { panic!("{:?}", params[0].init) };
        // Where prediction and teacher agree, the loss is log(variance) / 2.
        let map = noise(&[1, 3, 2, 2], 1.0);
        let scales = Tensor::full(scale, 3, &Device::Cpu).unwrap();
        let value = number(&vid(&map, &map, &scales).unwrap());
        assert!((2.0 * value - f64::ln(variance)).abs() < 1e-9, "{variance}: {value}");
    }
}

#[test]
fn gradients_pass_the_regressors_as_in_pytorch() {
    for (case, settings, tensors) in cases("features", "regressor") {
        let shape = |name: &str| <[usize; 3]>::try_from(&tensors[name].dims()[1..]).unwrap();
        let (student, teacher) = (one_map(shape("features")), one_map(shape("teacher")));
        let loss = build(&kind(settings["loss"].as_str().unwrap()), &student, &teacher).unwrap();
        let connector = loss.taps().student[0].connector.clone().unwrap();
        let mut params = Params::init(&connector.graph, 0, "", &Device::Cpu).unwrap();
        let trained: Vec<String> = params.trained().map(|(name, ..)| name.to_owned()).collect();
        for name in &trained {
            params.set(name, tensors[name].clone()).unwrap();
        }
        let output = connector.graph.output();
        let mut network = Network::new(connector.graph, params, &Device::Cpu).unwrap();
        let mut rng = Stream::of_number(0);
        let (outputs, tape) = network.train(&tensors["features"], &[], &mut rng).unwrap();
        let var = Var::from_tensor(&outputs.logits).unwrap();
        let value = call(&*loss, &[var.as_tensor()], &[&tensors["teacher"]]).unwrap();
        close(&format!("{case} value"), &value, &tensors["value"], 1e-5);
        let grad = value.backward().unwrap().get(&var).unwrap().clone();
        let gradients = network.backward(tape, vec![(output, grad)], true).unwrap();
        assert_eq!(gradients.params.len(), trained.len());
        for (slot, grad) in gradients.params.iter() {
            let name = network.params().name(slot);
            close(&format!("{case} {name}"), grad, &tensors[&format!("grad_{name}")], 2e-4);
        }
        close(&format!("{case} features"), &gradients.input.unwrap(), &tensors["grad_features"], 2e-4);
    }
}

/// Calls a loss as the trainer does, its parameters at their first values.
fn call(loss: &dyn Loss, student: &[&Tensor], teacher: &[&Tensor]) -> Result<Tensor> {
    let samples = student[0].dims()[0];
    let logits = Tensor::zeros((samples, 5), DType::F32, &Device::Cpu)?;
    let labels = Tensor::zeros(samples, DType::U32, &Device::Cpu)?;
    let ids: Vec<u32> = (0..samples as u32).collect();
    let outputs = |taps: &[&Tensor]| Outputs { logits: logits.clone(), taps: taps.iter().copied().cloned().collect() };
    let (own, other) = (outputs(student), [outputs(teacher)]);
    let view = View { name: "clean", labels: &labels, targets: &logits, ids: &ids, student: &own, teachers: &other };
    let mut params = BTreeMap::new();
    for param in loss.params() {
        let Init::Constant(value) = param.init else { continue };
        let tensor = Tensor::full(value, param.shape, &Device::Cpu)?.to_dtype(student[0].dtype())?;
        params.insert(param.name, tensor);
    }
    loss.loss(&Step { views: &[view], time: 1.0, epochs: 1.0, params: &params })
}

#[test]
fn pairs_add_up() {
    let shapes = [[2, 4, 4], [3, 2, 2]];
    let (student, teacher) = (network("small", &shapes), network("large", &shapes));
    let maps = |salt| [noise(&[2, 2, 4, 4], salt), noise(&[2, 3, 2, 2], salt + 1.0)];
    let (own, other) = (maps(1.0), maps(3.0));
    let sum = |one: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| -> f64 {
        own.iter().zip(&other).map(|(s, t)| number(&one(s, t).unwrap())).sum()
    };
    let all = "pairs = \"stages\"";
    let scale = 5.0_f64.exp_m1().ln(); // of a variance of 5 + 1e-5
    for (text, expected) in [
        (kind("at"), sum(&|s, t| at(s, t, 2.0))),
        (kind("fitnets") + all, sum(&hint)),
        (kind("wkd-f") + all + "\ngrid = 2\nratio = 0.5", sum(&|s, t| wkd_f(s, t, 0.5, 2))),
        (kind("vid") + "variance = 5.00001", sum(&|s, t| vid(s, t, &Tensor::full(scale, s.dims()[1], &Device::Cpu)?))),
    ] {
        let loss = build(&text, &student, &teacher).unwrap();
        let value = number(&call(&*loss, &[&own[0], &own[1]], &[&other[0], &other[1]]).unwrap());
        assert!((value - expected).abs() < 1e-9, "{text}: {value}, {expected}");
        let message = call(&*loss, &[&own[0]], &[&other[0], &other[1]]).unwrap_err().to_string();
        assert!(message.contains("1 student and 2 teacher taps"), "{message}");
    }
}

#[test]
fn a_hint_is_the_mean_squared_error_at_the_smaller_size() {
    for (case, _, tensors) in cases("features", "hint") {
        against_pytorch(&case, &tensors, "student", |s, input| hint(s, &input("teacher")));
    }
    let teacher = noise(&[2, 3, 4, 2], 2.0);
    by_differences("hint", &noise(&[2, 3, 2, 3], 1.0), |s| hint(s, &teacher));
}

#[test]
fn what_does_not_fit_is_told_at_build_time() {
    let student = network("small", &[[4, 16, 16], [8, 8, 8]]);
    let teacher = network("large", &[[4, 16, 16], [8, 5, 5]]);
    let bare = one_map([3, 8, 8]);
    for (text, teacher, expected) in [
        (kind("at") + "power = 0.5", &teacher, "losses.x.loss.power: 0.5 is not a power"),
        (
            kind("at") + "pairs = [[\"avgpool\", \"layer1\"]]",
            &teacher,
            "needs maps [C, H, W], `avgpool` of the student has [8]",
        ),
        (kind("at"), &bare, "stages cannot be paired: student `small` has 2 (layer1, layer2), teacher `one-map` has 1"),
        (kind("rkd"), &bare, "losses.x.loss.pairs: `one-map` does not end in a linear layer"),
        (
            kind("rkd") + "angle = -1",
            &teacher,
            "losses.x.loss.angle: -1 does not fit, expected a finite number, 0 or above",
        ),
        (kind("nst") + "degree = 0", &teacher, "losses.x.loss.degree: 0 is not a degree from 1 to 8"),
        (
            kind("nst") + "kernel = \"gaussian\"\ndegree = 3",
            &teacher,
            "losses.x.loss.degree: is of the polynomial kernel",
        ),
        (kind("nst") + "offset = nan", &teacher, "losses.x.loss.offset: NaN"),
        (kind("vid"), &teacher, "the student's 8x8 map at `layer2.conv` is larger than the teacher's 5x5"),
        (kind("vid") + "variance = 0", &teacher, "losses.x.loss.variance: 0 is not a variance"),
        (kind("wkd-f") + "grid = 6", &teacher, "losses.x.loss.grid: 6 is not a number of cells along 5 positions"),
        (kind("wkd-f") + "grid = 0", &teacher, "losses.x.loss.grid: 0 is not"),
        (kind("wkd-f") + "ratio = inf", &teacher, "losses.x.loss.ratio: inf"),
        (kind("sp") + "pairs = [[\"layer1\", \"layer9\"]]", &teacher, "teacher: unknown tap `layer9`"),
    ] {
        let message = build(&text, &student, teacher).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}
