//! Plackett-Luce distillation.

use attar_distill::losses::pld::pld;
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{against_pytorch, by_differences, cases, noise, number, numbers};

#[test]
fn pld_is_the_papers() {
    for (case, settings, tensors) in cases("pld", "pld") {
        let temperature = settings["temperature"].as_f64().unwrap();
        let labels = tensors["labels"].to_dtype(DType::U32).unwrap();
        against_pytorch(&case, &tensors, "logits", |z, input| pld(z, &input("teacher"), &labels, temperature));
    }
}

#[test]
fn pld_agrees_with_finite_differences_and_stays_finite() {
    let (z, t) = (noise(&[4, 5], 1.0), noise(&[4, 5], 2.0));
    let labels = Tensor::new(&[0_u32, 4, 2, 2], &Device::Cpu).unwrap();
    by_differences("pld", &z, |z| pld(z, &t, &labels, 2.0));
    let far = Var::from_tensor(&Tensor::new(&[[1e4_f32, -1e4, 0.0]], &Device::Cpu).unwrap()).unwrap();
    let teacher = Tensor::new(&[[0_f32, 1e4, -1e4]], &Device::Cpu).unwrap();
    let value = pld(&far, &teacher, &Tensor::new(&[2_u32], &Device::Cpu).unwrap(), 1.0).unwrap();
    let grads = value.backward().unwrap();
    assert!(number(&value).is_finite() && numbers(grads.get(&far).unwrap()).iter().all(|grad| grad.is_finite()));
}

/// A teacher that is sure of the label: cross-entropy.
#[test]
fn a_sure_teacher_makes_it_cross_entropy() {
    let z = Tensor::new(&[[1.0_f64, -2.0, 0.5]], &Device::Cpu).unwrap();
    let t = Tensor::new(&[[0.0_f64, 1000.0, 0.0]], &Device::Cpu).unwrap();
    let label = Tensor::new(&[1_u32], &Device::Cpu).unwrap();
    let expected = -number(
        &attar_distill::losses::log_softmax(&z)
            .unwrap()
            .narrow(1, 1, 1)
            .unwrap()
            .squeeze(0)
            .unwrap()
            .squeeze(0)
            .unwrap(),
    );
    assert!((number(&pld(&z, &t, &label, 1.0).unwrap()) - expected).abs() < 1e-12);
}
