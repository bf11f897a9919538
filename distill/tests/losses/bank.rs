//! CRD: contrast with memory banks and within the batch.

use attar_distill::losses::contrast::{info_nce, log_partition, noise_contrast};
use attar_distill::losses::crd::{in_batch, remember, scores};
use attar_distill::losses::embed;
use attar_distill::losses::maps::unit_rows;
use candle_core::{DType, Device, Tensor, Var};

use crate::common::{by_differences, cases, close, noise, number, numbers};
use crate::leaves::{SAMPLES, Scene, all_against_pytorch, build, network};

#[test]
fn crd_is_the_authors() {
    for (case, settings, tensors) in cases("bank", "crd") {
        let setting = |name: &str| settings[name].as_f64().unwrap();
        let (samples, temperature) = (setting("samples") as usize, setting("temperature"));
        let chosen = tensors["chosen"].to_dtype(DType::U32).unwrap();
        // Student anchors are compared with the teacher's bank and the other way round; of the first batch Z is the mean.
        let term = |at: crate::leaves::Lookup<'_>, side: &str, bank: &str| {
            let of = |name: &str| at(&format!("{side}.{name}"));
            let rows = embed(&of("features"), &of("weight"), &of("bias"))?;
            let scores = scores(&rows, &at(&format!("bank.{bank}")), &chosen, temperature)?;
            let name = format!("partition.{side}");
            let log_z = match tensors.contains_key(&name) {
                true => number(&at(&name)).ln(),
                false => log_partition(&scores, samples)?,
            };
            close(
                &format!("{case} {name}"),
                &Tensor::new(log_z.exp(), &Device::Cpu)?,
                &tensors[&format!("after.{name}")],
                1e-5,
            );
            noise_contrast(&scores, log_z, samples)
        };
        all_against_pytorch(&case, &tensors, |at| {
            Ok((term(at, "student", "teacher")? + term(at, "teacher", "student")?)?)
        });
        for side in ["student", "teacher"] {
            let of = |name: &str| tensors[&format!("{side}.{name}")].clone();
            let bank = tensors[&format!("bank.{side}")].copy().unwrap();
            let rows = embed(&of("features"), &of("weight"), &of("bias")).unwrap();
            let ids = tensors["ids"].to_dtype(DType::U32).unwrap();
            remember(&bank, &ids, &rows, setting("momentum")).unwrap();
            close(&format!("{case} bank {side}"), &bank, &tensors[&format!("after.{side}")], 2e-6);
        }
    }
}

#[test]
fn contrast_within_the_batch_is_pytorchs() {
    for (case, settings, tensors) in cases("bank", "in-batch") {
        let temperature = settings["temperature"].as_f64().unwrap();
        all_against_pytorch(&case, &tensors, |at| {
            in_batch(&unit_rows(&at("student"))?, &unit_rows(&at("teacher"))?, temperature)
        });
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (x, others) = (noise(&[3, 4], 1.0), noise(&[5, 4], 2.0));
    let weights = noise(&[3, 4], 3.0);
    by_differences("unit rows", &x, |x| Ok((unit_rows(x)? * &weights)?.sum_all()?));
    by_differences("anchors", &x, |x| Ok(info_nce(x, &others, 0.8)?.mean_all()?));
    by_differences("candidates", &others, |others| Ok(info_nce(&x, others, 0.8)?.mean_all()?));
    let chosen = Tensor::new(&[[0_u32, 1, 1], [1, 4, 0], [2, 3, 3]], &Device::Cpu).unwrap();
    by_differences("contrast", &x, |x| noise_contrast(&scores(x, &others, &chosen, 0.8)?, 1.3, 7));
    let (weight, bias) = (noise(&[2, 4], 4.0), noise(&[2], 5.0));
    let sum = |rows: Tensor| Ok((rows * &noise(&[3, 2], 6.0))?.sum_all()?);
    by_differences("embed features", &x, |x| sum(embed(x, &weight, &bias)?));
    by_differences("embed weight", &weight, |weight| sum(embed(&x, weight, &bias)?));
}

#[test]
fn extreme_scores_and_zero_features_stay_finite() {
    let extreme =
        Var::from_tensor(&Tensor::new(&[[1e4_f32, -1e4, 1e4], [-1e4, 1e4, 0.]], &Device::Cpu).unwrap()).unwrap();
    let value = noise_contrast(&extreme, log_partition(&extreme, 5).unwrap(), 5).unwrap();
    assert!(number(&value).is_finite());
    assert!(numbers(value.backward().unwrap().get(&extreme).unwrap()).iter().all(|grad| grad.is_finite()));
    let zeros = Var::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    let value = in_batch(&unit_rows(&zeros).unwrap(), &unit_rows(&zeros).unwrap(), 1e-3).unwrap();
    close("nothing to tell apart", &value, &Tensor::new(2.0 * 2f64.ln(), &Device::Cpu).unwrap(), 1e-6);
    assert!(numbers(value.backward().unwrap().get(&zeros).unwrap()).iter().all(|grad| grad.is_finite()));
    let one = noise_contrast(&Tensor::zeros((1, 1), DType::F32, &Device::Cpu).unwrap(), 0.0, 5);
    assert!(one.unwrap_err().to_string().contains("without negatives"));
}

#[test]
fn a_row_named_twice_follows_the_last() {
    let bank = noise(&[4, 3], 1.0);
    let features = unit_rows(&noise(&[2, 3], 2.0)).unwrap();
    let ids = Tensor::new(&[2_u32, 2], &Device::Cpu).unwrap();
    let before = numbers(&bank);
    remember(&bank, &ids, &features, 0.0).unwrap();
    let after = numbers(&bank);
    assert_eq!(after[..6], before[..6]);
    assert_eq!(after[9..], before[9..]);
    close("row 2", &bank.narrow(0, 2, 1).unwrap(), &features.narrow(0, 1, 1).unwrap(), 1e-12);
}

fn scene(settings: &str) -> Scene {
    let text = format!("kind = \"crd\"\ndim = 5\n{settings}");
    Scene::new(&text, network("small", &[4, 6], 8), vec![network("large", &[5, 7], 8)])
}

#[test]
fn both_embeddings_learn_and_the_banks_follow() {
    for settings in
        ["negatives = 4", "in_batch = true", "negatives = 3\nexclude = \"image\"\npairs = [[\"layer2\", \"layer1\"]]"]
    {
        let mut scene = scene(settings);
        assert_eq!(scene.params.keys().collect::<Vec<_>>(), ["teacher.bias", "teacher.weight"]);
        assert_eq!(scene.loss.taps().student[0].connector.as_ref().unwrap().graph.output_shape(), [5]);
        let answers = scene.answers(&[0, 4, 8, 1], 1.0);
        let first = number(&scene.trains(&answers, 1.0));
        scene.step(&answers, 1.0, |loss, step| loss.after(step)).unwrap();
        let again = number(&scene.trains(&answers, 1.0));
        let in_batch = settings.contains("in_batch");
        assert_eq!(again == first, in_batch, "the same negatives, whose banks have moved");
        assert_eq!(scene.loss.state().unwrap().is_empty(), in_batch);
    }
}

/// Whether the loss of an anchor depends on a row of the bank of a network, negatives being drawn so often that none is missed.
fn depends(scene: &mut Scene, bank: &str, row: usize) -> bool {
    let anchor = scene.answers(&[0], 2.0);
    let value = |scene: &mut Scene| number(&scene.step(&anchor, 2.0, |loss, step| loss.loss(step)).unwrap());
    let before = value(scene);
    let (kept, mut state) = (scene.loss.state().unwrap(), scene.loss.state().unwrap());
    let mut rows = state[bank].to_vec2::<f32>().unwrap();
    rows[row].iter_mut().for_each(|value| *value = -*value);
    state.insert(bank.to_owned(), Tensor::new(rows, &Device::Cpu).unwrap());
    scene.loss.load(state).unwrap();
    let after = value(scene);
    scene.loss.load(kept).unwrap();
    assert_eq!(value(scene), before);
    after != before
}

/// Classes are the images' numbers modulo 3, and 0 is the anchor.
#[test]
fn an_anchor_is_told_apart_from_other_classes_or_from_other_images() {
    for (exclude, not_compared) in [("class", &[3, 6][..]), ("image", &[])] {
        let mut scene = scene(&format!("negatives = 300\ntemperature = 1\nexclude = \"{exclude}\""));
        let all = scene.answers(&(0..SAMPLES as u32).collect::<Vec<_>>(), 1.0);
        scene.step(&all, 1.0, |loss, step| loss.after(step)).unwrap();
        for bank in ["student", "teacher"] {
            let found: Vec<usize> = (0..SAMPLES).filter(|row| !depends(&mut scene, bank, *row)).collect();
            assert_eq!(found, not_compared, "{exclude}, bank of the {bank}");
        }
    }
}

#[test]
fn a_resumed_run_is_the_unbroken_run() {
    let mut unbroken = scene("negatives = 4");
    for time in [1.0, 1.5] {
        let answers = unbroken.answers(&[0, 4, 8], time);
        unbroken.step(&answers, time, |loss, step| loss.after(step)).unwrap();
    }
    let mut resumed = scene("negatives = 4");
    let state = unbroken.loss.state().unwrap();
    assert_eq!(state.keys().collect::<Vec<_>>(), ["labels", "log-partitions", "student", "teacher"]);
    resumed.loss.load(state).unwrap();
    let answers = unbroken.answers(&[1, 2, 4], 3.0);
    let value = |scene: &mut Scene, time| number(&scene.step(&answers, time, |loss, step| loss.loss(step)).unwrap());
    assert_eq!(value(&mut resumed, 2.0), value(&mut unbroken, 2.0));
    assert_ne!(value(&mut unbroken, 2.0), value(&mut unbroken, 2.5), "other negatives at another time");
    assert_ne!(value(&mut scene("negatives = 4"), 2.0), value(&mut unbroken, 2.0));

    let mut short = unbroken.loss.state().unwrap();
    short.remove("teacher");
    assert!(resumed.loss.load(short).unwrap_err().to_string().contains("`teacher` is missing"));
    let mut wrong = unbroken.loss.state().unwrap();
    wrong.insert("student".to_owned(), Tensor::zeros((SAMPLES, 4), DType::F32, &Device::Cpu).unwrap());
    assert!(resumed.loss.load(wrong).unwrap_err().to_string().contains("`student` has shape [9, 4], expected [9, 5]"));
}

#[test]
fn what_does_not_fit_is_told() {
    let (student, teacher) = (network("small", &[4, 6], 8), [network("large", &[5, 7], 8)]);
    for (text, expected) in [
        ("temperature = 0", "losses.x.loss.temperature: 0"),
        ("dim = 0", "losses.x.loss.dim: 0"),
        ("negatives = 0", "losses.x.loss.negatives: 0"),
        ("momentum = 1.5", "losses.x.loss.momentum: 1.5 is not in [0, 1]"),
        (
            "pairs = [[\"fc\", \"fc\"]]",
            "losses.x.loss.pairs: needs a map [C, H, W] or its mean, `fc` of the student has [4]",
        ),
        ("pairs = \"stages\"", "losses.x.loss.pairs: this loss compares one pair, the recipe names 2"),
    ] {
        let message = build(&format!("kind = \"crd\"\n{text}"), &student, &teacher).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let mut scene = scene("negatives = 4");
    let answers = scene.answers(&[SAMPLES as u32], 1.0);
    let message = scene.step(&answers, 1.0, |loss, step| loss.loss(step)).unwrap_err().to_string();
    assert!(message.contains("sample 9 of 9 training images"), "{message}");
}
