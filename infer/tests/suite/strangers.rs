//! Files of others held against each other: a live reference, classes by name, what must be stated, and the verbs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use attar_infer::engine::{EngineKind, EngineSpec};
use attar_infer::parity::{Options, Reference, foreign_candidates, verify_against};
use attar_infer::{Certificate, Side, Stated, Verdict, report};
use serde_json::Value;

use crate::support::bundle::{CLASSES, data, files, names, perfect, write};
use crate::support::onnx::{behind, giving, quantised, rearranged, saying, taking};
use crate::support::{fixture, require_ort};

fn tiny() -> Vec<u8> {
    std::fs::read(fixture("onnx/tiny.onnx")).unwrap()
}

/// The preprocessing of the other tests' bundle, as others write it.
const PROCESSOR: &str = r#"{"image_processor_type": "CLIPImageProcessor", "do_resize": false, "do_center_crop": false,
    "do_rescale": true, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}"#;

/// A folder with models, names of classes and a preprocessing.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.put("names.txt", names().join("\n").as_bytes());
        place.put("processor.json", PROCESSOR.as_bytes());
        place
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn text(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn stated(&self) -> Stated {
        Stated {
            labels: Some(self.0.path().join("names.txt")),
            preprocessing: Some(self.text("processor.json")),
            ..Stated::default()
        }
    }

    /// One model against another in tract, over images or without.
    fn against(&self, model: &[u8], other: &[u8], labels: &[String], images: usize) -> Result<Certificate, String> {
        let spec = [EngineSpec::new(EngineKind::Tract)];
        let side = Side::open(&self.put("model.onnx", model), &self.stated()).map_err(|e| e.to_string())?;
        let stated = Stated { labels: Some(self.put("other.txt", labels.join("\n").as_bytes())), ..self.stated() };
        let other = Side::open(&self.put("other.onnx", other), &stated).map_err(|e| e.to_string())?;
        let reference = Reference::load(&other, &spec).map_err(|e| e.to_string())?;
        let reference =
            reference.of(other.subject().map_err(|e| e.to_string())?, Vec::new()).map_err(|e| e.to_string())?;
        let subject = side.subject().map_err(|e| e.to_string())?;
        let (mut loaded, skipped) =
            foreign_candidates(&subject, side.models(), &spec, &[]).map_err(|e| e.to_string())?;
        let images = (images > 0).then(|| data(&perfect(images).labels, names()));
        let images = images.as_ref().map(|images| images as &dyn attar_data::Dataset);
        let options = Options { margin_points: 2.0, ..Options::default() };
        verify_against(subject, &mut loaded, reference, skipped, images, &options, &mut |_, _| {})
            .map_err(|e| e.to_string())
    }
}

#[test]
fn a_file_is_held_against_another() {
    let place = Place::new();
    let same = place.against(&tiny(), &tiny(), &names(), 300).unwrap();
    let (facts, paired) = (same.reference.as_ref().unwrap(), same.runtimes[0].paired.as_ref().unwrap());
    assert_eq!((same.verdict, paired.images, paired.flips), (Verdict::Equivalent, 300, 0), "{same}");
    assert!(
        facts.file.ends_with("other.onnx") && facts.engine == "tract" && facts.file_sha256.len() == 64,
        "{facts:?}"
    );
    assert!(same.runtimes[0].goldens.is_none() && same.bundle.reference_weights_sha256.is_none());
    let said = format!("reference: {} (f32, sha256 {:.12}...) in tract", facts.file, facts.file_sha256);
    assert!(same.to_string().contains(&said) && same.to_string().contains("the reference answered 300"), "{same}");
    let page = report::certificate_section(&same, false).into_string();
    assert!(page.contains(&facts.file_sha256) && page.contains("Reference: "), "{page}");
    let xml = report::junit::suite(&same);
    assert!(xml.contains("<property name=\"reference\"") && xml.contains(&facts.file_sha256), "{xml}");
    // What was written before there were live references is read.
    let mut value = serde_json::to_value(&same).unwrap();
    assert_eq!(serde_json::from_value::<Certificate>(value.clone()).unwrap().reference, same.reference);
    value.as_object_mut().unwrap().remove("reference");
    assert_eq!(serde_json::from_value::<Certificate>(value).unwrap().reference, None);

    // Probabilities on either side are compared as such.
    let soft = behind(&tiny(), &["Softmax"]);
    for (model, other) in [(&soft, &tiny()), (&tiny(), &soft)] {
        let certificate = place.against(model, other, &names(), 300).unwrap();
        let paired = certificate.runtimes[0].paired.as_ref().unwrap();
        assert!(certificate.verdict == Verdict::Equivalent && paired.logits.max_diff < 1e-4, "{certificate}");
        assert_eq!(place.against(model, other, &names(), 0).unwrap().verdict, Verdict::NumbersOnly);
    }
    // Another network.
    let constant = rearranged(&tiny(), CLASSES, &[None, Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!(place.against(&constant, &tiny(), &names(), 300).unwrap().verdict, Verdict::Worse);
}

#[test]
fn without_images_seeded_ones_are_asked() {
    let place = Place::new();
    let same = place.against(&tiny(), &tiny(), &names(), 0).unwrap();
    let numbers = same.runtimes[0].goldens.as_ref().unwrap();
    assert_eq!((same.verdict, same.exit_code(), numbers.count, numbers.flips), (Verdict::NumbersOnly, 3, 16, 0));
    assert!(numbers.within_rounding && numbers.kind == "synthetic", "{numbers:?}");
    let bent = place.against(&behind(&tiny(), &["Tanh"]), &tiny(), &names(), 0).unwrap();
    assert_eq!((bent.verdict, bent.exit_code()), (Verdict::Worse, 1), "{bent}");
    // Whole numbers on either side round as they like.
    for (model, other) in [(quantised(&tiny()), tiny()), (tiny(), quantised(&tiny()))] {
        let rounded = place.against(&model, &other, &names(), 0).unwrap();
        let numbers = rounded.runtimes[0].goldens.as_ref().unwrap();
        assert_eq!((rounded.verdict, numbers.tolerance, numbers.within_rounding), (Verdict::NumbersOnly, None, false));
    }
}

#[test]
fn classes_of_the_reference_go_by_name_and_may_be_more() {
    let place = Place::new();
    // sage, -, rose, mint, -, lily, iris
    let columns = [Some(4), None, Some(0), Some(3), None, Some(2), Some(1)];
    let labels: Vec<String> =
        columns.iter().enumerate().map(|(at, of)| of.map_or(format!("other {at}"), |of| names()[of].clone())).collect();
    let other = rearranged(&tiny(), CLASSES, &columns);
    for images in [0, 300] {
        let certificate = place.against(&tiny(), &other, &labels, images).unwrap();
        let notes = certificate.reference.as_ref().unwrap().notes.join("\n");
        assert!(notes.contains("5 of its 7 classes are used, by name"), "{notes}");
        let runtime = &certificate.runtimes[0];
        match images {
            0 => assert!(runtime.goldens.as_ref().unwrap().within_rounding, "{certificate}"),
            _ => assert_eq!((certificate.verdict, runtime.paired.as_ref().unwrap().flips), (Verdict::Equivalent, 0)),
        }
    }
    let problem = place.against(&other, &tiny(), &names(), 300).unwrap_err();
    assert!(problem.contains("5 labels") || problem.contains("7 logits"), "{problem}");
    let problem = place.against(&tiny(), &tiny(), &["rose", "iris", "lily", "mint", "sago"].map(str::to_owned), 300);
    let problem = problem.unwrap_err();
    assert!(problem.contains("other.onnx") && problem.contains("`sage` (did it mean `sago`?)"), "{problem}");
}

#[test]
fn what_nobody_said_is_asked_for() {
    let place = Place::new();
    let path = place.put("tiny.onnx", &tiny());
    let open = |stated: Stated| Side::open(&path, &stated).map_err(|e| e.to_string());
    let problem = open(Stated::default()).unwrap().subject().unwrap_err().to_string();
    assert!(problem.contains("--labels FILE") && problem.contains("--preprocessing NAME|FILE"), "{problem}");
    let problem = open(Stated { preprocessing: Some("unit".to_owned()), prefix: "against-", ..Stated::default() });
    let problem = problem.unwrap().subject().unwrap_err().to_string();
    assert!(problem.contains("--against-labels") && !problem.contains("--against-preprocessing"), "{problem}");
    let problem = open(Stated { input: Some([3, 9, 8]), ..Stated::default() }).unwrap_err();
    assert!(problem.contains("--input-shape says 9, the file takes 8"), "{problem}");
    let free = place.put("free.onnx", &giving(&taking(&tiny(), &[0, 3, 0, 0]), &[0, CLASSES as u8]));
    let problem = Side::open(&free, &Stated::default()).unwrap_err().to_string();
    assert!(problem.contains("[3, ?, ?]") && problem.contains("--input-shape C,H,W"), "{problem}");
    let side = Side::open(&free, &Stated { input: Some([3, 8, 8]), ..place.stated() }).unwrap();
    assert_eq!((side.input(), side.subject().unwrap().labels().len()), ([3, 8, 8], CLASSES));
    let nhwc = place.put("nhwc.onnx", &taking(&tiny(), &[0, 8, 8, 3]));
    assert!(Side::open(&nhwc, &place.stated()).unwrap_err().to_string().contains("--inputs-as-nchw"));

    // A file of ours names its classes, and nobody else does.
    let ours =
        place.put("ours.onnx", &saying(&tiny(), &[("attar.labels", r#"["rose", "iris", "lily", "sage", "mint"]"#)]));
    let problem = Side::open(&ours, &place.stated()).unwrap_err().to_string();
    assert!(problem.contains("--labels has the classes in another order"), "{problem}");
    place.put("ours.txt", b"rose\niris\nlily\nsage\nmint\n");
    let stated = Stated { labels: Some(place.text("ours.txt").into()), ..place.stated() };
    assert_eq!(Side::open(&ours, &stated).unwrap().labels().unwrap()[3], "sage");

    // Ultralytics' classifiers say all of it.
    let names = r"{0: 'rose', 1: 'iris', 2: 'lily', 3: 'mint', 4: 'sage'}";
    let said =
        [("author", "Ultralytics"), ("task", "classify"), ("version", "8.3.1"), ("imgsz", "[8, 8]"), ("names", names)];
    let yolo = Side::open(&place.put("yolo.onnx", &saying(&tiny(), &said)), &Stated::default()).unwrap();
    let subject = yolo.subject().unwrap();
    assert_eq!(
        (subject.labels(), &subject.preprocessing().std[..]),
        (&crate::support::bundle::names()[..], &[1.0; 3][..])
    );
    let broken = place.put("broken.onnx", &saying(&tiny(), &[("author", "Ultralytics"), ("names", "{0: x}")]));
    let problem = Side::open(&broken, &Stated::default()).unwrap_err().to_string();
    assert!(problem.contains("broken.onnx") && problem.contains("`names`"), "{problem}");
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_attar-infer")).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn photos(root: &Path, n: usize) {
    use attar_data::Dataset;
    let reference = perfect(n);
    let images = data(&reference.labels, names());
    for i in 0..n {
        let class = root.join("test").join(&names()[reference.labels[i] as usize]);
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join(format!("{i:04}.png")), images.encoded(i).unwrap()).unwrap();
    }
}

#[test]
fn the_verbs_take_a_strangers_file() {
    let place = Place::new();
    place.put("tiny.onnx", &tiny());
    place.put("bent.onnx", &behind(&tiny(), &["Tanh"]));
    photos(&place.0.path().join("photos"), 120);
    write(&place.0.path().join("bundle"), &files(&perfect(120)));
    let (model, bent, bundle) = (place.text("tiny.onnx"), place.text("bent.onnx"), place.text("bundle"));
    let (labels, how) = (place.text("names.txt"), place.text("processor.json"));
    let images = format!("image-folder:{}", place.text("photos"));
    let stated = ["--labels", &labels, "--preprocessing", &how];

    let rose = std::fs::read_dir(place.0.path().join("photos/test/rose")).unwrap().next().unwrap().unwrap().path();
    let rose = rose.display().to_string();
    let predicted = program(&[&["predict", &model, &rose, "--json"], &stated[..]].concat());
    assert_eq!(json(&predicted)["answers"][0]["guesses"][0]["label"], "rose");
    let unsaid = program(&["predict", &model, &rose]);
    let said = String::from_utf8_lossy(&unsaid.stderr).into_owned();
    assert!(unsaid.status.code() == Some(2) && said.contains("--labels") && said.contains("--preprocessing"), "{said}");

    let measured = json(&program(&["bench", &model, "--engine", "tract", "--seconds", "0.01", "--json"]));
    assert!(measured["runtimes"][0]["calls"].as_u64() >= Some(50), "{measured}");

    // Against a bundle, which says all of itself.
    let live = ["--engine", "tract", "--against-engine", "tract", "--json"];
    let with = ["--data", &images, "--margin", "4"];
    let verified = program(&[&["verify", &model, "--against", &bundle], &stated[..], &live[..], &with[..]].concat());
    let certificate = json(&verified);
    assert_eq!((verified.status.code(), &certificate["data"]["paired"]), (Some(0), &120.into()), "{certificate}");
    assert!(certificate["reference"]["file"].as_str() == Some("model.onnx"), "{certificate}");
    let turned = program(
        &[
            &["verify", &bundle, "--against", &model, "--against-labels", &labels, "--against-preprocessing", &how],
            &live[..],
            &with[..],
        ]
        .concat(),
    );
    assert_eq!(turned.status.code(), Some(0), "{}", String::from_utf8_lossy(&turned.stderr));

    // Without images nothing need be stated of two files.
    let agreed = program(&[&["verify", &model, "--against", &model], &live[..]].concat());
    assert_eq!((agreed.status.code(), json(&agreed)["runtimes"][0]["goldens"]["flips"].as_u64()), (Some(3), Some(0)));
    assert_eq!(json(&agreed)["reference"]["notes"].as_array().map(Vec::len), Some(2));
    assert_eq!(program(&[&["verify", &bent, "--against", &model], &live[..]].concat()).status.code(), Some(1));

    let cases: [(&[&str], &str); 7] = [
        (&["verify", &model, "--engine", "tract", "--against-engine", "tract"], "there is nothing to compare with"),
        (&["verify", &model, "--against", &model, "--data", &images], "--labels FILE"),
        (&["verify", &model, "--against", &bundle], "--preprocessing NAME|FILE"),
        (&["verify", &bundle, "--labels", &labels], "a bundle says it itself"),
        (&["verify", &bundle, "--against-engine", "tract"], "the bundle brings the answers"),
        (&["verify", &model, "--model", &bent], "is no bundle"),
        (&["predict", &model, &rose, "--preprocessing", "imagnet", "--labels", &labels], "imagenet, inception"),
    ];
    for (arguments, why) in cases {
        let output = program(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(why), "{arguments:?}: {:?} {said}", output.status);
    }
}

#[test]
fn runtimes_are_held_against_each_other() {
    if require_ort("infer verify of one file").is_none() {
        return;
    }
    let place = Place::new();
    let model = place.put("tiny.onnx", &tiny()).display().to_string();
    let numbers = program(&["verify", &model, "--json"]);
    let certificate = json(&numbers);
    assert_eq!((numbers.status.code(), certificate["reference"]["engine"].as_str()), (Some(3), Some("ort")));
    let engines: Vec<&str> =
        certificate["runtimes"].as_array().unwrap().iter().filter_map(|r| r["engine"].as_str()).collect();
    assert_eq!(engines, ["tract", "attar"]);
    photos(&place.0.path().join("photos"), 120);
    let images = format!("image-folder:{}", place.text("photos"));
    let (labels, how) = (place.text("names.txt"), place.text("processor.json"));
    let arguments =
        ["verify", &model, "--data", &images, "--labels", &labels, "--preprocessing", &how, "--margin", "4", "--json"];
    let decided = program(&arguments);
    assert_eq!((decided.status.code(), &json(&decided)["runtimes"][0]["paired"]["flips"]), (Some(0), &0.into()));
}
