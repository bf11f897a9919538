//! 8-bit files: a runtime is held to what the file's integers are defined to give, and that to the floats that they came from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use attar_data::{Dataset, InMemory};
use attar_formats::certificate::Certificate;
use attar_formats::hash::sha256;
use attar_infer::engine::{self, EngineKind, EngineSpec};
use attar_measures::random::Stream;
use attar_pixels::Preprocessing;
use serde_json::Value;

use crate::support::onnx::rescaled;
use crate::support::{fixture, require_ort};

const SIZE: usize = 33;
const CLASSES: usize = 10;
const IMAGES: usize = 240;

/// As others write the preprocessing of [`how`].
const PROCESSOR: &str = r#"{"image_processor_type": "CLIPImageProcessor", "do_resize": false, "do_center_crop": false,
    "do_rescale": true, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2]}"#;

fn how() -> Preprocessing {
    Preprocessing::normalise(vec![0.5; 3], vec![0.2; 3])
}

fn names() -> Vec<String> {
    (0..CLASSES).map(|class| format!("class {class}")).collect()
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(fixture("onnx/quantised").join(name)).unwrap()
}

/// Stripes of two colours each under noise.
fn pixels() -> Vec<u8> {
    let mut draw = Stream::of_number(7);
    let mut all = vec![0; IMAGES * SIZE * SIZE * 3];
    draw.fill(&mut all);
    for image in all.chunks_mut(SIZE * SIZE * 3) {
        let colours = [0; 2].map(|_| [0; 3].map(|_| draw.below(256) as u8));
        let (width, upright) = (1 + draw.below(8) as usize, draw.below(2) == 0);
        for (at, value) in image.iter_mut().enumerate() {
            let (y, x) = (at / 3 / SIZE, at / 3 % SIZE);
            let colour = colours[(if upright { x } else { y }) / width % 2][at % 3];
            *value = colour.saturating_add(*value % 17).saturating_sub(8);
        }
    }
    all
}

/// The files of `tests/fixtures/onnx/quantised` and images whose labels are what the 32-bit one decides, made once a test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["f32.onnx", "qdq.onnx", "qdq-s8s8.onnx", "qoperator.onnx"] {
            place.put(name, &file(name));
        }
        place.put("names.txt", names().join("\n").as_bytes());
        place.put("processor.json", PROCESSOR.as_bytes());
        let mut labels = vec![0; IMAGES];
        let unlabelled =
            |labels: &[u32]| InMemory::new([SIZE as u32; 2], 3, pixels(), labels.to_vec(), names(), "test").unwrap();
        let images = unlabelled(&labels);
        let mut engine =
            engine::open(&EngineSpec::new(EngineKind::Tract), &file("f32.onnx"), Path::new("f32.onnx")).unwrap();
        for (at, label) in labels.iter_mut().enumerate() {
            let input = attar_pixels::preprocess(&images.image(at).unwrap(), &how()).unwrap();
            let logits = engine.run(&input, 1).unwrap();
            *label = (0..CLASSES as u32).max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap();
        }
        assert!(labels.iter().collect::<BTreeSet<_>>().len() >= 3, "the images are all alike");
        for (at, label) in labels.iter().enumerate() {
            let class = place.0.path().join("photos/test").join(&names()[*label as usize]);
            std::fs::create_dir_all(&class).unwrap();
            std::fs::write(class.join(format!("{at:04}.png")), images.encoded(at).unwrap()).unwrap();
        }
        place
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A plan of `network` that says it is one of `source`.
    fn plan(&self, name: &str, network: &[u8], source: &[u8]) {
        let read = attar_onnx::read(network, Path::new(name), attar_onnx::ReadOptions::default()).unwrap();
        let (graph, weights) = read.network.unwrap();
        let hash = sha256(source);
        let mut source = [0; 32];
        for (at, byte) in source.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap();
        }
        let options = attar_compile::Options { source, ..attar_compile::Options::default() };
        self.put(name, &attar_compile::compile(&graph, &weights, options).unwrap());
    }

    /// `attar-infer verify ARGS` in the folder: its exit code, what it said, and on stderr.
    fn verify(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attar-infer"));
        let output = command.current_dir(self.0.path()).arg("verify").args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// The certificate of a file with labelled images, held against the 32-bit file; `code` is the exit code that it is to have.
    #[track_caller]
    fn certificate(&self, code: i32, args: &[&str]) -> Certificate {
        let (found, out, err) = self.verify(&[args, &["--json"]].concat());
        assert_eq!(found, Some(code), "{args:?}: {out} {err}");
        let certificate = Certificate::from_json(out.as_bytes(), Path::new("stdout")).unwrap();
        assert_eq!(i32::from(certificate.exit_code()), code);
        certificate
    }
}

/// With labelled images, against the 32-bit file.
const AGAINST: [&str; 16] = [
    "--against",
    "f32.onnx",
    "--against-engine",
    "tract",
    "--against-labels",
    "names.txt",
    "--against-preprocessing",
    "processor.json",
    "--data",
    "image-folder:photos",
    "--labels",
    "names.txt",
    "--preprocessing",
    "processor.json",
    "--margin",
    "15",
];

/// The two verdicts, of the first runtime and its file.
fn verdicts(certificate: &Certificate) -> [&'static str; 2] {
    let runtime = &certificate.runtimes[0];
    let compression = certificate.reference_of(runtime).and_then(|one| one.compression.as_ref());
    [
        runtime.implementation.as_ref().map_or("none", |held| held.verdict.word()),
        compression.map_or("none", |compression| compression.verdict.word()),
    ]
}

#[test]
fn attars_engine_gives_the_bytes_that_are_defined() {
    let place = Place::new();
    for (name, images) in [("qdq.onnx", 5), ("qoperator.onnx", 300), ("qdq-s8s8.onnx", 16)] {
        let wanted = images.to_string();
        let own = ["--engine", "attar", "--reference-images", &wanted];
        let certificate = place.certificate(0, &[&[name], &AGAINST[..], &own].concat());
        assert_eq!(verdicts(&certificate), ["equivalent"; 2], "{name}: {certificate}");
        let (runtime, integers) = (&certificate.runtimes[0], &certificate.integers[0]);
        let held = runtime.implementation.as_ref().unwrap();
        assert_eq!((held.images, held.equal, held.flips, held.max_diff), (IMAGES, IMAGES, 0, 0.0));
        let by_definition = images.min(IMAGES);
        assert_eq!([integers.by_definition, integers.by_level], [by_definition, IMAGES - by_definition]);
        assert!(integers.exact && integers.quantum.is_some_and(|quantum| quantum > 0.0) && integers.arithmetic == 1);
        assert_eq!((runtime.arithmetic, runtime.level.is_some()), (Some(1), true));
        // Their weights have 8 bits.
        let beyond = integers.beyond_16_bits.unwrap();
        assert!(beyond.layers > 0 && beyond.pairs > beyond.beyond && beyond.beyond > 0, "{name}: {beyond:?}");
        assert_eq!(integers.file_sha256, runtime.file_sha256);
        assert!(certificate.cpu.is_some_and(|cpu| !cpu.architecture.is_empty()));
        // The same answers, so the same numbers, and the trainer's label is decided as often.
        assert_eq!(runtime.paired, integers.compression.as_ref().unwrap().paired);
    }
}

#[test]
fn an_8_bit_file_alone_is_held_to_its_definition() {
    let place = Place::new();
    let certificate = place.certificate(0, &["qdq.onnx", "--engine", "attar"]);
    assert_eq!(verdicts(&certificate), ["equivalent", "none"]);
    let held = certificate.runtimes[0].implementation.as_ref().unwrap();
    assert_eq!((held.images, held.equal, held.of.as_str()), (16, 16, "seeded"));
    let said = ["qdq.onnx", "--engine", "attar", "--data", "image-folder:photos", "--labels", "names.txt"];
    let (code, out, err) = place.verify(&[&said[..], &["--preprocessing", "processor.json"]].concat());
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("images: 240\n") && out.contains("the same bytes for all 240 labelled images"), "{out}");
    assert!(out.contains("by arithmetic 1") && out.contains("answered 16 images, and as the level `"), "{out}");
    assert!(!out.contains("compression"), "{out}");
    // 32-bit files have neither, and their certificate says nothing of it.
    let (code, out, _) = place.verify(&["f32.onnx", "--against", "f32.onnx", "--engine", "tract", "--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, value.get("integers"), value["runtimes"][0].get("implementation")), (Some(3), None, None));
}

/// A scale of the plan is shifted: other bytes, but the definition's answers are those that compression is judged by.
#[test]
fn an_engine_that_differs_fails_its_implementation_alone() {
    let place = Place::new();
    let qdq = file("qdq.onnx");
    place.plan("wrong.attar", &rescaled(&qdq, "logits_scale", 1.1), &qdq);
    place.plan("right.attar", &qdq, &qdq);
    let from = |plan: &'static str| [&[plan, "--made-from", "qdq.onnx"], &AGAINST[..]].concat();
    let right = place.certificate(0, &from("right.attar"));
    assert_eq!((verdicts(&right), right.integers[0].file.as_str()), (["equivalent"; 2], "qdq.onnx"));
    let wrong = place.certificate(1, &from("wrong.attar"));
    assert_eq!(verdicts(&wrong), ["worse", "equivalent"], "{wrong}");
    let reason = wrong.runtimes[0].implementation.as_ref().unwrap().reason.as_deref().unwrap();
    assert!(reason.contains("have other logits than the definition gives, first "), "{reason}");
    assert_ne!(wrong.runtimes[0].file_sha256, wrong.integers[0].file_sha256);

    // In words, on a page and for continuous integration.
    let files = ["--html", "page.html", "--junit", "parity.xml", "--no-images"];
    let (code, out, _) = place.verify(&[from("wrong.attar"), files.to_vec()].concat());
    assert!(
        code == Some(1) && out.contains("implementation: worse: ") && out.contains("compression: equivalent"),
        "{out}"
    );
    let read = |name: &str| std::fs::read_to_string(place.0.path().join(name)).unwrap();
    let page = read("page.html");
    assert!(page.contains("Compression of qdq.onnx") && page.contains("have other logits than the definition"));
    let xml = read("parity.xml");
    assert!(xml.contains("tests=\"2\" failures=\"1\"") && xml.contains("name=\"implementation: attar"), "{xml}");
    assert!(xml.contains("name=\"compression: qdq.onnx\""), "{xml}");

    // Its ONNX file is found on the other side, which is of integers itself: there is no compression to judge.
    let live = ["--against", "qdq.onnx", "--against-engine", "tract"];
    let numbers = place.certificate(1, &[&["wrong.attar"], &live[..]].concat());
    assert_eq!(verdicts(&numbers), ["worse", "none"]);
    // Nobody knows what it was compiled from: it is what it says.
    assert_eq!(verdicts(&place.certificate(0, &["wrong.attar"])), ["equivalent", "none"]);
    for (from, why) in [("f32.onnx", "it is not quantised"), ("qoperator.onnx", "no plan here was compiled from it")] {
        let (code, _, err) = place.verify(&["wrong.attar", "--made-from", from]);
        assert!(code == Some(2) && err.contains(why), "{err}");
    }
}

/// Logits of steps that are much too small: every runtime computes them rightly, and they decide nothing.
#[test]
fn a_file_that_is_quantised_badly_fails_its_compression_alone() {
    let place = Place::new();
    place.put("coarse.onnx", &rescaled(&file("qdq.onnx"), "logits_scale", 0.02));
    let coarse = place.certificate(1, &[&["coarse.onnx", "--engine", "attar"], &AGAINST[..]].concat());
    assert_eq!(verdicts(&coarse), ["equivalent", "worse"], "{coarse}");
    // At a margin of what was lost nothing decides: the worse of the two is 3.
    let good = place.certificate(0, &[&["qdq.onnx", "--engine", "attar"], &AGAINST[..]].concat());
    let lost = -good.runtimes[0].paired.as_ref().unwrap().difference;
    let margin = lost.max(0.4).to_string();
    let few = [&["qdq.onnx", "--engine", "attar"], &AGAINST[..14], &["--margin", &margin]].concat();
    let certificate = place.certificate(3, &few);
    assert_eq!(verdicts(&certificate), ["equivalent", "inconclusive"]);
}

#[test]
fn other_runtimes_may_differ_by_quanta_and_few_decisions() {
    let place = Place::new();
    let mut engines = vec!["tract"];
    engines.extend(require_ort("infer integers").map(|_| "ort"));
    for name in engines {
        let ask = |code: i32, more: &[&str]| {
            place.certificate(code, &[&["qdq.onnx", "--engine", name], &AGAINST[..], more].concat())
        };
        let within = ask(0, &[]);
        let held = within.runtimes[0].implementation.as_ref().unwrap();
        println!("{name}: {}", held.found());
        assert_eq!(verdicts(&within), ["equivalent"; 2], "{within}");
        assert!(held.max_quanta.is_some_and(|quanta| quanta <= 8.0) && held.flip_share.high < 15.0, "{held:?}");
        if held.equal < IMAGES {
            let beyond = ask(1, &["--quanta", "0"]);
            assert_eq!(verdicts(&beyond), ["worse", "equivalent"]);
            let reason = beyond.runtimes[0].implementation.as_ref().unwrap().reason.as_deref().unwrap();
            assert!(reason.contains("quanta from the definition's, of which 0 are allowed"), "{reason}");
        }
    }
    // Seeded images decide nothing there.
    assert_eq!(verdicts(&place.certificate(3, &["qdq.onnx", "--engine", "tract"])), ["numbers only", "none"]);
}
