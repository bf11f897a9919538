//! Losses of features: FitNets, AT, SP, RKD, PKT, NST, VID, WKD-F.

use attar_distill::Result;
use attar_distill::losses::at::at;
use attar_distill::losses::maps::{adaptive_avg_pool, unit_rows};
use attar_distill::losses::nst::{mean_squared_distance, nst, nst_gaussian};
use attar_distill::losses::pkt::pkt;
use attar_distill::losses::rkd::rkd;
use attar_distill::losses::sp::sp;
use attar_distill::losses::vid::vid;
use attar_distill::losses::wkd_f::wkd_f;
use candle_core::{DType, Device, Tensor, Var};
use serde_json::Value;

use crate::common::{against_pytorch, by_differences, cases, noise, number, numbers};

/// A loss of a student's and a teacher's features.
type FeatureLoss = Box<dyn Fn(&Tensor, &Tensor) -> Result<Tensor>>;

fn float(settings: &Value, name: &str) -> f64 {
    settings[name].as_f64().unwrap()
}

#[test]
fn adaptive_pooling_is_pytorchs() {
    for (case, settings, tensors) in cases("features", "pool") {
        let size: [usize; 2] = serde_json::from_value(settings["size"].clone()).unwrap();
        against_pytorch(&case, &tensors, "student", |x, input| {
            Ok((adaptive_avg_pool(x, size)? * input("weight"))?.sum_all()?)
        });
    }
}

#[test]
fn losses_of_one_pair_are_pytorchs() {
    let of = |settings: &Value| -> FeatureLoss {
        let value = |name| float(settings, name);
        match settings["kind"].as_str().unwrap() {
            "at" => {
                let power = value("power");
                Box::new(move |s, t| at(s, t, power))
            }
            "rkd" => {
                let (distance, angle) = (value("distance"), value("angle"));
                Box::new(move |s, t| rkd(s, t, distance, angle))
            }
            "nst" => {
                let (degree, offset) = (value("degree") as u32, value("offset"));
                Box::new(move |s, t| nst(s, t, degree, offset))
            }
            "nst-gaussian" => Box::new(|s, t| nst_gaussian(s, t, None)),
            "wkd-f" => {
                let (ratio, grid) = (value("ratio"), value("grid") as usize);
                Box::new(move |s, t| wkd_f(s, t, ratio, grid))
            }
            "sp" => Box::new(sp),
            _ => Box::new(pkt),
        }
    };
    for kind in ["at", "sp", "rkd", "pkt", "nst", "nst-gaussian", "wkd-f"] {
        for (case, settings, tensors) in cases("features", kind) {
            let loss = of(&settings);
            against_pytorch(&case, &tensors, "student", |s, input| loss(s, &input("teacher")));
        }
    }
}

#[test]
fn vid_is_pytorchs_in_prediction_and_scale() {
    for (case, _, tensors) in cases("features", "vid") {
        against_pytorch(&case, &tensors, "student", |s, input| vid(s, &input("teacher"), &input("scale")));
        against_pytorch(&case, &tensors, "scale", |scale, input| vid(&input("student"), &input("teacher"), scale));
    }
}

/// Every loss with its usual settings; the teacher of VID and WKD-F has as many channels as the student.
fn all() -> Vec<(&'static str, FeatureLoss)> {
    vec![
        ("at", Box::new(|s, t| at(s, t, 2.0))),
        ("at, power 1", Box::new(|s, t| at(s, t, 1.0))),
        ("sp", Box::new(sp)),
        ("rkd", Box::new(|s, t| rkd(s, t, 25.0, 50.0))),
        ("pkt", Box::new(pkt)),
        ("nst", Box::new(|s, t| nst(s, t, 2, 0.0))),
        ("nst, linear", Box::new(|s, t| nst(s, t, 1, 0.0))),
        ("nst, gaussian", Box::new(|s, t| nst_gaussian(s, t, None))),
        ("vid", Box::new(|s, t| vid(s, t, &s.detach().mean((0, 2, 3))?))),
        ("wkd-f", Box::new(|s, t| wkd_f(s, t, 2.0, 1))),
        ("wkd-f, cells", Box::new(|s, t| wkd_f(s, t, 2.0, 2))),
    ]
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (student, teacher) = (noise(&[3, 2, 3, 2], 1.0), noise(&[3, 2, 2, 4], 2.0));
    let scale = noise(&[2], 3.0);
    for (name, loss) in all() {
        // VID has its own line below; the width of the Gaussian kernel is a constant to the gradient alone.
        if name != "vid" && name != "nst, gaussian" {
            by_differences(name, &student, |s| loss(s, &teacher));
        }
    }
    by_differences("vid", &student, |s| vid(s, &teacher, &scale));
    by_differences("vid scale", &scale, |scale| vid(&student, &teacher, scale));
    let variance = mean_squared_distance(&student, &teacher).unwrap();
    by_differences("nst, gaussian", &student, |s| nst_gaussian(s, &teacher, Some(variance)));
    by_differences("nst, cubic", &student, |s| nst(s, &teacher, 3, 0.5));
    by_differences("at, power 3", &student, |s| at(s, &teacher, 3.0));
}

#[test]
fn the_teacher_is_a_constant() {
    let (s, t) = (noise(&[3, 2, 3, 3], 1.0), Var::from_tensor(&noise(&[3, 2, 3, 3], 2.0)).unwrap());
    for (name, loss) in all() {
        let s = Var::from_tensor(&s).unwrap();
        let grads = loss(&s, &t).unwrap().backward().unwrap();
        assert!(grads.get(&s).is_some() && grads.get(&t).is_none(), "{name}");
    }
}

/// The value and the gradient in `f32`, both finite.
fn finite(what: &str, loss: &FeatureLoss, student: &Tensor, teacher: &Tensor) -> (f64, Vec<f64>) {
    let student = Var::from_tensor(&student.to_dtype(DType::F32).unwrap()).unwrap();
    let value = loss(&student, &teacher.to_dtype(DType::F32).unwrap()).unwrap();
    let grads = numbers(value.backward().unwrap().get(&student).unwrap());
    let value = number(&value);
    assert!(value.is_finite() && grads.iter().all(|grad| grad.is_finite()), "{what}: {value}, {grads:?}");
    (value, grads)
}

#[test]
fn extreme_and_dead_features_stay_finite() {
    let shape = [3, 2, 3, 3];
    let zeros = noise(&shape, 0.0).zeros_like().unwrap();
    let half_dead = noise(&shape, 1.0).relu().unwrap();
    let large = (noise(&shape, 2.0) * 1e4).unwrap();
    let constant = (zeros.clone() + 3.0).unwrap();
    let teacher = noise(&shape, 3.0).relu().unwrap();
    for (name, loss) in all() {
        for (what, student) in [("zeros", &zeros), ("half", &half_dead), ("large", &large), ("constant", &constant)] {
            let (_, grads) = finite(&format!("{name} of {what}"), &loss, student, &teacher);
            assert!(grads.iter().all(|grad| grad.abs() < 1e6), "{name} of {what}: {grads:?}");
            finite(&format!("{name} against {what}"), &loss, &teacher, student);
        }
    }
}

#[test]
fn one_sample_has_no_relations() {
    let (student, teacher) = (noise(&[1, 2, 3, 3], 1.0), noise(&[1, 2, 3, 3], 2.0));
    for (name, loss) in all() {
        let (value, grads) = finite(name, &loss, &student, &teacher);
        if ["sp", "rkd", "pkt"].contains(&name) {
            assert!(value.abs() < 1e-6 && grads.iter().all(|grad| grad.abs() < 1e-6), "{name}: {value}, {grads:?}");
        }
    }
}

#[test]
fn a_student_that_is_the_teacher_loses_nothing() {
    let features = noise(&[4, 2, 3, 3], 1.0);
    for (name, loss) in all() {
        if name != "vid" {
            let (value, grads) = finite(name, &loss, &features, &features);
            assert!(value.abs() < 1e-6 && grads.iter().all(|grad| grad.abs() < 1e-5), "{name}: {value}, {grads:?}");
        }
    }
}

#[test]
fn taps_may_be_permuted_views() {
    let (student, teacher) = (noise(&[3, 3, 4, 2], 1.0), noise(&[3, 3, 4, 2], 2.0));
    let view = |x: &Tensor| x.permute((0, 3, 1, 2)).unwrap();
    for (name, loss) in all() {
        let (viewed, copied) = (view(&student), view(&student).contiguous().unwrap());
        let value = number(&loss(&viewed, &view(&teacher)).unwrap());
        assert_eq!(value, number(&loss(&copied, &view(&teacher).contiguous().unwrap()).unwrap()), "{name}");
    }
}

#[test]
fn equal_samples_and_opposite_ones_give_tame_gradients() {
    let rows = Tensor::new(&[[1.0_f32, 2.0], [1.0, 2.0], [-1.0, -2.0]], &Device::Cpu).unwrap();
    let zero = Tensor::new(&[[0.0_f32, 0.0], [1.0, 2.0], [-1.0, -2.0]], &Device::Cpu).unwrap();
    let teacher = noise(&[3, 4], 1.0);
    for (name, loss) in all().into_iter().filter(|(name, _)| ["sp", "rkd", "pkt"].contains(name)) {
        for rows in [&rows, &zero] {
            let (_, grads) = finite(name, &loss, rows, &teacher);
            assert!(grads.iter().all(|grad| grad.abs() < 100.0), "{name}: {grads:?}");
        }
    }
}

#[test]
fn a_row_of_zeros_stays_one() {
    let x = Tensor::new(&[[0.0_f32, 0.0], [3.0, 4.0]], &Device::Cpu).unwrap();
    assert_eq!(unit_rows(&x).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 0.0], [0.6, 0.8]]);
}
