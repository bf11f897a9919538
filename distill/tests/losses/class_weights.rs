//! Cross-entropy with weights of classes.

use attar_distill::losses::cross_entropy::{cross_entropy, weighted_cross_entropy};
use attar_distill::losses::{BuildContext, LossSpec, log_softmax};
use attar_models::op::{GlobalAvgPool, Linear};
use attar_models::{GraphBuilder, Op, Outline};
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{against_pytorch, by_differences, cases, close, noise, number, numbers};

#[test]
fn weights_of_classes_are_pytorchs() {
    for (case, settings, tensors) in cases("class_weights", "weighted") {
        let weights: Vec<f64> = serde_json::from_value(settings["weights"].clone()).unwrap();
        let (smoothing, mixed) = (settings["smoothing"].as_f64().unwrap(), settings["mixed"].as_bool().unwrap());
        against_pytorch(&case, &tensors, "logits", |z, input| {
            weighted_cross_entropy(z, &input("targets"), smoothing, &weights, mixed)
        });
    }
}

#[test]
fn weighted_gradients_agree_with_finite_differences() {
    let z = noise(&[5, 4], 1.0);
    let mixed = log_softmax(&noise(&[5, 4], 3.0)).unwrap().exp().unwrap();
    let labels = Tensor::new(&[0_u32, 1, 1, 3, 2], &Device::Cpu).unwrap();
    let one_hot = Tensor::eye(4, DType::F64, &Device::Cpu).unwrap().index_select(&labels, 0).unwrap();
    let weights = [0.5, 2.0, 0.0, 1.5];
    by_differences("mixed", &z, |z| weighted_cross_entropy(z, &mixed, 0.1, &weights, true));
    by_differences("classes", &z, |z| weighted_cross_entropy(z, &one_hot, 0.1, &weights, false));
}

#[test]
fn equal_weights_are_none_and_a_batch_without_weight_gives_nothing() {
    let z = noise(&[3, 4], 1.0);
    let one_hot = |labels: &[u32]| {
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        Tensor::eye(4, DType::F64, &Device::Cpu).unwrap().index_select(&labels, 0).unwrap()
    };
    let targets = one_hot(&[0, 1, 3]);
    let plain = cross_entropy(&z, &targets, 0.1).unwrap();
    for mixed in [false, true] {
        close("ones", &weighted_cross_entropy(&z, &targets, 0.1, &[1.0; 4], mixed).unwrap(), &plain, 1e-14);
    }
    close("all alike", &weighted_cross_entropy(&z, &targets, 0.1, &[3.0; 4], false).unwrap(), &plain, 1e-14);
    let var = Var::from_tensor(&z).unwrap();
    let value = weighted_cross_entropy(&var, &one_hot(&[2, 2, 2]), 0.1, &[1.0, 1.0, 0.0, 1.0], false).unwrap();
    assert_eq!(number(&value), 0.0);
    assert!(numbers(value.backward().unwrap().get(&var).unwrap()).iter().all(|gradient| *gradient == 0.0));
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let (mut builder, x) = GraphBuilder::new("small", [2, 4, 4]).unwrap();
    let pool = builder.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[x]).unwrap();
    let fc = builder
        .add("fc", Op::Linear(Linear { in_features: 2, out_features: 3, bias: true, quantized: false }), &[pool])
        .unwrap();
    let student = Outline::from(&builder.finish(fc));
    for (weights, expected) in [
        ("[1.0, 2.0]", "2 numbers for 3 classes"),
        ("[1, 2, -3]", "-3 is no weight"),
        ("[0, 0, 0]", "nothing is learned"),
        ("\"balanced\"", "follow from the data"),
    ] {
        let spec: LossSpec = toml::from_str(&format!("kind = \"cross-entropy\"\nclass_weights = {weights}")).unwrap();
        let context = BuildContext { name: "ce", student: &student, teachers: &[], logits: &[], samples: 10, seed: 0 };
        let message = spec.build(&context).unwrap_err().to_string();
        assert!(message.contains("losses.ce.loss.class_weights") && message.contains(expected), "{message}");
    }
}
