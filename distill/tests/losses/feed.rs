//! Parallel FEED.

use attar_distill::losses::feed::{Reduction, feed};
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{by_differences, cases, noise, number, numbers};
use crate::leaves::{Scene, all_against_pytorch, build, network};

#[test]
fn feed_is_pytorchs() {
    for (case, settings, tensors) in cases("feed", "feed") {
        let reduction: Reduction = serde_json::from_value(settings["reduction"].clone()).unwrap();
        let teachers = settings["teachers"].as_u64().unwrap();
        all_against_pytorch(&case, &tensors, |at| {
            let side = |side: &str| (0..teachers).map(|i| at(&format!("{side}{i}"))).collect::<Vec<_>>();
            feed(&side("student"), &side("teacher"), reduction)
        });
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (own, teachers) = (noise(&[2, 3, 2, 2], 1.0), [noise(&[2, 3, 2, 2], 2.0), noise(&[2, 12], 3.0)]);
    for reduction in [Reduction::Sum, Reduction::Mean] {
        by_differences("feed", &own, |own| feed(&[own.clone(), own.flatten_from(1)?], &teachers, reduction));
    }
}

#[test]
fn dead_maps_and_equal_maps_have_finite_gradients() {
    let zeros = Tensor::zeros((1, 2, 2, 2), DType::F32, &Device::Cpu).unwrap();
    let large = (noise(&[1, 2, 2, 2], 1.0).to_dtype(DType::F32).unwrap() * 1e4).unwrap();
    for (own, other) in [(&zeros, &large), (&large, &zeros), (&zeros, &zeros), (&large, &large)] {
        let (own, other) = (Var::from_tensor(own).unwrap(), Var::from_tensor(other).unwrap());
        let value = feed(&[own.as_tensor().clone()], &[other.as_tensor().clone()], Reduction::Sum).unwrap();
        assert!(number(&value).is_finite());
        let grads = value.backward().unwrap();
        assert!(numbers(grads.get(&own).unwrap()).iter().all(|grad| grad.is_finite()));
        assert!(grads.get(&other).is_none(), "the teacher is a constant");
    }
    // Equal maps are where they should be.
    let own = Var::from_tensor(&large).unwrap();
    let grads = feed(&[own.as_tensor().clone()], &[large], Reduction::Sum).unwrap().backward().unwrap();
    assert!(numbers(grads.get(&own).unwrap()).iter().all(|grad| *grad == 0.0));
    assert!(feed(&[], &[], Reduction::Sum).is_err());
}

#[test]
fn every_teacher_has_a_transform_of_its_own() {
    let (student, teachers) =
        (network("small", &[4, 6], 8), [network("one", &[5, 7], 8), network("two", &[5, 5, 3], 8)]);
    let mut scene = Scene::new("kind = \"feed\"", student.clone(), teachers.to_vec());
    let taps = scene.loss.taps();
    let connectors: Vec<_> = taps.student.iter().map(|tap| tap.connector.clone().unwrap()).collect();
    assert_eq!(connectors.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["teacher1", "teacher2"]);
    assert_eq!(connectors[0].graph.output_shape(), [7, 4, 4]);
    assert_eq!(connectors[1].graph.output_shape(), [3, 2, 2], "a larger map is strided down");
    assert_eq!(connectors[0].graph.nodes().len(), 1 + 9);
    let answers = scene.answers(&[0, 1], 1.0);
    scene.trains(&answers, 1.0);

    let linear = build("kind = \"feed\"\nrelu = false", &student, &teachers).unwrap().taps();
    assert_eq!(linear.student[0].connector.as_ref().unwrap().graph.nodes().len(), 1 + 8);
    for (text, expected) in [
        ("pairs = \"penultimate\"", "losses.x.loss.pairs: needs maps [C, H, W], `avgpool` of the student has [6]"),
        (
            "pairs = [[\"layer2\", \"layer1\"]]",
            "pairs: a map [6, 4, 4] of the student does not become the teacher's [5, 8, 8]",
        ),
    ] {
        let message = build(&format!("kind = \"feed\"\n{text}"), &student, &teachers).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let message = build("kind = \"feed\"", &student, &[]).unwrap_err().to_string();
    assert!(message.contains("learns from a teacher"), "{message}");
}
