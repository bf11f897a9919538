//! GACD.

use attar_distill::losses::gacd::{Denominator, gacd};
use attar_distill::losses::logits::trust;
use attar_distill::losses::maps::unit_rows;
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{by_differences, cases, close, noise, number, numbers};
use crate::leaves::{Scene, all_against_pytorch, build, network};

#[test]
fn gacd_is_pytorchs() {
    for (case, settings, tensors) in cases("gacd", "gacd") {
        let denominator: Denominator = serde_json::from_value(settings["denominator"].clone()).unwrap();
        let temperature = settings["temperature"].as_f64().unwrap();
        let labels = tensors["labels"].to_dtype(DType::U32).unwrap();
        all_against_pytorch(&case, &tensors, |at| {
            let queue = tensors.contains_key("queue").then(|| unit_rows(&at("queue"))).transpose()?;
            let trusted = trust(&at("logits"), &labels)?;
            let weights = if settings["weighting"] == "none" { trusted.ones_like()? } else { trusted };
            let (own, anchors) = (unit_rows(&at("student"))?, unit_rows(&at("teacher"))?);
            gacd(&own, &anchors, queue.as_ref(), &weights, temperature, denominator)
        });
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (own, anchors, queue) = (noise(&[3, 4], 1.0), noise(&[3, 4], 2.0), noise(&[2, 4], 3.0));
    let weights = noise(&[3], 4.0).abs().unwrap();
    for denominator in [Denominator::Batch, Denominator::Weights] {
        by_differences("student", &own, |own| gacd(own, &anchors, Some(&queue), &weights, 0.7, denominator));
        by_differences("anchors", &anchors, |anchors| gacd(&own, anchors, None, &weights, 0.7, denominator));
    }
}

#[test]
fn a_teacher_that_is_surely_wrong_counts_nothing() {
    let own = Var::from_tensor(&noise(&[2, 3], 1.0).to_dtype(DType::F32).unwrap()).unwrap();
    let logits = Tensor::new(&[[1e4_f32, -1e4], [1e4, -1e4]], &Device::Cpu).unwrap();
    let anchors = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
    let wrong = trust(&logits, &Tensor::new(&[1_u32, 1], &Device::Cpu).unwrap()).unwrap();
    assert_eq!(numbers(&wrong), [0.0, 0.0]);
    for denominator in [Denominator::Batch, Denominator::Weights] {
        let value = gacd(&own, &anchors, None, &wrong, 1e-3, denominator).unwrap();
        assert_eq!(number(&value), 0.0);
        assert!(numbers(value.backward().unwrap().get(&own).unwrap()).iter().all(|grad| *grad == 0.0));
    }
    // Constant logits trust every class alike.
    let even =
        trust(&Tensor::zeros((1, 4), DType::F32, &Device::Cpu).unwrap(), &Tensor::new(&[2_u32], &Device::Cpu).unwrap());
    close("even", &even.unwrap(), &Tensor::new(&[0.25], &Device::Cpu).unwrap(), 1e-6);
}

fn scene(settings: &str) -> Scene {
    let text = format!("kind = \"gacd\"\n{settings}");
    Scene::new(&text, network("small", &[4, 6], 8), vec![network("large", &[5, 7], 8)])
}

#[test]
fn the_queue_holds_past_features_and_is_resumed() {
    let mut unbroken = scene("dim = 5\nqueue = 4");
    assert_eq!(unbroken.params.keys().collect::<Vec<_>>(), ["teacher.bias", "teacher.weight"]);
    assert!(unbroken.loss.state().unwrap().is_empty());
    for (time, held) in [(1.0, 3), (1.5, 4)] {
        let answers = unbroken.answers(&[0, 4, 8], time);
        unbroken.trains(&answers, time);
        unbroken.step(&answers, time, |loss, step| loss.after(step)).unwrap();
        let queue = unbroken.loss.state().unwrap()["queue"].clone();
        assert_eq!(queue.dims(), [held, 5]);
        let newest = unit_rows(&answers.student[0]).unwrap();
        close("newest last", &queue.narrow(0, held - 3, 3).unwrap(), &newest, 1e-6);
    }
    let mut resumed = scene("dim = 5\nqueue = 4");
    resumed.loss.load(unbroken.loss.state().unwrap()).unwrap();
    let answers = unbroken.answers(&[1, 2], 3.0);
    let value = |scene: &mut Scene| number(&scene.step(&answers, 2.0, |loss, step| loss.loss(step)).unwrap());
    assert_eq!(value(&mut resumed), value(&mut unbroken));
    assert!(value(&mut scene("dim = 5\nqueue = 0")) < value(&mut unbroken), "fewer to tell apart");
    // Past features of the batch's own images are no negatives, and there are no others.
    let own = unbroken.answers(&[0, 4, 8], 3.0);
    let value = |scene: &mut Scene| number(&scene.step(&own, 2.0, |loss, step| loss.loss(step)).unwrap());
    assert_eq!(value(&mut scene("dim = 5\nqueue = 0")), value(&mut unbroken));
    let message = scene("dim = 6").loss.load(unbroken.loss.state().unwrap()).unwrap_err().to_string();
    assert!(message.contains("`queue` [Q, 6]"), "{message}");
}

#[test]
fn a_fixed_anchor_is_the_teachers_feature() {
    let mut scene = scene("anchor = \"fixed\"\nweighting = \"none\"\nqueue = 0");
    assert!(scene.params.is_empty());
    assert_eq!(scene.loss.taps().student[0].connector.as_ref().unwrap().graph.output_shape(), [7]);
    let answers = scene.answers(&[0, 4, 8], 1.0);
    scene.trains(&answers, 1.0);
    scene.step(&answers, 1.0, |loss, step| loss.after(step)).unwrap();
    assert!(scene.loss.state().unwrap().is_empty(), "no queue");
}

#[test]
fn what_does_not_fit_is_told() {
    let (student, teacher) = (network("small", &[4, 6], 8), [network("large", &[5, 7], 8)]);
    for (text, expected) in [("temperature = nan", "losses.x.loss.temperature"), ("dim = 0", "losses.x.loss.dim: 0")] {
        let message = build(&format!("kind = \"gacd\"\n{text}"), &student, &teacher).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
