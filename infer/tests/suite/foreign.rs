//! ONNX files that others made: softmaxes in them, arrays beside them, channels last, free sizes, whole numbers.

use attar_infer::engine::{self, Answers, EngineKind, EngineModel, EngineSpec, Opened};
use attar_infer::parity::{Options, candidates, foreign_candidates, verify};
use attar_infer::{Bundle, Certificate, Error, Subject, Verdict, report};

use crate::support::bundle::{CLASSES, data, files, names, perfect, write};
use crate::support::onnx::{apart, behind, giving, quantised, taking};
use crate::support::{fixture, require_ort};

fn specs(test: &str) -> Vec<EngineSpec> {
    let mut specs = vec![EngineSpec::new(EngineKind::Tract)];
    if require_ort(test).is_some() {
        specs.push(EngineSpec::new(EngineKind::Ort));
    }
    specs
}

fn tiny() -> Vec<u8> {
    std::fs::read(fixture("onnx/tiny.onnx")).unwrap()
}

fn images(n: usize) -> Vec<f32> {
    (0..n * 192).map(|i| ((i * 37) % 101) as f32 / 25.0 - 2.0).collect()
}

/// Writes a model and opens it.
fn opened(spec: &EngineSpec, model: &[u8], input: Option<[usize; 3]>) -> Result<Opened, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model).unwrap();
    engine::open_file(spec, &path, input)
}

fn refusal(spec: &EngineSpec, model: &[u8]) -> String {
    opened(spec, model, None).err().unwrap().to_string()
}

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit - sum.ln()).collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4)
}

#[test]
fn probabilities_are_asked_for_their_logarithms() {
    for spec in specs("infer softmax heads") {
        let mut plain = opened(&spec, &tiny(), None).unwrap().engine;
        assert_eq!(plain.answers(), Answers::Logits);
        let logits = plain.run(&images(3), 3).unwrap();
        let expected: Vec<f32> = logits.chunks(CLASSES).flat_map(log_softmax).collect();
        let heads: [(&[&str], Answers); 4] = [
            (&["Softmax"], Answers::Probabilities),
            (&["Softmax", "Identity"], Answers::Probabilities),
            (&["LogSoftmax"], Answers::LogProbabilities),
            (&["Softmax", "Sqrt", "Identity", "Log"], Answers::Logits),
        ];
        for (ops, answers) in heads {
            let mut engine = opened(&spec, &behind(&tiny(), ops), None).unwrap().engine;
            assert_eq!(engine.answers(), answers, "{} {ops:?}", spec.kind);
            let got = engine.run(&images(3), 3).unwrap();
            assert!(answers.are_logits() || close(&got, &expected), "{} {ops:?}: {got:?} {expected:?}", spec.kind);
        }
        let said = refusal(&spec, &behind(&tiny(), &["Sigmoid"]));
        assert!(said.contains("Sigmoid") && said.contains("do not exclude each other"), "{said}");
    }
}

#[test]
fn arrays_beside_the_file_are_read() {
    for spec in specs("infer external data") {
        let expected = opened(&spec, &tiny(), None).unwrap().engine.run(&images(2), 2).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = apart(&tiny(), "tiny.data");
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, &model).unwrap();
        let said = engine::open_file(&spec, &path, None).err().unwrap().to_string();
        assert!(said.contains("tiny.data") && said.contains("keep it beside the model"), "{said}");
        std::fs::write(folder.path().join("tiny.data"), &data).unwrap();
        let mut opened = engine::open_file(&spec, &path, None).unwrap();
        assert_eq!(opened.engine.run(&images(2), 2).unwrap(), expected);
        assert_eq!(opened.data_files.keys().collect::<Vec<_>>(), ["tiny.data"]);
        // A bundle lists all its files; what lies beside its model is in no list.
        let said = engine::open(&spec, &model, &path).err().unwrap().to_string();
        assert!(said.contains("no manifest lists"), "{said}");
    }
}

#[test]
fn shapes_are_understood_or_explained() {
    let free = giving(&taking(&tiny(), &[0, 3, 0, 0]), &[0, CLASSES as u8]);
    for spec in specs("infer shapes") {
        let said = refusal(&spec, &taking(&tiny(), &[0, 8, 8, 3]));
        assert!(said.contains("channels last") && said.contains("--inputs-as-nchw"), "{said}");
        let said = refusal(&spec, &free);
        assert!(said.contains("fixed height and width"), "{said}");
        let mut engine = opened(&spec, &free, Some([3, 8, 8])).unwrap().engine;
        assert_eq!((engine.signature().input, engine.signature().classes), ([3, 8, 8], CLASSES));
        let expected = opened(&spec, &tiny(), None).unwrap().engine.run(&images(1), 1).unwrap();
        assert!(close(&engine.run(&images(1), 1).unwrap(), &expected));
    }
}

/// The certificate of another file over the images of a bundle.
fn certify(model: &[u8], with_data: bool) -> Result<Certificate, String> {
    let folder = tempfile::tempdir().unwrap();
    let reference = perfect(300);
    write(&folder.path().join("bundle"), &files(&reference));
    let bundle = Bundle::open(&folder.path().join("bundle")).unwrap();
    let path = folder.path().join("other.onnx");
    std::fs::write(&path, model).unwrap();
    let spec = [EngineSpec::new(EngineKind::Tract)];
    let (subject, model) = (Subject::from(&bundle), EngineModel::read(&path).unwrap());
    let (mut loaded, skipped) = foreign_candidates(&subject, &[model], &spec, &[]).map_err(|e| e.to_string())?;
    let images = data(&reference.labels, names());
    let images = with_data.then_some(&images as &dyn attar_data::Dataset);
    let options = Options { margin_points: 2.0, ..Options::default() };
    verify(&subject, &mut loaded, skipped, images, &options, &mut |_, _| {}).map_err(|e| e.to_string())
}

#[test]
fn another_file_is_verified_against_the_bundles_answers() {
    let same = certify(&tiny(), true).unwrap();
    let runtime = &same.runtimes[0];
    assert_eq!((same.verdict, runtime.precision.as_str()), (Verdict::Equivalent, "f32"));
    assert!(runtime.file.ends_with("other.onnx") && runtime.file_sha256.len() == 64, "{runtime:?}");

    // Probabilities are as good as logits, to decisions and to numbers.
    let soft = certify(&behind(&tiny(), &["Softmax"]), true).unwrap();
    let (numbers, paired) = (soft.runtimes[0].goldens.as_ref().unwrap(), soft.runtimes[0].paired.as_ref().unwrap());
    assert!(numbers.within_rounding && paired.flips == 0 && paired.logits.max_diff < 1e-4, "{numbers:?} {paired:?}");
    assert_eq!((soft.verdict, soft.runtimes[0].answers), (Verdict::Equivalent, Answers::Probabilities));
    assert!(soft.to_string().contains("gives probabilities"));

    // Whole numbers round as they like: no verdict comes of the goldens alone.
    let rounded = certify(&quantised(&tiny()), true).unwrap();
    let numbers = rounded.runtimes[0].goldens.as_ref().unwrap();
    assert_eq!((rounded.runtimes[0].precision.as_str(), numbers.tolerance), ("int8", None));
    assert!(!numbers.within_rounding && rounded.verdict != Verdict::Worse, "{rounded}");
    assert!(rounded.to_string().contains("not judged at this precision"));
    assert_eq!(certify(&quantised(&tiny()), false).unwrap().verdict, Verdict::NumbersOnly);
}

#[test]
fn goldens_beyond_rounding_are_worse_and_say_why() {
    let bent = behind(&tiny(), &["Tanh"]);
    for with_data in [false, true] {
        let certificate = certify(&bent, with_data).unwrap();
        assert_eq!((certificate.verdict, certificate.exit_code()), (Verdict::Worse, 1));
        let reason = certificate.runtimes[0].reason.as_deref().unwrap();
        assert!(reason.contains("of their spread"), "{reason}");
        assert!(certificate.to_string().contains(&format!("verdict: worse: {reason}")));
        let page = report::certificate_section(&certificate, false).into_string();
        assert!(page.contains("is worse: the goldens"), "{page}");
        let xml = report::junit::suite(&certificate);
        assert!(xml.contains("tests=\"1\" failures=\"1\"") && xml.contains("<failure message=\"the goldens"), "{xml}");
    }
}

#[test]
fn a_file_that_does_not_fit_is_refused() {
    let small = certify(&taking(&tiny(), &[0, 3, 6, 6]), true);
    assert!(small.unwrap_err().contains("the preprocessing of resnet8 makes [3, 8, 8]"));
    // What no runtime at hand can load is an error, not a certificate over nothing.
    let garbage = certify(b"garbage", true).unwrap_err();
    assert!(garbage.contains("other.onnx"), "{garbage}");
    let bundle = tempfile::tempdir().unwrap();
    write(bundle.path(), &files(&perfect(4)));
    let bundle = Bundle::open(bundle.path()).unwrap();
    let optional = [EngineSpec::new(EngineKind::Tract)];
    let absent = EngineModel::read("absent.onnx".as_ref()).unwrap_err();
    assert!(absent.to_string().contains("absent.onnx"), "{absent}");
    assert!(candidates(&bundle, &[], &optional).is_ok());
}
