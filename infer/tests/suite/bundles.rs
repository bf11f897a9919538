//! Opening bundles: a good one opens, and whatever does not fit together is refused with the file's name.

use std::collections::BTreeMap;
use std::path::Path;

use attar_infer::classify::Answer;
use attar_infer::parity::{Options, candidates, verify};
use attar_infer::{Bundle, Classifier, EngineKind, EngineSpec, Subject};

use crate::support::bundle::{Reference, files, names, perfect, sha256, write};

fn opened(files: &BTreeMap<String, Vec<u8>>) -> Result<Bundle, String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    Bundle::open(folder.path()).map_err(|e| e.to_string())
}

#[test]
fn a_good_bundle_opens_and_says_what_it_is() {
    let bundle = opened(&files(&perfect(20))).unwrap();
    assert_eq!(bundle.labels(), names());
    assert_eq!(bundle.goldens().unwrap().len(), 4);
    assert_eq!(bundle.predictions().unwrap().len(), 20);
    assert_eq!((bundle.models()[0].file.as_str(), bundle.card().network.name.as_str()), ("model.onnx", "resnet8"));
}

/// Yesterday's layout: `demo/teacher` was written with bundle version 1 and card version 1, and stays as it was.
#[test]
fn a_bundle_of_version_1_opens_verifies_and_classifies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/teacher");
    let bundle = Bundle::open(&root).unwrap();
    let [model] = bundle.models() else { panic!("{:?}", bundle.models()) };
    assert_eq!((bundle.manifest().bundle_version, model.engine.as_str(), &model.made_from), (1, "onnx", &None));
    let spec = EngineSpec::new(EngineKind::Tract);
    let (mut loaded, skipped) = candidates(&bundle, std::slice::from_ref(&spec), &[]).unwrap();
    let certificate =
        verify(&Subject::from(&bundle), &mut loaded, skipped, None, &Options::default(), &mut |_, _| ()).unwrap();
    let numbers = certificate.runtimes[0].goldens.as_ref().unwrap();
    assert!(numbers.within_rounding && numbers.flips == 0, "{numbers:?}");
    let goldens = bundle.goldens().unwrap();
    let mut classifier = Classifier::open(&bundle, &spec).unwrap();
    for (png, logits) in goldens.encoded.iter().zip(goldens.logits.chunks(goldens.classes())) {
        let best = classifier.classify(png, "golden.png".as_ref(), 1).unwrap()[0].class;
        assert!(logits.iter().all(|logit| *logit <= logits[best]));
    }
}

/// A device runs the exported file: the network need not be in the zoo of its program, of either version of the card.
#[test]
fn a_network_that_no_zoo_knows_opens() {
    let mut files = files(&perfect(20));
    let config = String::from_utf8(files["config.json"].clone()).unwrap().replace("resnet8", "zebra99");
    files.insert("config.json".to_owned(), config.clone().into_bytes());
    assert_eq!(opened(&files).unwrap().card().network.name, "zebra99");
    let old = config.replace("\"card_version\":2", "\"card_version\":1");
    files.insert("config.json".to_owned(), old.into_bytes());
    assert_eq!(opened(&files).unwrap().card().network.name, "zebra99");
}

#[test]
fn a_bundle_without_a_reference_opens() {
    let mut files = files(&perfect(4));
    files.retain(|name, _| !name.starts_with("reference/") && name != "model.safetensors");
    let bundle = opened(&files).unwrap();
    assert!(bundle.goldens().is_none() && bundle.predictions().is_none());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let reference = perfect(20);
    let with = |bend: &dyn Fn(&mut Reference)| {
        let mut bent = reference.clone();
        bend(&mut bent);
        files(&bent)["reference/predictions.safetensors"].clone()
    };
    let good = files(&reference);
    let cut = |name: &str, keep: usize| good[name][..good[name].len() - keep].to_vec();
    let text = |name: &str, from: &str, to: &str| {
        String::from_utf8(good[name].clone()).unwrap().replacen(from, to, 1).into_bytes()
    };
    let predictions = "reference/predictions.safetensors";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("labels.txt", b"rose\niris\n".to_vec(), "labels"),
        ("labels.txt", vec![0xff, 0xfe], "UTF-8"),
        ("config.json", b"{".to_vec(), "EOF while parsing"),
        ("config.json", text("config.json", "\"classes\":5", "\"classes\":6"), "5 labels for 6 classes"),
        ("config.json", text("config.json", "\"card_version\":2", "\"card_version\":9"), "card_version is 9"),
        ("preprocessor_config.json", b"{}".to_vec(), "preprocessor_config.json"),
        ("preprocessor_config.json", text("preprocessor_config.json", "0.25", "0.5"), "preprocessing"),
        ("reference/golden.safetensors", cut("reference/golden.safetensors", 5), "safetensors"),
        (predictions, cut(predictions, 100), "safetensors"),
        (predictions, b"garbage".to_vec(), "safetensors"),
        (predictions, with(&|r| r.logits[7] = f32::NAN), "not finite"),
        (predictions, with(&|r| r.labels[3] = 5), "beyond"),
        (predictions, with(&|r| r.splits[3] = 2), "split"),
        (predictions, reference.predictions(&sha256(b"other weights")), "other weights"),
    ];
    for (name, bytes, why) in cases {
        let mut files = good.clone();
        files.insert(name.to_owned(), bytes);
        let error = opened(&files).expect_err(why);
        println!("{error}\n");
        let at_home = error.contains(name) || error.contains("config.json");
        assert!(error.contains(why) && at_home, "{name}: {error}");
    }
}

#[test]
fn a_manifest_that_does_not_match_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let good = files(&perfect(4));
    write(root, &good);
    let manifest = std::fs::read_to_string(root.join("manifest.json")).unwrap();
    let error = || Bundle::open(root).unwrap_err().to_string();

    // One changed byte in every file it lists.
    for (name, bytes) in &good {
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        std::fs::write(root.join(name), changed).unwrap();
        assert!(error().contains(name.as_str()) && error().contains("sha256"), "{}", error());
        std::fs::remove_file(root.join(name)).unwrap();
        assert!(error().contains(name.as_str()), "{}", error());
        std::fs::write(root.join(name), bytes).unwrap();
    }
    Bundle::open(root).unwrap();

    let bent = [
        (manifest.replace("\"bundle_version\": 2", "\"bundle_version\": 4"), "bundle version 4"),
        (manifest.replace("\"labels.txt\"", "\"../labels.txt\""), "plain path"),
        (manifest.replace("\"labels.txt\"", "\"/etc/hostname\""), "plain path"),
        (manifest.replace("\"labels.txt\"", "\"other.txt\""), "`labels.txt` is not among"),
        (manifest.replace("\"file\": \"model.onnx\"", "\"file\": \"../model.onnx\""), "../model.onnx"),
        (manifest[..manifest.len() / 2].to_owned(), "JSON"),
        (String::new(), "JSON"),
    ];
    for (text, why) in bent {
        std::fs::write(root.join("manifest.json"), text).unwrap();
        assert!(error().contains(why) && error().contains("manifest.json"), "{why}: {}", error());
    }
    std::fs::remove_file(root.join("manifest.json")).unwrap();
    assert!(error().contains("manifest.json"));
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_bundle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("bundle");
    std::fs::create_dir(&root).unwrap();
    write(&root, &files(&perfect(4)));
    let outside = folder.path().join("labels.txt");
    std::fs::rename(root.join("labels.txt"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("labels.txt")).unwrap();
    let error = Bundle::open(&root).unwrap_err().to_string();
    assert!(error.contains("leads out"), "{error}");
}

#[test]
fn classifies_an_image_file_and_refuses_the_wrong_size() {
    let reference = perfect(6);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &files(&reference));
    let bundle = Bundle::open(folder.path()).unwrap();
    let mut classifier = Classifier::open(&bundle, &EngineSpec::new(EngineKind::Tract)).unwrap();
    for (i, png) in bundle.goldens().unwrap().encoded.iter().enumerate() {
        let guesses = classifier.classify(png, "golden.png".as_ref(), 3).unwrap();
        assert_eq!((guesses.len(), guesses[0].class), (3, reference.labels[i] as usize));
        assert_eq!(guesses[0].label, names()[guesses[0].class]);
    }
    // A frame of a camera, without a file around it, into an answer that is used again.
    let goldens = bundle.goldens().unwrap();
    let mut answer = Answer::default();
    for (png, logits) in goldens.encoded.iter().zip(goldens.logits.chunks(goldens.classes())) {
        let frame = attar_pixels::decode(png, "golden.png".as_ref()).unwrap();
        let view = attar_pixels::ImageView::rgb8(frame.pixels(), frame.width(), frame.height()).unwrap();
        classifier.classify_into(view, &mut answer).unwrap();
        assert!(answer.logits().iter().zip(logits).all(|(a, b)| (a - b).abs() < 1e-4));
        let guesses = classifier.classify(png, "golden.png".as_ref(), 1).unwrap();
        assert_eq!(
            (Some(guesses[0].class), guesses[0].probability),
            (answer.best(), answer.probability(guesses[0].class))
        );
    }
    let small = attar_pixels::Image::new(5, 4, 3, vec![9; 60]).unwrap().to_png().unwrap();
    let error = classifier.classify(&small, "small.png".as_ref(), 3).unwrap_err().to_string();
    assert!(error.contains("small.png") && error.contains("4x5") && error.contains("[3, 8, 8]"), "{error}");
    assert!(classifier.classify(b"no image", "no.png".as_ref(), 3).unwrap_err().to_string().contains("no.png"));
}
