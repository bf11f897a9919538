//! Certificates: what is paired with what, what the numbers are, and which verdict follows.

use std::collections::BTreeMap;

use attar_data::{Dataset, InMemory};
use attar_formats::reference::Attacks;
use attar_infer::engine::{EngineKind, EngineSpec};
use attar_infer::parity::{ClassChange, Options, candidates, verify};
use attar_infer::{Bundle, Certificate, Subject, Verdict, report};

use crate::support::bundle::{CLASSES, Reference, data, files, names, order, perfect, sha256, write};
use crate::support::require_ort;

const IMAGES: usize = 1000;

fn specs() -> Vec<EngineSpec> {
    let mut specs = vec![EngineSpec { threads: 2, ..EngineSpec::new(EngineKind::Tract) }];
    if require_ort("infer parity").is_some() {
        specs.push(EngineSpec::new(EngineKind::Ort));
    }
    specs
}

fn certify(reference: &Reference, data: Option<&InMemory>, margin_points: f64) -> Result<Certificate, String> {
    let options = Options { margin_points, ..Options::default() };
    certified(&files(reference), data, &options)
}

fn certified(
    files: &BTreeMap<String, Vec<u8>>,
    data: Option<&InMemory>,
    options: &Options,
) -> Result<Certificate, String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    let bundle = Bundle::open(folder.path()).map_err(|e| e.to_string())?;
    let (mut loaded, skipped) = candidates(&bundle, &specs(), &[]).map_err(|e| e.to_string())?;
    let mut heard = Vec::new();
    let data = data.map(|data| data as &dyn Dataset);
    let certificate =
        verify(&Subject::from(&bundle), &mut loaded, skipped, data, options, &mut |done, all| heard.push((done, all)));
    if let (Ok(_), Some(data)) = (&certificate, data) {
        assert!(heard.contains(&(data.len(), data.len())));
        assert!(heard.last().is_some_and(|(done, all)| done == all));
    }
    certificate.map_err(|e| e.to_string())
}

/// Makes the reference answer image `i` with its second choice instead.
fn answer_otherwise(reference: &mut Reference, i: usize) -> u32 {
    let row = &mut reference.logits[i * CLASSES..(i + 1) * CLASSES];
    let best = order(row);
    row.swap(best[0] as usize, best[1] as usize);
    best[1]
}

#[test]
fn the_same_network_is_equivalent_in_every_runtime() {
    let reference = perfect(IMAGES);
    let images = data(&reference.labels, names());
    let certificate = certify(&reference, Some(&images), 0.5).unwrap();
    println!("{certificate}");
    assert_eq!((certificate.verdict, certificate.exit_code()), (Verdict::Equivalent, 0));
    for runtime in &certificate.runtimes {
        let paired = runtime.paired.as_ref().unwrap();
        assert_eq!((paired.images, paired.flips, paired.gained, paired.lost), (IMAGES, 0, 0, 0));
        assert_eq!((paired.agreement, paired.reference_accuracy, paired.runtime_accuracy), (100.0, 100.0, 100.0));
        assert!((paired.interval.high - 100.0 * 3.8415 / 1003.8415).abs() < 1e-3, "{:?}", paired.interval);
        assert!(paired.logits.max_diff < 1e-5 && paired.logits.all_compared && paired.mcnemar_p == 1.0);
        let (ece, nll) = (paired.calibration_error, paired.negative_log_likelihood);
        assert!((ece.reference.unwrap() - ece.runtime).abs() < 1e-4, "{ece:?}");
        assert!((nll.reference.unwrap() - nll.runtime).abs() < 1e-5 && nll.runtime > 0.1, "{nll:?}");
        let brier = paired.brier_score.unwrap();
        assert!((brier.reference.unwrap() - brier.runtime).abs() < 1e-5 && brier.runtime > 0.01, "{brier:?}");
        assert_eq!(paired.classes.iter().map(|class| class.images).sum::<usize>(), IMAGES);
        let goldens = runtime.goldens.as_ref().unwrap();
        assert!(goldens.within_rounding && goldens.flips == 0 && goldens.input_max_diff == 0.0, "{goldens:?}");
    }
    let facts = certificate.data.as_ref().unwrap();
    assert_eq!((facts.images, facts.paired, facts.paired_test, facts.paired_validation), (IMAGES, IMAGES, IMAGES, 0));
    let model = files(&reference).remove("model.onnx").unwrap();
    assert!(certificate.runtimes.iter().all(|runtime| runtime.file_sha256 == sha256(&model)));
    let path = std::path::Path::new("certificate.json");
    let back = Certificate::from_json(&certificate.to_json().unwrap(), path).unwrap();
    assert_eq!(
        (back.verdict, &back.data, back.runtimes.len()),
        (certificate.verdict, &certificate.data, specs().len())
    );
}

#[test]
fn too_few_images_are_inconclusive_and_say_how_many_more() {
    let reference = perfect(100);
    let certificate = certify(&reference, Some(&data(&reference.labels, names())), 0.5).unwrap();
    assert_eq!(certificate.verdict, Verdict::Inconclusive { more_images: Some(670) });
    assert_eq!(certificate.exit_code(), 3);
}

#[test]
fn lost_decisions_are_counted_named_and_judged() {
    let mut reference = perfect(IMAGES);
    let mut labels = reference.labels.clone();
    // The reference was right on 40 images where the runtime now is wrong; on 10 it was wrong where the runtime is right;
    // on 5 both are wrong in different ways.
    for (i, label) in labels.iter_mut().enumerate().take(40) {
        *label = answer_otherwise(&mut reference, i);
    }
    for i in 40..50 {
        answer_otherwise(&mut reference, i);
    }
    for (i, label) in labels.iter_mut().enumerate().take(55).skip(50) {
        let best = order(&reference.logits[i * CLASSES..(i + 1) * CLASSES]);
        answer_otherwise(&mut reference, i);
        *label = best[2];
    }
    reference.labels = labels.clone();
    let certificate = certify(&reference, Some(&data(&labels, names())), 0.5).unwrap();
    assert_eq!((certificate.verdict, certificate.exit_code()), (Verdict::Worse, 1));
    for runtime in &certificate.runtimes {
        let paired = runtime.paired.as_ref().unwrap();
        assert_eq!((paired.flips, paired.lost, paired.gained), (55, 40, 10));
        assert!((paired.agreement - 94.5).abs() < 1e-9 && (paired.difference + 3.0).abs() < 1e-9);
        assert!((paired.reference_accuracy - 98.5).abs() < 1e-9 && (paired.runtime_accuracy - 95.5).abs() < 1e-9);
        assert!(paired.interval.low < -3.0 && paired.interval.high < -0.5 && paired.mcnemar_p < 1e-4);
        assert!(paired.worst_class.runtime_accuracy < paired.worst_class.reference_accuracy);
        assert_eq!(paired.flipped.len(), 48);
        let right = |of: fn(&ClassChange) -> f64| {
            paired.classes.iter().map(|class| of(class) * class.images as f64).sum::<f64>() / IMAGES as f64
        };
        assert!((right(|class| class.reference_accuracy) - 98.5).abs() < 1e-9, "{:?}", paired.classes);
        assert!((right(|class| class.runtime_accuracy) - 95.5).abs() < 1e-9, "{:?}", paired.classes);
        assert!(paired.classes.contains(&paired.worst_class));
        assert!(paired.flipped.is_sorted_by(|a, b| a.reference_margin >= b.reference_margin));
        let flip = &paired.flipped[0];
        assert!(flip.index < 55 && flip.name == format!("test[{}]", flip.index) && flip.reference != flip.runtime);
        assert!(runtime.goldens.as_ref().is_some_and(|goldens| goldens.flips == 4 && !goldens.within_rounding));
    }
    let page = report::html::page("Parity", &report::certificate_section(&certificate, true));
    assert!(page.contains("<img src=\"data:image/png;base64,iVBOR") && page.contains("worse"));
    let rows = certificate.summary();
    assert_eq!((rows.len(), rows[0].accuracy, rows[1].accuracy), (specs().len() + 1, 98.5, 95.5));
    assert!(page.contains("In one table") && page.contains("Every class: 5") && page.contains(&rows[1].cells()[4]));
    assert!(!report::certificate_section(&certificate, false).into_string().contains("<img"));
    let text = certificate.to_string();
    assert!(
        text.contains("flipped: test[") && text.contains("and 50 more") && text.contains("(10 gained, 40 lost)"),
        "{text}"
    );
}

#[test]
fn images_that_the_reference_does_not_know_are_not_paired() {
    let mut reference = perfect(IMAGES);
    let images = data(&reference.labels, names());
    for i in 0..300 {
        reference.hashes[i] = [i as u8; 32];
    }
    reference.splits[500..600].fill(0);
    let certificate = certify(&reference, Some(&images), 1.0).unwrap();
    let facts = certificate.data.as_ref().unwrap();
    assert_eq!((facts.images, facts.paired, facts.paired_test, facts.paired_validation), (IMAGES, 700, 600, 100));
    assert_eq!(
        (certificate.runtimes[0].paired.as_ref().unwrap().images, certificate.verdict),
        (700, Verdict::Equivalent)
    );
    assert_eq!(certificate.runtimes[0].accuracy_all, Some(100.0));
    reference.hashes.fill([1; 32]);
    let certificate = certify(&reference, Some(&images), 1.0).unwrap();
    assert_eq!((certificate.verdict, certificate.exit_code()), (Verdict::NumbersOnly, 3));
}

#[test]
fn harder_images_are_told_and_not_judged() {
    let reference = perfect(IMAGES);
    let images = data(&reference.labels, names());
    let mut files = files(&reference);
    // Under one attack are the images themselves, under the other they are black.
    let chosen = [1, 30, 60, 90, 500];
    let plain: Vec<u8> = chosen.iter().flat_map(|at| images.image(*at).unwrap().pixels().to_vec()).collect();
    let attacks = Attacks {
        weights_sha256: sha256(&files["model.safetensors"]),
        classes: CLASSES,
        shape: [8, 8, 3],
        labels: chosen.iter().map(|at| reference.labels[*at]).collect(),
        pixels: BTreeMap::from([("weak".to_owned(), plain.clone()), ("black".to_owned(), vec![0; plain.len()])]),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attacks.safetensors");
    attacks.write(&path).unwrap();
    files.insert("reference/attacks.safetensors".to_owned(), std::fs::read(&path).unwrap());
    let options = Options { corrupted_images: Some(40), ..Options::default() };
    let certificate = certified(&files, Some(&images), &options).unwrap();
    assert_eq!(certificate.verdict, Verdict::Equivalent);
    let robustness = certificate.robustness.as_ref().unwrap();
    assert_eq!((robustness.baseline, robustness.conditions.len()), (Some(1), 1 + 7 * 3 + 2));
    let titles: Vec<String> = robustness.conditions.iter().map(|condition| condition.title()).collect();
    assert_eq!(titles[..4], ["clean", "gaussian_noise 1", "gaussian_noise 3", "gaussian_noise 5"]);
    assert_eq!(titles[22..], ["attack black", "attack weak"]);
    let accuracy = |at: usize| robustness.conditions[at].runtimes[0].accuracy;
    assert_eq!((accuracy(0), accuracy(23), robustness.conditions[23].images), (100.0, 100.0, 5));
    assert!(accuracy(22) < 100.0, "all five have one class");
    assert!((1..22).any(|at| accuracy(at) < 100.0), "{robustness:?}");
    for condition in &robustness.conditions {
        assert_eq!(condition.runtimes.len(), specs().len());
        assert!(condition.runtimes[0].paired.is_none(), "{condition:?}");
        // The same network in another runtime.
        assert!(condition.runtimes[1..].iter().all(|of| of.paired.is_some_and(|paired| paired.flips == 0)));
    }
    assert_eq!(certified(&files, Some(&images), &options).unwrap().robustness, certificate.robustness);
    let page = report::certificate_section(&certificate, false).into_string();
    assert!(page.contains("On harder images") && page.contains("jpeg_compression 5") && page.contains("attack weak"));
    // Attacked images are asked about in any case; where there are none, nothing is said.
    let asked = certified(&files, Some(&images), &Options::default()).unwrap().robustness.unwrap();
    assert_eq!(asked.conditions[..], robustness.conditions[22..]);
    files.remove("reference/attacks.safetensors");
    assert_eq!(certified(&files, Some(&images), &Options::default()).unwrap().robustness, None);
    // Images of another size are another network's.
    Attacks { shape: [4, 16, 3], ..attacks }.write(&path).unwrap();
    files.insert("reference/attacks.safetensors".to_owned(), std::fs::read(&path).unwrap());
    let error = certified(&files, None, &Options::default()).unwrap_err();
    assert!(error.contains("reference/attacks.safetensors") && error.contains("expected [8, 8, 3]"), "{error}");
}

/// Ten copies of a hundred images are a hundred decisions; two equal images in the reference are two.
#[test]
fn copies_of_an_image_count_once() {
    let reference = perfect(100);
    let once = data(&reference.labels, names());
    let pixels: Vec<u8> = (0..100).flat_map(|i| once.image(i).unwrap().pixels().to_vec()).collect();
    let copied = InMemory::new([8, 8], 3, pixels.repeat(10), reference.labels.repeat(10), names(), "test").unwrap();
    let certificate = certify(&reference, Some(&copied), 0.5).unwrap();
    let facts = certificate.data.as_ref().unwrap();
    assert_eq!((facts.images, facts.paired, facts.repeated), (1000, 100, 900));
    assert_eq!(certificate.verdict, Verdict::Inconclusive { more_images: Some(670) });
    assert!(certificate.to_string().contains("900 more are copies"));

    let mut twice = reference.clone();
    twice.hashes.extend_from_within(..);
    twice.labels.extend_from_within(..);
    twice.logits.extend_from_within(..);
    twice.splits.extend_from_within(..);
    let facts = certify(&twice, Some(&copied), 0.5).unwrap().data.unwrap();
    assert_eq!((facts.paired, facts.repeated), (200, 800));
}

#[test]
fn without_labelled_images_there_are_only_numbers() {
    let certificate = certify(&perfect(8), None, 0.5).unwrap();
    assert_eq!((certificate.verdict, certificate.exit_code()), (Verdict::NumbersOnly, 3));
    assert!(
        certificate.data.is_none() && certificate.runtimes.iter().all(|r| r.goldens.is_some() && r.paired.is_none())
    );
    assert!(certificate.to_string().contains("numbers only"));
}

#[test]
fn data_of_another_task_is_refused() {
    let reference = perfect(50);
    let wrong_labels: Vec<u32> = reference.labels.iter().map(|label| (label + 1) % CLASSES as u32).collect();
    let more: Vec<String> = names().into_iter().chain(["thyme".to_owned()]).collect();
    let cases = [
        (data(&wrong_labels, names()), "another label"),
        (data(&reference.labels, more), "1 of 6 classes are not there: `thyme`"),
    ];
    for (images, why) in cases {
        let error = certify(&reference, Some(&images), 0.5).unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    }
    let large = InMemory::new([9, 9], 3, vec![0; 243], vec![0], names(), "test").unwrap();
    assert!(certify(&reference, Some(&large), 0.5).unwrap_err().contains("test[0] (9x9)"));
    for margin in [0.0, -1.0, 100.0, f64::NAN] {
        assert!(certify(&reference, None, margin).unwrap_err().contains("margin"));
    }
}

#[test]
fn classes_go_by_name_and_never_by_position() {
    let reference = perfect(60);
    // The same names in another order, and fewer of them.
    let order: [u32; CLASSES] = [3, 0, 4, 2, 1];
    let shuffled: Vec<String> = order.iter().map(|class| names()[*class as usize].clone()).collect();
    let place = |label: &u32| order.iter().position(|class| class == label).unwrap() as u32;
    let labels: Vec<u32> = reference.labels.iter().map(place).collect();
    let certificate = certify(&reference, Some(&data(&labels, shuffled)), 10.0).unwrap();
    let paired = certificate.runtimes[0].paired.as_ref().unwrap();
    assert_eq!((paired.images, paired.runtime_accuracy), (60, 100.0));
    let note = &certificate.data.as_ref().unwrap().notes[0];
    assert!(note.contains("another order") && certificate.to_string().contains("note: the same classes"), "{note}");
    assert!(report::certificate_section(&certificate, false).into_string().contains("another order"));
    let one = InMemory::new([8, 8], 3, vec![9; 192], vec![0], vec!["mint".to_owned()], "test").unwrap();
    let certificate = certify(&reference, Some(&one), 10.0).unwrap();
    assert!(certificate.to_string().contains("1 of its 5 classes are used"), "{certificate}");

    let digits = (0..CLASSES).map(|class| class.to_string()).collect();
    let error = certify(&reference, Some(&data(&reference.labels, digits)), 0.5).unwrap_err();
    assert!(error.contains("5 of 5 classes are not there: `0`") && error.contains("classes go by name"), "{error}");
}

/// Images of which some cannot be read.
struct Spoiled(InMemory, Vec<usize>);

impl Dataset for Spoiled {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.0.label(index)
    }

    fn image(&self, index: usize) -> attar_data::Result<attar_pixels::Image> {
        match self.1.contains(&index) {
            true => Ok(attar_pixels::decode(b"no image", std::path::Path::new(&self.name(index)))?),
            false => self.0.image(index),
        }
    }

    fn classes(&self) -> &[String] {
        self.0.classes()
    }

    fn name(&self, index: usize) -> String {
        self.0.name(index)
    }
}

#[test]
fn images_that_cannot_be_read_are_all_named_or_left_out() {
    let reference = perfect(100);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &files(&reference));
    let bundle = Bundle::open(folder.path()).unwrap();
    let spoiled = |bad: Vec<usize>, leave_out_bad: bool| {
        let (mut loaded, skipped) = candidates(&bundle, &specs(), &[]).unwrap();
        let images = Spoiled(data(&reference.labels, names()), bad);
        let options = Options { margin_points: 10.0, leave_out_bad, ..Options::default() };
        verify(&Subject::from(&bundle), &mut loaded, skipped, Some(&images), &options, &mut |_, _| {})
    };
    let error = spoiled(vec![3, 70, 99], false).unwrap_err().to_string();
    for part in ["3 of 100 images cannot be used", "test[3]", "test[70]", "test[99]", "--leave-out-bad"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = spoiled((0..40).collect(), false).unwrap_err().to_string();
    assert!(error.contains("test[19]") && !error.contains("test[20]") && error.contains("and 20 more"), "{error}");
    let certificate = spoiled(vec![3, 70, 99], true).unwrap();
    let facts = certificate.data.as_ref().unwrap();
    assert_eq!((facts.images, facts.paired, facts.left_out.len()), (97, 97, 3));
    assert_eq!((certificate.verdict, facts.left_out[1].name.as_str()), (Verdict::Equivalent, "test[70]"));
    assert_eq!(certificate.runtimes[0].paired.as_ref().unwrap().runtime_accuracy, 100.0);
    assert!(certificate.to_string().contains("left out, because they cannot be read: 3 images"), "{certificate}");
    assert!(report::certificate_section(&certificate, false).into_string().contains("test[99]"));
    assert!(spoiled((0..100).collect(), true).is_err(), "nothing is left");
}
