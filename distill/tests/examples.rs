//! The programs of `distill/examples` run, go on where they stopped, and leave runs like any other.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

use std::path::Path;

use attar_distill::losses::cross_entropy::CrossEntropySpec;
use attar_distill::losses::{AnyLoss, Loss, Step, Taps, Teachers};
use attar_distill::run::{self, Receipt, Silent};
use attar_distill::teacher::{Candle, Given};
use attar_distill::{Plan, PlanOptions, Recipe, Result, Trainer};
use candle_core::Tensor;

#[path = "../examples/own_data.rs"]
mod own_data;
#[path = "../examples/own_loss.rs"]
mod own_loss;
#[path = "../examples/own_teacher.rs"]
mod own_teacher;

/// Runs an example, and once more where it has finished; what it left is a whole run that only its program goes on with.
fn whole(example: impl Fn(&Path) -> Result<Receipt>, given: &str) -> Receipt {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("run");
    let receipt = example(&directory).unwrap();
    let again = example(&directory).unwrap();
    assert_eq!((receipt.epochs, &receipt.weights_sha256), (2, &again.weights_sha256));
    for file in ["card.json", "receipt.json", "checkpoints/last/model.safetensors", "reference/predictions.safetensors"]
    {
        assert!(directory.join(file).is_file(), "{file}");
    }
    let recipe = Recipe::load(&directory.join("recipe.toml"), &[]).unwrap();
    let message = Plan::new(recipe, PlanOptions::default()).map(drop).unwrap_err().to_string();
    assert!(message.contains(given) && message.contains("hint: only that program"), "{message}");
    receipt
}

#[test]
fn a_loss_of_ones_own_learns() {
    let receipt = whole(own_loss::run, "images of a program");
    assert!(receipt.test_top1_last.is_finite());
}

#[test]
fn a_data_set_of_ones_own_is_learned_from() {
    let receipt = whole(own_data::run, "images of a program");
    assert_eq!((receipt.data.sizes.train, receipt.data.sizes.validation, receipt.data.sizes.test), (64, 16, 20));
}

#[test]
fn a_teacher_of_candle_nn_teaches_with_a_map_from_inside() {
    let receipt = whole(own_teacher::run, "images of a program");
    let [teacher] = receipt.teachers.as_slice() else { panic!("{:?}", receipt.teachers) };
    assert_eq!((teacher.name.as_str(), teacher.network.as_str()), ("net", "two-convolutions"));
    assert!(teacher.check.is_some() && receipt.measures.unwrap().teachers.contains_key("net"));
}

/// Mean squared logits, by a factor that shows.
#[derive(Debug)]
struct Small {
    factor: f64,
}

impl Loss for Small {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        Ok((step.view()?.student.logits.sqr()?.mean_all()? * self.factor)?)
    }
}

fn images(count: usize, name: &str) -> attar_data::InMemory {
    let pixels = (0..count * 64).map(|i| (i * 7919 % 251) as u8).collect();
    let labels = (0..count).map(|i| (i % 2) as u32).collect();
    attar_data::InMemory::new([8, 8], 1, pixels, labels, vec!["even".to_owned(), "odd".to_owned()], name).unwrap()
}

fn trainer() -> Trainer {
    let splits = attar_data::Splits::new(images(24, "train"), images(8, "test"));
    let preprocessing = attar_pixels::Preprocessing::normalise(vec![0.5], vec![0.25]);
    Trainer::new("resnet8", splits, preprocessing).epochs(2).batch(8).validation(0.0)
}

fn teacher(classes: usize) -> Candle {
    Candle::module("zeros", [1, 8, 8], classes, move |x: &Tensor| {
        Tensor::zeros((x.dim(0)?, classes), candle_core::DType::F32, x.device())
    })
}

#[test]
fn a_run_goes_on_with_the_losses_that_it_was_begun_with() {
    let place = tempfile::tempdir().unwrap();
    let run = |factor| trainer().loss("small", 1.0, Small { factor }).run_in(place.path().join("run"), &mut Silent);
    run(0.5).unwrap();
    let message = run(0.25).map(drop).unwrap_err().to_string();
    assert!(message.contains("another recipe") && message.contains("Small { factor: 0.25 }"), "{message}");
    assert!(run::has_checkpoint(&place.path().join("run")));
}

/// The loss is built once the outlines are known; without a teacher it is refused.
#[test]
fn what_a_program_gives_is_checked_as_a_recipe_is() {
    let wants = |teachers| {
        AnyLoss::built("built", teachers, |context| {
            assert_eq!(context.student.classes(), 2);
            Ok(Box::new(Small { factor: context.teachers.len() as f64 }) as Box<dyn Loss>)
        })
    };
    let built = |trainer: Trainer| trainer.plan().map(drop).map_err(|error| error.to_string());
    built(trainer().teacher("t", teacher(2)).loss("x", 1.0, wants(Teachers::One))).unwrap();
    let message = built(trainer().loss("x", 1.0, wants(Teachers::One))).unwrap_err();
    assert!(message.contains("losses.x") && message.contains("learns from a teacher"), "{message}");
    let idle = built(trainer().teacher("t", teacher(2)).loss("ce", 1.0, CrossEntropySpec::default())).unwrap_err();
    assert!(idle.contains("teachers.t") && idle.contains("no loss and no view asks it"), "{idle}");
    // Its own size or shape is not the data's.
    let wide = Candle::module("wide", [1, 9, 8], 2, |x: &Tensor| x.flatten_from(1));
    let message = built(trainer().teacher("t", wide).loss("x", 1.0, wants(Teachers::One))).unwrap_err();
    assert!(message.contains("teachers.t") && message.contains("outline says"), "{message}");
}

/// Reads a value that is not there.
#[derive(Debug)]
struct Lost(Taps);

impl Loss for Lost {
    fn taps(&self) -> Taps {
        self.0.clone()
    }

    fn teachers(&self) -> Teachers {
        Teachers::One
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        Ok(step.view()?.student.logits.mean_all()?)
    }
}

#[test]
fn taps_of_another_network_are_found_in_the_plan() {
    let large = attar_distill::Outline::logits_only("large", [1, 8, 8], 2).with_value("map", &[4, 8, 8]).unwrap();
    let node = large.tap("map").unwrap();
    let lost = || Lost(Taps { student: Vec::new(), teachers: vec![vec![node]] });
    let message = |given: Given| {
        let trainer = trainer().teacher("t", given).loss("lost", 1.0, lost());
        trainer.plan().map(drop).unwrap_err().to_string()
    };
    let closed = message(teacher(2).into());
    assert!(closed.contains("losses.lost") && closed.contains("none of this number"), "{closed}");
}
