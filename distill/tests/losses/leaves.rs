//! What the tests of trained adapters and memory banks share: all gradients of a case at once, and a loss object at work.

use std::collections::BTreeMap;

use attar_distill::losses::{BuildContext, Init, Loss, LossSpec, Step, Tap, View};
use attar_distill::{Outputs, Result};
use attar_models::op::{Activation, Conv2d, Dropout, GlobalAvgPool, Linear};
use attar_models::{GraphBuilder, Op, Outline};
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{Tensors, close, noise};

/// The tensor of a name: a variable if the case has its gradient.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Tensor;

/// Value and every gradient of a case in both float types.
pub fn all_against_pytorch(case: &str, tensors: &Tensors, loss: impl Fn(Lookup<'_>) -> Result<Tensor>) {
    // Batch norms over a few values divide by small deviations, which costs `f32` digits.
    for (dtype, tolerance) in [(DType::F32, 5e-5), (DType::F64, 1e-11)] {
        let leaves = tensors.keys().filter_map(|name| name.strip_prefix("grad_"));
        let vars: BTreeMap<&str, Var> =
            leaves.map(|leaf| (leaf, Var::from_tensor(&tensors[leaf].to_dtype(dtype).unwrap()).unwrap())).collect();
        let lookup = |name: &str| match vars.get(name) {
            Some(var) => var.as_tensor().clone(),
            None => tensors[name].to_dtype(dtype).unwrap(),
        };
        let value = loss(&lookup).unwrap();
        close(&format!("{case} value {dtype:?}"), &value, &tensors["value"], tolerance);
        let grads = value.backward().unwrap();
        for (leaf, var) in &vars {
            let grad = grads.get(var).unwrap();
            close(&format!("{case} {leaf} {dtype:?}"), grad, &tensors[&format!("grad_{leaf}")], tolerance);
        }
    }
}

/// A network whose stages halve the size, each one a convolution and a ReLU, then a mean and a linear layer.
pub fn network(name: &str, channels: &[usize], size: usize) -> Outline {
    let (mut builder, mut at) = GraphBuilder::new(name, [3, size, size]).unwrap();
    let mut from = 3;
    for (i, &to) in channels.iter().enumerate() {
        let layer = format!("layer{}", i + 1);
        let conv = Op::Conv2d(Conv2d::square(from, to, 3, 1 + usize::from(i > 0), 1));
        at = builder.add(format!("{layer}.conv"), conv, &[at]).unwrap();
        at = builder.add(format!("{layer}.relu"), Op::Activation(Activation::Relu), &[at]).unwrap();
        builder.stage(layer, at);
        from = to;
    }
    let pool = builder.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[at]).unwrap();
    let drop = builder.add("dropout", Op::Dropout(Dropout { p: 0.2 }), &[pool]).unwrap();
    let fc = builder
        .add("fc", Op::Linear(Linear { in_features: from, out_features: 4, bias: true, quantized: false }), &[drop])
        .unwrap();
    Outline::from(&builder.finish(fc))
}

/// A loss built as a plan builds it, with the networks around it.
pub struct Scene {
    pub student: Outline,
    pub teachers: Vec<Outline>,
    pub loss: Box<dyn Loss>,
    /// What the loss trains itself.
    pub params: BTreeMap<String, Var>,
}

/// What networks answered to a batch.
pub struct Answers {
    pub labels: Vec<u32>,
    pub ids: Vec<u32>,
    pub student: Vec<Var>,
    pub teachers: Vec<Vec<Var>>,
}

pub const SAMPLES: usize = 9;

pub fn build(text: &str, student: &Outline, teachers: &[Outline]) -> Result<Box<dyn Loss>> {
    let spec: LossSpec = toml::from_str(text).unwrap();
    spec.build(&BuildContext { name: "x", student, teachers, logits: &[], samples: SAMPLES, seed: 7 })
}

impl Scene {
    pub fn new(text: &str, student: Outline, teachers: Vec<Outline>) -> Self {
        let loss = build(text, &student, &teachers).unwrap();
        // Both live under the loss's name: none may be taken for another's.
        for connector in loss.taps().student.iter().filter_map(|tap| tap.connector.as_ref()) {
            assert!(!loss.params().iter().any(|param| param.name.starts_with(&format!("{}.", connector.name))));
        }
        let params = loss.params().into_iter().enumerate().map(|(i, param)| {
            let values = match param.init {
                Init::Constant(value) => noise(&param.shape, 0.0).affine(0.0, value).unwrap(),
                Init::Uniform(size) | Init::Normal(size) => {
                    noise(&param.shape, i as f64).affine(size / 2.0, 0.0).unwrap()
                }
            };
            (param.name, Var::from_tensor(&values.to_dtype(DType::F32).unwrap()).unwrap())
        });
        Self { params: params.collect(), student, teachers, loss }
    }

    /// Pseudo-random answers of the shapes that the loss asked for.
    pub fn answers(&self, ids: &[u32], salt: f64) -> Answers {
        let var = |shape: &[usize], salt: f64| {
            let values = noise(&[&[ids.len()], shape].concat(), salt).to_dtype(DType::F32).unwrap();
            Var::from_tensor(&values).unwrap()
        };
        let taps = self.loss.taps();
        let own = |(i, tap): (usize, &Tap)| match &tap.connector {
            Some(connector) => {
                assert_eq!(connector.graph.input_shape(), self.student.value(tap.node).shape);
                var(connector.graph.output_shape(), salt + i as f64)
            }
            None => var(&self.student.value(tap.node).shape, salt + i as f64),
        };
        let other = |(graph, nodes): (&Outline, &Vec<_>)| {
            nodes.iter().map(|node| var(&graph.value(*node).shape, salt + 0.5)).collect::<Vec<_>>()
        };
        Answers {
            labels: ids.iter().map(|id| id % 3).collect(),
            ids: ids.to_vec(),
            student: taps.student.iter().enumerate().map(own).collect(),
            teachers: self.teachers.iter().zip(&taps.teachers).map(other).collect(),
        }
    }

    /// Calls `body` with the loss and the step in which it sees `answers`.
    pub fn step<T>(&mut self, answers: &Answers, time: f64, body: impl FnOnce(&mut dyn Loss, &Step<'_>) -> T) -> T {
        let n = answers.ids.len();
        let logits = noise(&[n, 4], time).to_dtype(DType::F32).unwrap();
        let labels = Tensor::new(answers.labels.as_slice(), &Device::Cpu).unwrap();
        let outputs = |taps: &[Var]| Outputs {
            logits: logits.clone(),
            taps: taps.iter().map(|var| var.as_tensor().clone()).collect(),
        };
        let student = outputs(&answers.student);
        let teachers: Vec<Outputs> = answers.teachers.iter().map(|taps| outputs(taps)).collect();
        let ids = &answers.ids;
        let view =
            View { name: "clean", labels: &labels, targets: &logits, ids, student: &student, teachers: &teachers };
        let params = self.params.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        body(self.loss.as_mut(), &Step { views: &[view], time, epochs: 4.0, params: &params })
    }

    /// The loss of one step, which learns from what the student gave and trains its own parameters, and nothing else.
    pub fn trains(&mut self, answers: &Answers, time: f64) -> Tensor {
        let value = self.step(answers, time, |loss, step| loss.loss(step)).unwrap();
        assert_eq!(value.rank(), 0);
        let grads = value.backward().unwrap();
        for var in answers.student.iter().chain(self.params.values()) {
            let grad = grads.get(var).unwrap();
            let sum = grad.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(sum.is_finite() && sum > 0.0, "{sum}");
        }
        assert!(answers.teachers.iter().flatten().all(|var| grads.get(var).is_none()), "the teacher is a constant");
        value
    }
}
