//! ReviewKD, and the layers that losses train themselves.

use attar_distill::losses::differentiable::{batch_norm, conv2d, resize_nearest, times_constant};
use attar_distill::losses::maps::adaptive_avg_pool;
use attar_distill::losses::review::{Fusion, hcl, review};
use candle_core::{DType, Device, Tensor, Var};
use serde_json::Value;

use crate::common::{by_differences, cases, noise, number, numbers};
use crate::leaves::{Lookup, Scene, all_against_pytorch, build, network};

fn size(settings: &Value) -> [usize; 2] {
    serde_json::from_value(settings["size"].clone()).unwrap()
}

/// A layer's output as the fixtures weigh it.
fn weighed(y: &Tensor, weights: &Tensor) -> attar_distill::Result<Tensor> {
    Ok(((y * weights)?.sum_all()? / y.elem_count() as f64)?)
}

#[test]
fn layers_are_pytorchs() {
    for (case, settings, tensors) in cases("review", "conv2d") {
        let of = |name: &str| settings[name].as_u64().unwrap() as usize;
        all_against_pytorch(&case, &tensors, |at| {
            weighed(&conv2d(&at("x"), &at("weight"), of("stride"), of("padding"))?, &at("weights"))
        });
    }
    for (case, settings, tensors) in cases("review", "batch-norm") {
        let eps = settings["eps"].as_f64().unwrap();
        all_against_pytorch(&case, &tensors, |at| {
            weighed(&batch_norm(&at("x"), &at("scale"), &at("shift"), eps)?, &at("weights"))
        });
    }
    for (case, settings, tensors) in cases("review", "resize") {
        all_against_pytorch(&case, &tensors, |at| weighed(&resize_nearest(&at("x"), size(&settings))?, &at("weights")));
    }
    for (case, settings, tensors) in cases("review", "pool") {
        all_against_pytorch(&case, &tensors, |at| {
            weighed(&adaptive_avg_pool(&at("x"), size(&settings))?, &at("weights"))
        });
    }
}

#[test]
fn hierarchical_context_is_the_benchmarks() {
    for (case, settings, tensors) in cases("review", "hcl") {
        let stages = settings["stages"].as_u64().unwrap();
        all_against_pytorch(&case, &tensors, |at| hcl(&list(at, "student", stages), &list(at, "teacher", stages)));
    }
}

fn list(at: Lookup<'_>, name: &str, count: u64) -> Vec<Tensor> {
    (0..count).map(|i| at(&format!("{name}{i}"))).collect()
}

#[test]
fn review_is_the_benchmarks() {
    for (case, settings, tensors) in cases("review", "review") {
        let stages = settings["stages"].as_u64().unwrap();
        all_against_pytorch(&case, &tensors, |at| {
            let of = |i: u64, name: &str| at(&format!("{i}.{name}"));
            let teacher = list(at, "teacher", stages);
            let (mut maps, mut fusions) = (Vec::new(), Vec::new());
            for i in 0..stages {
                // What the connectors do before the loss.
                let reduced = conv2d(&of(i, "features"), &of(i, "reduce.weight"), 1, 0)?;
                maps.push(batch_norm(&reduced, &of(i, "reduce.scale"), &of(i, "reduce.shift"), 1e-5)?);
                fusions.push(Fusion {
                    attention: (i + 1 < stages).then(|| [of(i, "attention.weight"), of(i, "attention.bias")]),
                    weight: of(i, "out.weight"),
                    scale: of(i, "out.scale"),
                    shift: of(i, "out.shift"),
                });
            }
            let sizes: Vec<[usize; 2]> = teacher.iter().map(|map| [map.dims()[2], map.dims()[3]]).collect();
            hcl(&review(&maps, &fusions, &sizes)?, &teacher)
        });
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (x, weight) = (noise(&[2, 2, 5, 4], 1.0), noise(&[3, 2, 3, 3], 2.0));
    let square = |y: &Tensor| Ok(y.sqr()?.mean_all()?);
    for (stride, padding) in [(1, 1), (2, 1), (1, 0)] {
        by_differences("conv2d x", &x, |x| square(&conv2d(x, &weight, stride, padding)?));
        by_differences("conv2d weight", &weight, |weight| square(&conv2d(&x, weight, stride, padding)?));
    }
    let (scale, shift) = (noise(&[2], 3.0), noise(&[2], 4.0));
    let cube = |y: &Tensor| Ok((y.sqr()? * y)?.mean_all()?);
    by_differences("batch norm x", &x, |x| cube(&batch_norm(x, &scale, &shift, 1e-3)?));
    by_differences("batch norm scale", &scale, |scale| cube(&batch_norm(&x, scale, &shift, 1e-3)?));
    by_differences("batch norm shift", &shift, |shift| cube(&batch_norm(&x, &scale, shift, 1e-3)?));
    for size in [[7, 8], [2, 3], [5, 4]] {
        by_differences("resize", &x, |x| square(&resize_nearest(x, size)?));
        by_differences("pool", &x, |x| square(&adaptive_avg_pool(x, size)?));
    }
    let (rows, constant) = (noise(&[3, 4], 5.0), noise(&[2, 4], 6.0));
    by_differences("times constant", &rows, |rows| square(&times_constant(rows, &constant)?));
    // A map that is read twice, as the deeper one in a fusion is.
    by_differences("twice", &x, |x| {
        square(
            &(resize_nearest(x, [5, 5])?
                + conv2d(x, &noise(&[2, 2, 1, 2], 7.0), 1, 1)?.narrow(2, 0, 5)?.narrow(3, 0, 5)?)?,
        )
    });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let x = noise(&[1, 2, 1, 1], 1.0);
    let one = noise(&[2], 2.0);
    assert!(batch_norm(&x, &one, &one, 1e-5).unwrap_err().to_string().contains("one value"));
    assert!(batch_norm(&x, &noise(&[3], 1.0), &one, 1e-5).unwrap_err().to_string().contains("do not fit"));
    let message = conv2d(&x, &noise(&[4, 3, 1, 1], 1.0), 1, 0).unwrap_err().to_string();
    assert!(message.contains("[1, 2, 1, 1] F64, [4, 3, 1, 1] F64: they do not fit"), "{message}");
    assert!(conv2d(&x, &noise(&[4, 2, 3, 3], 1.0), 1, 0).is_err(), "a kernel larger than the map");
    assert!(hcl(&[], &[]).is_err());
    assert!(review(std::slice::from_ref(&x), &[], &[]).is_err());
}

#[test]
fn one_sample_and_extreme_maps_stay_finite_and_the_teacher_is_a_constant() {
    let own = Var::from_tensor(&(noise(&[1, 2, 5, 5], 1.0) * 1e4).unwrap().to_dtype(DType::F32).unwrap()).unwrap();
    let other = Var::from_tensor(&noise(&[1, 2, 5, 5], 2.0).to_dtype(DType::F32).unwrap()).unwrap();
    let value = hcl(&[own.as_tensor().clone()], &[other.as_tensor().clone()]).unwrap();
    assert!(number(&value).is_finite());
    let grads = value.backward().unwrap();
    assert!(grads.get(&other).is_none());
    assert!(numbers(grads.get(&own).unwrap()).iter().all(|grad| grad.is_finite()));

    // Attention that is sure of itself takes one map whole.
    let maps = [noise(&[1, 2, 4, 4], 1.0), noise(&[1, 2, 2, 2], 2.0)];
    let bias = Tensor::new(&[1e6_f64, -1e6], &Device::Cpu).unwrap();
    let fusion = |attention| Fusion {
        attention,
        weight: noise(&[3, 2, 3, 3], 3.0),
        scale: noise(&[3], 4.0),
        shift: noise(&[3], 5.0),
    };
    let sure = [fusion(Some([noise(&[2, 4, 1, 1], 6.0), bias])), fusion(None)];
    let fused = review(&maps, &sure, &[[4, 4], [2, 2]]).unwrap();
    let alone = review(&maps[..1], &[fusion(None)], &[[4, 4]]).unwrap();
    assert_eq!(numbers(&fused[0]), numbers(&alone[0]));
}

#[test]
fn reviewkd_reads_every_stage_and_the_pooled_features() {
    let (student, teacher) = (network("small", &[4, 6], 8), network("large", &[5, 7], 8));
    let mut scene = Scene::new("kind = \"reviewkd\"", student, vec![teacher]);
    let taps = scene.loss.taps();
    let names = |graph: &attar_models::Outline, nodes: Vec<attar_models::NodeId>| -> Vec<String> {
        nodes.into_iter().map(|id| graph.value(id).name.clone()).collect()
    };
    let own = taps.student.iter().map(|tap| tap.node).collect();
    assert_eq!(names(&scene.student, own), ["layer1.relu", "layer2.relu", "layer2.relu"]);
    assert_eq!(names(&scene.teachers[0], taps.teachers[0].clone()), ["layer1.conv", "layer2.conv", "avgpool"]);
    let outputs: Vec<Vec<usize>> =
        taps.student.iter().map(|tap| tap.connector.as_ref().unwrap().graph.output_shape().to_vec()).collect();
    assert_eq!(outputs, [[6, 8, 8], [6, 4, 4], [6, 1, 1]]);
    assert_eq!(scene.params.keys().collect::<Vec<_>>().len(), 3 * 3 + 2 * 2);
    assert_eq!(scene.params["layer1.out.weight"].dims(), [5, 6, 3, 3]);
    assert_eq!(scene.params["layer2.attention.weight"].dims(), [2, 12, 1, 1]);
    let answers = scene.answers(&[0, 1, 2], 1.0);
    scene.trains(&answers, 1.0);
}

#[test]
fn settings_of_reviewkd_choose_what_is_read() {
    let (student, teacher) = (network("small", &[4, 6], 8), [network("large", &[5, 7, 9], 8)]);
    let text =
        "kind = \"reviewkd\"\npairs = [[\"layer1\", \"layer2\"]]\npooled = false\npre_activation = false\nwidth = 3";
    let mut scene = Scene::new(text, student.clone(), teacher.to_vec());
    let taps = scene.loss.taps();
    assert_eq!(taps.student[0].connector.as_ref().unwrap().graph.output_shape(), [3, 8, 8]);
    assert_eq!(scene.teachers[0].value(taps.teachers[0][0]).name, "layer2.relu");
    let answers = scene.answers(&[3, 1], 1.0);
    scene.trains(&answers, 1.0); // the student's map is reduced to the teacher's
    for (text, expected) in [
        ("kind = \"reviewkd\"", "losses.x.loss.pairs: stages cannot be paired"),
        ("kind = \"reviewkd\"\nwidth = 0\n", "losses.x.loss.width: 0"),
        ("kind = \"reviewkd\"\npairs = [[\"avgpool\", \"layer1\"]]", "`avgpool` of the student has [6]"),
    ] {
        let message = build(text, &student, &teacher).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
