//! Losses of logits against PyTorch, mostly against their authors' code, and against finite differences.

use attar_distill::Result;
use attar_distill::losses::cross_entropy::cross_entropy;
use attar_distill::losses::dist::dist;
use attar_distill::losses::dkd::dkd;
use attar_distill::losses::dtd::{Dynamic, dtd, temperatures};
use attar_distill::losses::kd::{kd, repaired_kd};
use attar_distill::losses::logits::{Repair, Spread, Standardise, Wrong, standardise};
use attar_distill::losses::meal::{Game, Layer, discriminate, meal, play, told_apart};
use attar_distill::losses::mlkd::{MlkdSpec, batch_level, class_level, mlkd};
use attar_distill::losses::nkd::nkd;
use attar_distill::losses::ps_kd::{progressive, share};
use attar_distill::losses::tf_kd::tf_kd;
use attar_distill::losses::ttm::ttm;
use attar_distill::losses::wkd_l::{Holds, distances, sharpened, transport};
use candle_core::{DType, Device, Tensor, Var};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::common::{Tensors, against_pytorch, by_differences, cases, close, noise, number, numbers};

const FILE: &str = "logits";

/// A setting of a case.
fn get<T: DeserializeOwned>(settings: &Value, name: &str) -> T {
    serde_json::from_value(settings[name].clone()).unwrap()
}

fn labels(tensors: &Tensors) -> Tensor {
    tensors["labels"].to_dtype(DType::U32).unwrap()
}

fn repair(settings: &Value) -> Repair {
    Repair { wrong: get(settings, "wrong"), epsilon: get(settings, "epsilon"), ..Repair::default() }
}

#[test]
fn standardised_kd_is_the_authors() {
    for (case, settings, tensors) in cases(FILE, "lskd") {
        let (temperature, front): (f64, Standardise) = (get(&settings, "temperature"), get(&settings, "standardise"));
        against_pytorch(&case, &tensors, "logits", |z, input| {
            let (student, teacher) = front.pair(z, &input("teacher"))?;
            kd(&student, &teacher, temperature)
        });
    }
}

#[test]
fn repaired_teachers_are_pytorchs() {
    for (case, settings, tensors) in cases(FILE, "kd") {
        let (temperature, repair, labels) = (get(&settings, "temperature"), repair(&settings), labels(&tensors));
        against_pytorch(&case, &tensors, "logits", |z, input| {
            repaired_kd(z, &input("teacher"), &labels, temperature, &repair)
        });
    }
}

#[test]
fn dynamic_temperatures_are_textbrewers() {
    for (case, settings, tensors) in cases(FILE, "dtd") {
        let (base, dynamic, repair): (f64, Dynamic, _) =
            (get(&settings, "base"), get(&settings, "dynamic"), repair(&settings));
        let labels = labels(&tensors);
        against_pytorch(&case, &tensors, "logits", |z, input| {
            dtd(z, &input("teacher"), &labels, base, dynamic, &repair)
        });
        if repair.wrong == Wrong::Keep {
            let tau = temperatures(&tensors["logits"], &tensors["teacher"], base, dynamic).unwrap();
            close(&format!("{case} tau"), &tau, &tensors["tau"], 1e-6);
        }
    }
}

#[test]
fn dkd_is_mdistillers() {
    for (case, settings, tensors) in cases(FILE, "dkd") {
        let front: Standardise = get(&settings, "standardise");
        let [temperature, alpha, beta] = ["temperature", "alpha", "beta"].map(|name| get(&settings, name));
        let labels = labels(&tensors);
        against_pytorch(&case, &tensors, "logits", |z, input| {
            let (student, teacher) = front.pair(z, &input("teacher"))?;
            dkd(&student, &teacher, &labels, temperature, alpha, beta)
        });
    }
}

#[test]
fn dist_is_pytorchs() {
    for (case, settings, tensors) in cases(FILE, "dist") {
        let [temperature, beta, gamma] = ["temperature", "beta", "gamma"].map(|name| get(&settings, name));
        against_pytorch(&case, &tensors, "logits", |z, input| dist(z, &input("teacher"), temperature, beta, gamma));
    }
}

#[test]
fn nkd_is_the_authors() {
    for (case, settings, tensors) in cases(FILE, "nkd") {
        let [temperature, gamma] = ["temperature", "gamma"].map(|name| get(&settings, name));
        let labels = labels(&tensors);
        against_pytorch(&case, &tensors, "logits", |z, input| nkd(z, &input("teacher"), &labels, temperature, gamma));
    }
}

#[test]
fn ttm_is_the_authors() {
    for (case, settings, tensors) in cases(FILE, "ttm") {
        let (gamma, weighted) = (get(&settings, "gamma"), get(&settings, "weighted"));
        against_pytorch(&case, &tensors, "logits", |z, input| ttm(z, &input("teacher"), gamma, weighted));
    }
}

#[test]
fn tf_kd_is_the_authors_summed_over_the_classes() {
    for (case, settings, tensors) in cases(FILE, "tfkd") {
        let [temperature, right] = ["temperature", "right"].map(|name| get(&settings, name));
        let labels = labels(&tensors);
        against_pytorch(&case, &tensors, "logits", |z, _| tf_kd(z, &labels, temperature, right));
    }
}

#[test]
fn the_levels_of_mlkd_are_the_authors() {
    for (kind, level) in
        [("batch_level", batch_level as fn(&Tensor, &Tensor, f64) -> Result<Tensor>), ("class_level", class_level)]
    {
        for (case, settings, tensors) in cases(FILE, kind) {
            let temperature = get(&settings, "temperature");
            against_pytorch(&case, &tensors, "logits", |z, input| level(z, &input("teacher"), temperature));
        }
    }
}

#[test]
fn mlkd_is_the_authors_with_and_without_its_quirks() {
    for (case, settings, tensors) in cases(FILE, "mlkd") {
        let (quirks, standardise) = (get(&settings, "quirks"), get(&settings, "standardise"));
        let spec = MlkdSpec { quirks, standardise, ..MlkdSpec::default() };
        for leaf in ["weak", "strong"] {
            against_pytorch(&case, &tensors, leaf, |z, input| {
                let own = |name: &str| if name == leaf { z.clone() } else { input(name) };
                let (weak, strong) = (own("weak"), own("strong"));
                mlkd(&[(&weak, &input("weak_teacher")), (&strong, &input("strong_teacher"))], &spec)
            });
        }
    }
}

#[test]
fn distances_of_classes_are_the_authors() {
    for (case, settings, tensors) in cases(FILE, "cost") {
        let (holds, sharpen): (Holds, f64) = (get(&settings, "holds"), get(&settings, "sharpen"));
        let tensor = tensors["tensor"].to_dtype(DType::F64).unwrap();
        let found = sharpened(&distances(&tensor, holds).unwrap(), sharpen).unwrap();
        close(&case, &found, &tensors["distances"], 1e-6);
    }
}

#[test]
fn wkd_is_the_authors() {
    for (case, settings, tensors) in cases(FILE, "wkd") {
        let [temperature, regulariser, weight] =
            ["temperature", "regulariser", "transport"].map(|name| get(&settings, name));
        let (iterations, labels) = (get(&settings, "iterations"), labels(&tensors));
        against_pytorch(&case, &tensors, "logits", |z, input| {
            let (teacher, cost) = (input("teacher"), input("cost"));
            let moved = transport(z, &teacher, &labels, &cost, temperature, regulariser, iterations)?;
            // The label's own term is NKD's.
            Ok((nkd(z, &teacher, &labels, 1.0, 0.0)? + (moved * weight)?)?)
        });
    }
}

#[test]
fn progressive_targets_are_the_authors() {
    for (case, settings, tensors) in cases(FILE, "pskd") {
        let share = get(&settings, "share");
        against_pytorch(&case, &tensors, "logits", |z, input| {
            cross_entropy(z, &progressive(&input("targets"), &input("past"), share)?, 0.0)
        });
    }
    // The code's schedule, with its epochs from 0: alpha_T (epoch + 1) / E.
    assert_eq!(share(0.8, 1.0, 10.0), 0.8 * 0.1);
    assert_eq!(share(0.8, 1.99, 10.0), 0.8 * 0.1);
    assert_eq!(share(0.8, 10.5, 10.0), 0.8);
    assert_eq!(share(0.8, 11.0, 10.0), 0.8);
}

#[test]
fn meal_is_the_authors() {
    for (case, settings, tensors) in cases(FILE, "meal") {
        let teachers: usize = get(&settings, "teachers");
        against_pytorch(&case, &tensors, "logits", |z, input| {
            let teachers: Vec<Tensor> = (0..teachers).map(|i| input(&format!("teacher{i}"))).collect();
            meal(z, &teachers.iter().collect::<Vec<_>>())
        });
    }
}

#[test]
fn the_games_of_meal_are_pytorchs_for_both_players() {
    let names: Vec<String> = (1..=3).flat_map(|i| ["weight", "bias"].map(|part| format!("fc{i}.{part}"))).collect();
    for (case, settings, tensors) in cases(FILE, "game") {
        let game: Game = get(&settings, "game");
        for leaf in names.iter().map(String::as_str).chain(["logits"]) {
            against_pytorch(&case, &tensors, leaf, |var, input| {
                let own = |name: &str| if name == leaf { var.clone() } else { input(name) };
                let layers: Vec<Layer> = names.chunks(2).map(|pair| (own(&pair[0]), own(&pair[1]))).collect();
                play(game, &own("logits"), &input("teacher"), &layers)
            });
        }
    }
}

/// Students, teachers, labels of which two are the teacher's answer.
fn scene() -> (Tensor, Tensor, Tensor) {
    let (z, t) = (noise(&[5, 4], 1.0), noise(&[5, 4], 2.0));
    let mut labels = t.argmax(1).unwrap().to_vec1::<u32>().unwrap();
    for label in &mut labels[..3] {
        *label = (*label + 1) % 4;
    }
    (z, t, Tensor::new(labels, &Device::Cpu).unwrap())
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (z, t, y) = scene();
    let weights = noise(&[5, 4], 4.0);
    for std in ["population", "unbiased"] {
        let spread: Spread = serde_json::from_value(serde_json::json!({ "std": std, "eps": 0.1 })).unwrap();
        by_differences("standardise", &z, |z| Ok((standardise(z, spread)? * &weights)?.sum_all()?));
    }
    for wrong in [Wrong::Keep, Wrong::Drop, Wrong::Swap, Wrong::Smooth] {
        let repair = Repair { wrong, ..Repair::default() };
        by_differences("kd", &z, |z| repaired_kd(z, &t, &y, 2.0, &repair));
    }
    by_differences("dkd", &z, |z| dkd(z, &t, &y, 2.0, 1.0, 8.0));
    by_differences("dist", &z, |z| dist(z, &t, 2.0, 1.0, 0.5));
    by_differences("nkd", &z, |z| nkd(z, &t, &y, 2.0, 1.5));
    by_differences("tf-kd", &z, |z| tf_kd(z, &y, 2.0, 0.9));
    by_differences("ttm", &z, |z| ttm(z, &t, 0.4, true));
    by_differences("transport", &z, |z| transport(z, &t, &y, &noise(&[4, 4], 3.0).sqr()?, 2.0, 0.5, 10));
    let (strong, spec) = (noise(&[5, 4], 5.0), MlkdSpec::default());
    by_differences("mlkd", &z, |z| mlkd(&[(z, &t), (&strong, &t)], &spec));
    by_differences("meal", &z, |z| meal(z, &[&t, &strong]));
}

/// Temperatures and the adversarial game hold something constant that the value depends on: only the rest is compared.
#[test]
fn gradients_of_the_free_part_agree_with_finite_differences() {
    let (z, t, y) = scene();
    let fixed = Dynamic::Cwsm { beta: 0.0, least: 1.0 };
    by_differences("dtd", &z, |z| dtd(z, &t, &y, 3.0, fixed, &Repair::default()));
    let layers: Vec<Layer> = vec![(noise(&[3, 4], 6.0), noise(&[3], 7.0)), (noise(&[2, 3], 8.0), noise(&[2], 9.0))];
    by_differences("game", &z, |z| play(Game::Joint, z, &t, &layers));
    by_differences("discriminator", &layers[0].0, |weight| {
        let layers = [(weight.clone(), layers[0].1.clone()), layers[1].clone()];
        play(Game::Joint, &z, &t, &layers)
    });
}

#[test]
fn temperatures_keep_their_mean_and_their_bound_and_carry_no_gradient() {
    let (z, t, _) = scene();
    for dynamic in [Dynamic::default(), Dynamic::Cwsm { beta: 1.0, least: 1.0 }] {
        let tau = temperatures(&z, &t, 9.0, dynamic).unwrap();
        assert!((number(&tau.mean_all().unwrap()) - 9.0).abs() < 1e-12);
    }
    let far = temperatures(&z, &t, 4.0, Dynamic::Flsw { beta: 100.0, gamma: 2.0, least: 1.5 }).unwrap();
    assert!(numbers(&far).iter().all(|tau| *tau >= 1.5) && numbers(&far).contains(&1.5));
    let z = candle_core::Var::from_tensor(&z).unwrap();
    let tau = temperatures(&z, &t, 4.0, Dynamic::default()).unwrap();
    assert!(tau.sum_all().unwrap().backward().unwrap().get(&z).is_none());
}

/// One player of the adversarial game learns for thirty steps while the other stands still, and gets better at it.
#[test]
fn each_player_of_the_adversarial_game_improves_while_the_other_stands_still() {
    let (student, teacher) = (noise(&[6, 4], 1.0), noise(&[6, 4], 2.0));
    let mut layers: Vec<Var> = [([5, 4].as_slice(), 3.0), (&[5], 4.0), (&[2, 5], 5.0), (&[2], 6.0)]
        .into_iter()
        .map(|(shape, salt)| Var::from_tensor(&(noise(shape, salt) * 0.3).unwrap()).unwrap())
        .collect();
    let pairs = |layers: &[Var]| -> Vec<Layer> {
        layers.chunks(2).map(|pair| (pair[0].as_tensor().clone(), pair[1].as_tensor().clone())).collect()
    };
    let told = |logits: &Tensor, layers: &[Var], is_teacher| {
        number(&told_apart(&discriminate(logits, &pairs(layers), false).unwrap(), is_teacher).unwrap())
    };
    let descend = |var: &Var, grad: &Tensor, by: f64| {
        Var::from_tensor(&(var.as_tensor() - (grad * by).unwrap()).unwrap()).unwrap()
    };

    let apart = |layers: &[Var]| told(&student, layers, false) + told(&teacher, layers, true);
    let start = apart(&layers);
    for _ in 0..30 {
        let grads = play(Game::Adversarial, &student, &teacher, &pairs(&layers)).unwrap().backward().unwrap();
        layers = layers.iter().map(|var| descend(var, grads.get(var).unwrap(), 0.5)).collect();
    }
    assert!(apart(&layers) < 0.8 * start, "the discriminator: {start} -> {}", apart(&layers));

    let mut own = Var::from_tensor(&student).unwrap();
    let start = told(&own, &layers, true);
    for _ in 0..30 {
        let grads = play(Game::Adversarial, &own, &teacher, &pairs(&layers)).unwrap().backward().unwrap();
        own = descend(&own, grads.get(&own).unwrap(), 5.0);
    }
    let end = told(&own, &layers, true);
    assert!(end < 0.8 * start, "the student: {start} -> {end}");
}
