//! Decoding, resizing and preprocessing against what PIL and torchvision make of the same files.
//!
//! The files are made by `tests/fixtures/make/pixels.py`. Run with `--nocapture` to see the
//! measured differences.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that cannot be read fails the test")]

use std::path::{Path, PathBuf};

use attar_pixels::{
    Image, Interpolation, Preprocessing, Resize, ResizeTo, decode, preprocess, preprocess_image, preprocessed_size,
};
use serde_json::Value;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pixels")
}

fn cases(kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(directory().join("cases.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    let cases = cases[kind].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn image(case: &Value, key: &str) -> Image {
    let file = directory().join(case[key].as_str().unwrap());
    decode(&std::fs::read(&file).unwrap(), &file).unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// Largest and mean difference.
fn difference(ours: &Image, theirs: &Image, case: &Value) -> (u8, f64) {
    let shape = |image: &Image| (image.height(), image.width(), image.channels());
    assert_eq!(shape(ours), shape(theirs), "{case}");
    let apart: Vec<u8> = ours.pixels().iter().zip(theirs.pixels()).map(|(&a, &b)| a.abs_diff(b)).collect();
    let sum: u64 = apart.iter().map(|&d| u64::from(d)).sum();
    (*apart.iter().max().unwrap(), sum as f64 / apart.len() as f64)
}

fn filter(case: &Value) -> Interpolation {
    serde_json::from_value(case["filter"].clone()).unwrap()
}

/// Scaling only, for `channels` channels.
fn plain(channels: u8, to: ResizeTo, interpolation: Interpolation, crop: Option<[usize; 2]>) -> Preprocessing {
    let zeros = vec![0.0; usize::from(channels)];
    let ones = vec![1.0; usize::from(channels)];
    Preprocessing { resize: Some(Resize { to, interpolation }), crop, ..Preprocessing::normalise(zeros, ones) }
}

#[test]
fn resize_has_pils_pixels() {
    for case in cases("resize") {
        let (source, target) = (image(&case, "source"), image(&case, "target"));
        let to = ResizeTo::Exact([number(&case["height"]), number(&case["width"])]);
        let ours = preprocess_image(&source, &plain(source.channels(), to, filter(&case), None)).unwrap();
        assert_eq!(ours, target, "{case}");
    }
}

#[test]
fn resize_and_centre_crop_are_torchvisions() {
    for case in cases("eval") {
        let (source, target) = (image(&case, "source"), image(&case, "target"));
        let crop = [number(&case["crop"][0]), number(&case["crop"][1])];
        let how = plain(source.channels(), ResizeTo::ShorterEdge(number(&case["edge"])), filter(&case), Some(crop));
        let ours = preprocess_image(&source, &how).unwrap();
        assert_eq!(ours, target, "{case}");
        assert_eq!(preprocessed_size(&how, source.height(), source.width()), crop);
        let without = Preprocessing { crop: None, ..how };
        let resized = preprocess_image(&source, &without).unwrap();
        let size = [resized.height() as usize, resized.width() as usize];
        assert_eq!(preprocessed_size(&without, source.height(), source.width()), size);
    }
}

#[test]
fn normalisation_has_torchvisions_bits() {
    let text = std::fs::read_to_string(directory().join("cases.json")).unwrap();
    let case = serde_json::from_str::<Value>(&text).unwrap()["normalised"].clone();
    let floats = |key: &str| serde_json::from_value::<Vec<f32>>(case[key].clone()).unwrap();
    let input = preprocess(&image(&case, "source"), &Preprocessing::normalise(floats("mean"), floats("std"))).unwrap();
    let expected: Vec<u32> = serde_json::from_value(case["bits"].clone()).unwrap();
    assert_eq!(input.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), expected);
}

#[test]
fn policies_are_exact() {
    for case in cases("exact") {
        let (ours, theirs) = (image(&case, "source"), image(&case, "target"));
        let (most, _) = difference(&ours, &theirs, &case);
        // Two JPEG decoders may round a ramp apart by 1; everything lossless is equal.
        let allowed = u8::from(case["source"].as_str().unwrap().ends_with(".jpg"));
        assert!(most <= allowed, "{case}: {most}");
    }
}

#[test]
fn lossy_decoders_are_near_pils() {
    for (kind, limit, mean_limit) in [("jpeg", 4, 0.5), ("webp", 0, 0.0)] {
        for case in cases(kind) {
            let (most, mean) = difference(&image(&case, "source"), &image(&case, "target"), &case);
            println!("{}: at most {most}, on average {mean:.4}", case["source"]);
            assert!(most <= limit && mean <= mean_limit, "{case}: {most}, {mean}");
        }
    }
}
