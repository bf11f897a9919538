//! Cross-entropy, KD, GKD and CD.

use std::collections::BTreeMap;

use attar_distill::losses::channel::{Layers, channel};
use attar_distill::losses::cross_entropy::cross_entropy;
use attar_distill::losses::kd::{kd, repaired_kd};
use attar_distill::losses::logits::{Denominator, Repair, Wrong};
use attar_distill::losses::{BuildContext, LossSpec, Step, View, log_softmax};
use attar_distill::{Network, Outputs, Params, Result};
use attar_measures::random::Stream;
use attar_models::op::{GlobalAvgPool, Linear};
use attar_models::{GraphBuilder, Op, Outline};
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{against_pytorch, by_differences, cases, close, noise, number, numbers};

/// A network whose only stage is its input.
fn one_stage(channels: usize, size: usize, classes: usize) -> Outline {
    let (mut builder, x) = GraphBuilder::new("one-stage", [channels, size, size]).unwrap();
    builder.stage("layer1", x);
    let pool = builder.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[x]).unwrap();
    let linear = Op::Linear(Linear { in_features: channels, out_features: classes, bias: true, quantized: false });
    let fc = builder.add("fc", linear, &[pool]).unwrap();
    Outline::from(&builder.finish(fc))
}

#[test]
fn cross_entropy_is_pytorchs() {
    for (case, settings, tensors) in cases("classic", "ce") {
        let smoothing = settings["smoothing"].as_f64().unwrap();
        against_pytorch(&case, &tensors, "logits", |z, input| cross_entropy(z, &input("targets"), smoothing));
    }
}

#[test]
fn kd_is_pytorchs() {
    for (case, settings, tensors) in cases("classic", "kd") {
        let temperature = settings["temperature"].as_f64().unwrap();
        against_pytorch(&case, &tensors, "logits", |z, input| kd(z, &input("teacher"), temperature));
    }
}

/// GKD: KD without the samples that the teacher classifies wrongly.
fn guided_kd(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
    denominator: Denominator,
) -> Result<Tensor> {
    let repair = Repair { wrong: Wrong::Drop, denominator, ..Repair::default() };
    repaired_kd(student, teacher, labels, temperature, &repair)
}

#[test]
fn guided_kd_is_pytorchs_over_the_chosen_rows() {
    for (case, settings, tensors) in cases("classic", "gkd") {
        let temperature = settings["temperature"].as_f64().unwrap();
        let denominator: Denominator = serde_json::from_value(settings["denominator"].clone()).unwrap();
        let labels = tensors["labels"].to_dtype(DType::U32).unwrap();
        against_pytorch(&case, &tensors, "logits", |z, input| {
            guided_kd(z, &input("teacher"), &labels, temperature, denominator)
        });
    }
}

#[test]
fn channel_is_pytorchs() {
    for (case, settings, tensors) in cases("classic", "cd") {
        let pairs = settings["pairs"].as_u64().unwrap() as usize;
        let layers: Layers = serde_json::from_value(settings["layers"].clone()).unwrap();
        for leaf in 0..pairs {
            against_pytorch(&case, &tensors, &format!("student{leaf}"), |var, input| {
                let side = |side: &str| (0..pairs).map(|i| input(&format!("{side}{i}"))).collect::<Vec<_>>();
                let mut student = side("student");
                student[leaf] = var.clone();
                channel(&student, &side("teacher"), layers)
            });
        }
    }
}

/// Where the loss `name` stands among these networks.
fn context<'a>(name: &'a str, student: &'a Outline, teachers: &'a [Outline]) -> BuildContext<'a> {
    BuildContext { name, student, teachers, logits: &[], samples: 10, seed: 0 }
}

#[test]
fn gradients_pass_the_connector_as_in_pytorch() {
    for (case, settings, tensors) in cases("classic", "connector") {
        let spec: LossSpec = toml::from_str(&format!("kind = \"channel\"\nrelu = {}", settings["relu"])).unwrap();
        let loss = spec.build(&context("cd", &one_stage(5, 6, 3), &[one_stage(7, 6, 3)])).unwrap();
        let connector = loss.taps().student[0].connector.clone().unwrap();
        assert_eq!(connector.name, "layer1");
        let mut params = Params::init(&connector.graph, 0, "losses.cd.layer1.", &Device::Cpu).unwrap();
        for name in ["conv.weight", "bn.weight", "bn.bias"] {
            params.set(name, tensors[name].clone()).unwrap();
        }
        let output = connector.graph.output();
        let mut network = Network::new(connector.graph, params, &Device::Cpu).unwrap();
        let mut rng = Stream::of_number(0);
        let (outputs, tape) = network.train(&tensors["features"], &[], &mut rng).unwrap();
        let var = Var::from_tensor(&outputs.logits).unwrap();
        let value = loss_of_taps(&*loss, var.as_tensor(), &tensors["teacher0"]);
        close(&format!("{case} value"), &value, &tensors["value"], 1e-5);
        let grad = value.backward().unwrap().get(&var).unwrap().clone();
        let gradients = network.backward(tape, vec![(output, grad)], true).unwrap();
        assert_eq!(gradients.params.len(), 3);
        for (slot, grad) in gradients.params.iter() {
            let name = network.params().name(slot);
            close(&format!("{case} {name}"), grad, &tensors[&format!("grad_{name}")], 2e-4);
        }
        close(&format!("{case} features"), &gradients.input.unwrap(), &tensors["grad_features"], 2e-4);
    }
}

/// Calls a loss object as the trainer does, with one tap a side.
fn loss_of_taps(loss: &dyn attar_distill::losses::Loss, student: &Tensor, teacher: &Tensor) -> Tensor {
    let samples = student.dims()[0];
    let logits = Tensor::zeros((samples, 3), DType::F32, &Device::Cpu).unwrap();
    let labels = Tensor::zeros(samples, DType::U32, &Device::Cpu).unwrap();
    let ids: Vec<u32> = (0..samples as u32).collect();
    let outputs = |tap: &Tensor| [Outputs { logits: logits.clone(), taps: vec![tap.clone()] }];
    let (students, teachers) = (outputs(student), outputs(teacher));
    let [student] = &students;
    let view = View { name: "clean", labels: &labels, targets: &logits, ids: &ids, student, teachers: &teachers };
    loss.loss(&Step { views: &[view], time: 1.0, epochs: 1.0, params: &BTreeMap::new() }).unwrap()
}

#[test]
fn a_step_that_lacks_what_a_loss_reads_is_an_error_not_a_panic() {
    let spec: LossSpec = toml::from_str("kind = \"kd\"\ntemperature = 1").unwrap();
    let loss = spec.build(&context("kd", &one_stage(5, 6, 3), &[one_stage(7, 6, 3)])).unwrap();
    let message =
        loss.loss(&Step { views: &[], time: 1.0, epochs: 1.0, params: &BTreeMap::new() }).unwrap_err().to_string();
    assert!(message.contains("no view"), "{message}");
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (z, t) = (noise(&[5, 4], 1.0), noise(&[5, 4], 2.0));
    // Two labels are the teacher's top class, three are not.
    let mut labels = t.argmax(1).unwrap().to_vec1::<u32>().unwrap();
    for label in &mut labels[..3] {
        *label = (*label + 1) % 4;
    }
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    let targets = log_softmax(&noise(&[5, 4], 3.0)).unwrap().exp().unwrap();
    let weights = noise(&[5, 4], 4.0);
    by_differences("log_softmax", &z, |z| Ok((log_softmax(z)? * &weights)?.sum_all()?));
    by_differences("cross-entropy", &z, |z| cross_entropy(z, &targets, 0.1));
    for temperature in [0.7, 1.0, 4.0] {
        by_differences("kd", &z, |z| kd(z, &t, temperature));
        for denominator in [Denominator::Correct, Denominator::Batch] {
            by_differences("gkd", &z, |z| guided_kd(z, &t, &labels, temperature, denominator));
        }
    }
    let (student, teacher) = (noise(&[2, 3, 2, 2], 5.0), [noise(&[2, 3, 4, 1], 6.0), noise(&[2, 3], 7.0)]);
    for layers in [Layers::Sum, Layers::Mean] {
        // One leaf feeds both pairs, the second as a vector.
        by_differences("channel", &student, |s| channel(&[s.clone(), s.flatten_from(2)?.sum(2)?], &teacher, layers));
    }
}

#[test]
fn a_teacher_that_is_never_right_gives_exactly_nothing() {
    let z = Var::from_tensor(&noise(&[3, 4], 1.0).to_dtype(DType::F32).unwrap()).unwrap();
    let t = Tensor::new(&[[9.0_f32, 0., 0., 0.], [0., 9., 0., 0.], [0., 0., 9., 0.]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[3_u32, 3, 3], &Device::Cpu).unwrap();
    for denominator in [Denominator::Correct, Denominator::Batch] {
        let value = guided_kd(&z, &t, &labels, 1.0, denominator).unwrap();
        assert_eq!(number(&value), 0.0);
        let grads = value.backward().unwrap();
        assert!(numbers(grads.get(&z).unwrap()).iter().all(|grad| *grad == 0.0));
    }
}

/// A loss of student logits alone.
type LogitLoss<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;

#[test]
fn extreme_logits_stay_finite() {
    let z = Tensor::new(&[[1e4_f32, -1e4, 0.], [-1e4, 1e4, 1e4], [0., 0., 0.]], &Device::Cpu).unwrap();
    let t = Tensor::new(&[[-1e4_f32, 1e4, 0.], [1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[1_u32, 0, 0], &Device::Cpu).unwrap();
    let targets = Tensor::new(&[[1_f32, 0., 0.], [0., 1., 0.], [0., 0., 1.]], &Device::Cpu).unwrap();
    for temperature in [0.5, 1.0, 8.0] {
        let losses: [LogitLoss<'_>; 3] = [&|z| cross_entropy(z, &targets, 0.1), &|z| kd(z, &t, temperature), &|z| {
            guided_kd(z, &t, &labels, temperature, Denominator::Correct)
        }];
        for loss in losses {
            let var = Var::from_tensor(&z).unwrap();
            let value = loss(&var).unwrap();
            assert!(number(&value).is_finite());
            let grads = value.backward().unwrap();
            assert!(numbers(grads.get(&var).unwrap()).iter().all(|grad| grad.is_finite()));
        }
    }
}

#[test]
fn of_tied_classes_the_first_is_the_teachers_answer() {
    let tied = Tensor::new(&[[5.0_f32, 5.0, 0.0]], &Device::Cpu).unwrap();
    let flat = Tensor::zeros((1, 3), DType::F32, &Device::Cpu).unwrap();
    let with = |label: u32| {
        let label = Tensor::new(&[label], &Device::Cpu).unwrap();
        number(&guided_kd(&flat, &tied, &label, 1.0, Denominator::Correct).unwrap())
    };
    assert!(with(0) > 0.1);
    assert_eq!(with(1), 0.0);
}

#[test]
fn the_teacher_is_a_constant() {
    let z = Var::from_tensor(&noise(&[2, 3], 1.0)).unwrap();
    let t = Var::from_tensor(&noise(&[2, 3], 2.0)).unwrap();
    assert!(kd(&z, &t, 2.0).unwrap().backward().unwrap().get(&t).is_none());
    let taps = channel(&[z.as_tensor().clone()], &[t.as_tensor().clone()], Layers::Sum).unwrap();
    assert!(taps.backward().unwrap().get(&t).is_none());
}
