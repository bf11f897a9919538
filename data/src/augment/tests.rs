//! Augmentations against what torchvision makes of the same PIL images, and their draws against their distributions.
//!
//! The files are made by `tests/fixtures/make/augment.py`. Run with `--nocapture` to see the measured differences.

use std::path::{Path, PathBuf};

use attar_pixels::{Preprocessing, decode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::rand_augment::Operation;
use super::*;

pub(super) fn stream(sample: u64) -> Stream {
    Stream::at(*b"augment ", 1, 1, sample)
}

pub(super) fn grey(height: u32, width: u32, pixels: &[u8]) -> Image {
    Image::new(width, height, 1, pixels.to_vec()).unwrap()
}

/// Applied to an image that will be normalised with mean 0.5 and standard deviation 0.25.
pub(super) fn apply(augment: &Augment, image: &Image, stream: &mut Stream) -> Result<Image> {
    let how = how(usize::from(image.channels()));
    augment.apply(image.clone(), &mut Frame::of(image, &how), stream)
}

fn how(channels: usize) -> Preprocessing {
    Preprocessing::normalise(vec![0.5; channels], vec![0.25; channels])
}

#[derive(Deserialize)]
struct Fixture {
    levels: Levels,
    operations: Vec<Group>,
    hashes: Vec<Hashed>,
    jitter: Vec<Jittered>,
    hue: Hues,
    erasing: Erasing,
}

#[derive(Deserialize)]
struct Levels {
    height: u32,
    width: u32,
    of: std::collections::BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Group {
    source: String,
    target: String,
    sampling: Sampling,
    fill: Vec<u8>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    operation: Operation,
    bin: u32,
    sign: f64,
}

#[derive(Deserialize)]
struct Hashed {
    source: String,
    operation: Operation,
    sampling: Sampling,
    fill: Vec<u8>,
    sha256: String,
}

#[derive(Deserialize)]
struct Jittered {
    source: String,
    target: String,
    cases: Vec<Jitter>,
}

#[derive(Debug, Deserialize)]
struct Jitter {
    order: [u32; 4],
    factors: [f64; 4],
}

#[derive(Deserialize)]
struct Hues {
    source: String,
    factors: Vec<f64>,
    sha256: String,
}

#[derive(Deserialize)]
struct Erasing {
    erased: f64,
    columns: std::collections::BTreeMap<String, Column>,
}

#[derive(Deserialize)]
struct Column {
    mean: f64,
    sd: f64,
    deciles: Vec<f64>,
}

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(folder)
}

fn fixture() -> Fixture {
    serde_json::from_slice(&std::fs::read(fixtures("augment").join("cases.json")).unwrap()).unwrap()
}

fn picture(folder: &str, name: &str) -> Image {
    let file = fixtures(folder).join(name);
    decode(&std::fs::read(&file).unwrap(), &file).unwrap()
}

/// The pictures that are stacked in a file, each as large as `like`.
fn stacked(name: &str, like: &Image) -> Vec<Image> {
    let all = picture("augment", name);
    let part = |top| all.window(i64::from(top), 0, like.width(), like.height()).unwrap();
    (0..all.height()).step_by(like.height() as usize).map(part).collect()
}

fn largest_difference(a: &Image, b: &Image) -> u8 {
    a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn hash(images: impl Iterator<Item = Image>) -> String {
    let whole = images.fold(Sha256::new(), |hash, image| hash.chain_update(image.sha256()));
    whole.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn strengths_are_torchvisions() {
    let Levels { height, width, of } = fixture().levels;
    assert_eq!(of.len(), Operation::ALL.len());
    for (name, levels) in of {
        let operation: Operation = serde_json::from_value(name.clone().into()).unwrap();
        assert!(levels.len() == 31 || levels == [0.0], "{name}");
        for (bin, level) in (0..).zip(&levels) {
            let ours = operation.strength(bin, height, width);
            assert!((ours - level).abs() <= 2e-7 * level.abs(), "{name} {bin}: {ours}, expected {level}");
        }
    }
}

#[test]
fn operations_have_torchvisions_pixels() {
    for group in fixture().operations {
        let source = picture("augment", &group.source);
        let targets = stacked(&group.target, &source);
        assert_eq!(targets.len(), group.cases.len());
        for (case, target) in group.cases.iter().zip(targets) {
            let strength = case.sign * case.operation.strength(case.bin, source.height(), source.width());
            let ours = case.operation.apply(source.clone(), strength, group.sampling, &group.fill);
            let most = largest_difference(&ours, &target);
            assert_eq!(most, 0, "{} {:?} {case:?}", group.source, group.sampling);
        }
    }
}

#[test]
fn operations_have_torchvisions_pixels_at_every_strength() {
    for case in fixture().hashes {
        let source = picture("pixels", &case.source);
        let bins = if case.operation.strength(9, 9, 9) == 0.0 { 0..1 } else { 0..31 };
        let signs: &[f64] = if case.operation.signed() { &[1.0, -1.0] } else { &[1.0] };
        let strengths = bins.flat_map(|bin| {
            let strength = case.operation.strength(bin, source.height(), source.width());
            signs.iter().map(move |sign| sign * strength)
        });
        let ours = strengths.map(|s| case.operation.apply(source.clone(), s, case.sampling, &case.fill));
        assert_eq!(hash(ours), case.sha256, "{} {:?} {:?}", case.source, case.operation, case.sampling);
    }
}

#[test]
fn jitter_has_torchvisions_pixels() {
    for group in fixture().jitter {
        let source = picture("augment", &group.source);
        for (case, target) in group.cases.iter().zip(stacked(&group.target, &source)) {
            let ours = colour_jitter::jitter(source.clone(), case.order, case.factors.map(Some));
            assert_eq!(largest_difference(&ours, &target), 0, "{} {case:?}", group.source);
        }
    }
}

#[test]
fn hue_turns_thousands_of_colours_as_pil() {
    let Hues { source, factors, sha256 } = fixture().hue;
    let source = picture("augment", &source);
    assert_eq!(hash(factors.iter().map(|factor| enhance::hue(source.clone(), *factor))), sha256);
}

#[test]
fn every_operation_is_drawn_equally_and_both_signs() {
    let mut seen = [[0_u32; 2]; 14];
    for sample in 0..14_000 {
        let (operation, strength) = Operation::draw(9, 20, 30, &mut stream(sample));
        let at = Operation::ALL.iter().position(|one| *one == operation).unwrap();
        seen[at][usize::from(strength < 0.0)] += 1;
    }
    for (operation, [up, down]) in Operation::ALL.iter().zip(seen) {
        assert!((860..1140).contains(&(up + down)), "{operation:?}: {up} + {down}");
        let expected = if operation.signed() { 400..600 } else { 0..1 };
        assert!(expected.contains(&down), "{operation:?}: {down}");
    }
}

#[test]
fn erasing_draws_as_torchvision() {
    const DRAWS: u64 = 40_000;
    let expected = fixture().erasing;
    let draw = |sample| random_erasing::erased(24, 32, [0.02, 0.33], [0.3, 3.3], &mut stream(sample));
    let parts: Vec<[u32; 4]> = (0..DRAWS).filter_map(draw).collect();
    assert!((parts.len() as f64 / DRAWS as f64 - expected.erased).abs() < 0.005);
    for (name, column) in expected.columns {
        let value = |[top, left, height, width]: &[u32; 4]| match name.as_str() {
            "top" => *top,
            "left" => *left,
            "height" => *height,
            "width" => *width,
            _ => height * width,
        };
        let mut values: Vec<f64> = parts.iter().map(|part| f64::from(value(part))).collect();
        values.sort_by(f64::total_cmp);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((mean - column.mean).abs() < 0.03 * column.sd, "{name}: mean {mean}, expected {}", column.mean);
        for (tenth, expected) in (1..).zip(column.deciles) {
            let decile = values[values.len() * tenth / 10];
            assert!((decile - expected).abs() <= 0.04 * column.sd + 1.0, "{name}: {decile}, expected {expected}");
        }
    }
}

#[test]
fn erasing_paints_what_it_is_told_as_often_as_it_is_told() {
    let image = Image::new(20, 10, 3, vec![9; 600]).unwrap();
    let with = |value: Paint, sample| {
        let augment = Augment::RandomErasing(RandomErasing { value, ..RandomErasing::default() });
        apply(&augment, &image, &mut stream(sample)).unwrap()
    };
    let changed = |value: Paint| {
        let seen = (0..400).map(|sample| with(value.clone(), sample));
        seen.filter(|out| *out != image).collect::<Vec<_>>()
    };
    let blacks = changed(Paint::Black);
    assert!((160..240).contains(&blacks.len()), "{}", blacks.len());
    let only = |images: &[Image], allowed: &[u8]| images.iter().flat_map(Image::pixels).all(|v| allowed.contains(v));
    assert!(only(&blacks, &[9, 0]));
    assert!(only(&changed(Paint::Mean), &[9, 128]));
    assert!(only(&changed(Paint::Colour(vec![77])), &[9, 77]));
    let colour = changed(Paint::Colour(vec![1, 2, 3]));
    assert!(colour.iter().flat_map(|one| one.pixels().chunks(3)).all(|rgb| rgb == [9; 3] || rgb == [1, 2, 3]));

    // Noise is normal around the mean: 127.5 and 63.75 here, clipped at two standard deviations.
    let noise = changed(Paint::Noise);
    let drawn: Vec<f64> = noise.iter().flat_map(Image::pixels).filter(|v| **v != 9).map(|v| f64::from(*v)).collect();
    let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
    let sd = (drawn.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / drawn.len() as f64).sqrt();
    assert!((mean - 127.5).abs() < 2.0 && (sd - 61.0).abs() < 2.0, "{mean} {sd}");
}

#[test]
fn jitter_draws_every_order_and_uniform_factors() {
    let jitter = ColourJitter { brightness: 0.4, contrast: 1.5, saturation: 0.0, hue: 0.1 };
    let mut orders = std::collections::BTreeMap::new();
    let mut factors: [Vec<f64>; 4] = Default::default();
    for sample in 0..4800 {
        let (order, drawn) = jitter.draw(&mut stream(sample));
        *orders.entry(order).or_insert(0) += 1;
        factors.iter_mut().zip(drawn).for_each(|(all, factor)| all.extend(factor));
    }
    assert!(orders.len() == 24 && orders.values().all(|count| (140..260).contains(count)), "{orders:?}");
    assert!(factors[2].is_empty(), "nothing to saturate");
    for (values, low, high) in [(&factors[0], 0.6, 1.4), (&factors[1], 0.0, 2.5), (&factors[3], -0.1, 0.1)] {
        assert!(values.iter().all(|v| (low..high).contains(v)));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((mean - (low + high) / 2.0).abs() < 0.02 * (high - low), "{low}..{high}: {mean}");
    }
}

#[test]
fn one_pixel_and_one_colour_survive_everything() {
    for image in [Image::new(1, 1, 3, vec![3, 200, 77]).unwrap(), grey(1, 5, &[8; 5]), grey(5, 1, &[255; 5])] {
        for sample in 0..200 {
            for magnitude in [0, 30] {
                let augment = Augment::RandAugment(RandAugment { ops: 3, magnitude, ..RandAugment::default() });
                let out = apply(&augment, &image, &mut stream(sample)).unwrap();
                assert_eq!((out.width(), out.height()), (image.width(), image.height()));
            }
            let augment = Augment::RandomErasing(RandomErasing { p: 1.0, ..RandomErasing::default() });
            apply(&augment, &image, &mut stream(sample)).unwrap();
            let jitter = ColourJitter { brightness: 1.0, contrast: 1.0, saturation: 1.0, hue: 0.5 };
            apply(&Augment::ColourJitter(jitter), &image, &mut stream(sample)).unwrap();
        }
    }
}

#[test]
fn settings_have_defaults_and_are_checked() {
    let read = |text: &str| toml::from_str::<Augment>(text).unwrap();
    assert_eq!(read("kind = 'rand-augment'"), Augment::RandAugment(RandAugment::default()));
    assert_eq!(read("kind = 'random-erasing'"), Augment::RandomErasing(RandomErasing::default()));
    for (text, expected) in [
        ("kind = 'pad-crop'\npadding = 0", "augment.padding: 0"),
        ("kind = 'flip'\np = nan", "augment.p: NaN"),
        ("kind = 'random-resized-crop'\nsize = 0", "augment.size"),
        ("kind = 'random-resized-crop'\nsize = 1\nscale = [0.0, 1.0]", "augment.scale: [0, 1]"),
        ("kind = 'random-resized-crop'\nsize = 1\nscale = [0.5, 1.5]", "augment.scale"),
        ("kind = 'random-resized-crop'\nsize = 1\nratio = [2.0, 1.0]", "augment.ratio"),
        ("kind = 'rand-augment'\nops = 0", "augment.ops: 0, expected 1 to 16"),
        ("kind = 'rand-augment'\nmagnitude = 31", "augment.magnitude: 31, expected 0 to 30"),
        ("kind = 'rand-augment'\nfill = 'noise'", "augment.fill: noise"),
        ("kind = 'rand-augment'\nfill = { colour = [1, 2] }", "augment.fill: a colour of 2 values, expected 1 or 3"),
        ("kind = 'random-erasing'\np = 1.1", "augment.p: 1.1"),
        ("kind = 'random-erasing'\nscale = [0.3, 0.2]", "augment.scale"),
        ("kind = 'random-erasing'\nratio = [0.0, 1.0]", "augment.ratio"),
        ("kind = 'random-erasing'\nvalue = { colour = [] }", "augment.value: a colour of 0 values"),
        ("kind = 'colour-jitter'", "augment: nothing is jittered"),
        ("kind = 'colour-jitter'\nbrightness = -0.1", "augment.brightness: -0.1, expected 0 or more"),
        ("kind = 'colour-jitter'\nhue = 0.6", "augment.hue: 0.6, expected 0 to 0.5"),
        ("kind = 'colour-jitter'\ncontrast = inf", "augment.contrast: inf"),
    ] {
        let error = read(text).check(3).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for (text, expected) in [
        ("kind = 'pad-crop'\npadding = 4\nfill = 'edge'", ["zero", "reflect"]),
        ("kind = 'random-erasing'\nvalue = 'red'", ["mean", "colour"]),
        ("kind = 'rand-augment'\nmagnitudes = 9", ["magnitude", "sampling"]),
    ] {
        let error = toml::from_str::<Augment>(text).unwrap_err().to_string();
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
    }
    assert!(read("kind = 'pad-crop'\npadding = 4\nfill = 'reflect'").check(3).is_ok());
    let all = "kind = 'rand-augment'\nops = 3\nmagnitude = 30\nsampling = 'bilinear'\nfill = { colour = [1, 2, 3] }";
    let back: Augment = toml::from_str(&toml::to_string(&read(all)).unwrap()).unwrap();
    assert!(back == read(all) && back.check(3).is_ok() && back.check(1).is_err());
}
