//! Faults that happened, each in the fixtures that `tests/fixtures/make/bisect.py` makes: the guilty node is named.

use std::path::Path;

use attar_formats::npy;
use attar_formats::recorded::Recorded;
use attar_infer::bisect::{Bisection, Compared, Finding, Images, Live, Other, bisect, recorded_images, write_repro};
use attar_infer::engine::{EngineKind, EngineModel, EngineSpec};
use attar_models::Array;

use crate::support::{fixture, require_ort};

const SHAPE: [usize; 3] = [3, 8, 8];

fn sample(name: &str) -> std::path::PathBuf {
    fixture(&format!("bisect/{name}"))
}

fn spec() -> EngineSpec {
    EngineSpec::new(EngineKind::Tract)
}

fn images(count: usize) -> Images<'static> {
    let how = attar_pixels::Preprocessing::normalise(vec![0.5; 3], vec![0.25; 3]);
    Images::seeded(how, SHAPE, count).unwrap()
}

/// Two files in tract; where they part, the folder that shows it is written to `out`.
fn files(a: &str, b: &str, out: Option<&Path>) -> Bisection {
    sides((a, EngineKind::Tract), (b, EngineKind::Tract), out)
}

fn sides(a: (&str, EngineKind), b: (&str, EngineKind), out: Option<&Path>) -> Bisection {
    let read = |name: &str| EngineModel::read(&sample(name)).unwrap();
    let (model_a, model_b) = (read(a.0), read(b.0));
    let live = |model, kind| Live::new(model, EngineSpec::new(kind), SHAPE).unwrap();
    let (a, b) = (live(&model_a, a.1), Other::Live(Box::new(live(&model_b, b.1))));
    let mut found = bisect(&a, &b, &images(3), &mut |_, _| {}).unwrap();
    out.into_iter().for_each(|out| write_repro(out, &a, &b, &images(3), &mut found).unwrap());
    found
}

fn answers(a: &str, name: &str, out: Option<&Path>) -> Bisection {
    recording(a, &sample(name), out)
}

fn recording(a: &str, path: &Path, out: Option<&Path>) -> Bisection {
    let model = EngineModel::read(&sample(a)).unwrap();
    let a = Live::new(&model, spec(), SHAPE).unwrap();
    let file = Recorded::open(path).unwrap();
    let (numbers, count) = recorded_images(&file, a.input(), SHAPE).unwrap();
    assert_eq!(count, 2);
    let (images, b) = (Images::of_numbers(numbers, SHAPE), Other::Recorded(file));
    let mut found = bisect(&a, &b, &images, &mut |_, _| {}).unwrap();
    out.into_iter().for_each(|out| write_repro(out, &a, &b, &images, &mut found).unwrap());
    found
}

fn row<'f>(found: &'f Bisection, value: &str) -> &'f Compared {
    found.values.iter().find(|row| row.value == value).unwrap_or_else(|| panic!("no `{value}` in {found}"))
}

/// The guilty node by name, and what each value is found to be.
fn guilty(found: &Bisection) -> (&str, &str) {
    let first = found.first.as_ref().unwrap_or_else(|| panic!("nothing found: {found}"));
    assert_eq!((first.finding, found.exit_code()), (Finding::Own, 1), "{found}");
    (&first.node, &first.value)
}

fn findings(found: &Bisection, values: &[&str]) -> Vec<Finding> {
    values.iter().map(|value| row(found, value).finding).collect()
}

#[test]
fn a_recording_without_a_fault_agrees_to_the_bit() {
    let found = answers("qdq.onnx", "right.safetensors", None);
    assert_eq!((found.first.as_ref(), found.exit_code(), found.unmatched), (None, 0, [1, 0]), "{found}");
    assert_eq!(found.values.len(), 7, "{found}");
    assert!(found.values.iter().all(|row| row.finding == Finding::Equal && row.own.unwrap().max == 0.0), "{found}");
}

#[test]
fn saturating_pairs_are_the_layer_whose_weights_take_all_eight_bits() {
    let folder = tempfile::tempdir().unwrap();
    let found = answers("qdq.onnx", "saturating.safetensors", Some(folder.path()));
    assert_eq!(guilty(&found), ("conv3", "conv3_q"), "{found}");
    assert_eq!(findings(&found, &["input_q", "relu1_q", "relu2_q"]), [Finding::Equal; 3]);
    let sum = row(&found, "sum_q");
    assert!(sum.total.max > 1.0 && sum.own.unwrap().max <= 1.0 && sum.finding == Finding::Inherited, "{found}");
    // The file that shows it: the node with the recorded input, the right answer and the recorded one.
    let read = |name: &str| npy::read(&mut &std::fs::read(folder.path().join(name)).unwrap()[..]).unwrap();
    let recorded = |file: &str, value: &str| {
        let whole = Recorded::open(&sample(file)).unwrap().read(value).unwrap().into_vec::<u8>().unwrap();
        let image = row(&found, "conv3_q").image;
        whole[image * whole.len() / 2..(image + 1) * whole.len() / 2].to_vec()
    };
    let model = std::fs::read(folder.path().join("node.onnx")).unwrap();
    let graph = attar_onnx::cut::Graph::read(&model);
    assert_eq!((graph.inputs(), graph.outputs()), (&["relu2_q"][..], &["conv3_q"][..]));
    for (name, file, value) in [
        ("input-0.npy", "right.safetensors", "relu2_q"),
        ("a.npy", "right.safetensors", "conv3_q"),
        ("b.npy", "saturating.safetensors", "conv3_q"),
    ] {
        assert_eq!(read(name).into_vec::<u8>().unwrap(), recorded(file, value), "{name}");
    }
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(text("issue.md").contains("`relu2_q`, u8 [1, 8, 4, 4], in `input-0.npy`"), "{}", text("issue.md"));
    assert!(text("show.py").contains("[\"relu2_q\"]") && !text("show.py").contains('@'), "{}", text("show.py"));
    assert_eq!(found.repro.as_deref(), Some(folder.path()));
}

#[test]
fn signed_activations_of_the_same_steps_agree_and_one_of_half_the_range_is_named() {
    let same = files("qdq.onnx", "s8.onnx", None);
    assert_eq!((same.first.as_ref(), same.values.len()), (None, 8), "{same}");
    assert!(same.values.iter().all(|row| row.finding == Finding::Equal), "{same}");
    let narrow = files("qdq.onnx", "s8-narrow.onnx", None);
    assert_eq!(guilty(&narrow), ("conv2", "relu2_q"), "{narrow}");
    let said = &narrow.first.as_ref().unwrap().differences[0];
    assert!(
        said.contains("u8 with scale 0.0078125 and zero point 0 in A, i8 with scale 0.0078125 and zero point 0 in B"),
        "{said}"
    );
    assert!(row(&narrow, "relu2_q").own.unwrap().max > 10.0, "{narrow}");
    assert_eq!(findings(&narrow, &["relu1_q", "conv3_q", "sum_q"])[0], Finding::Equal);
    assert!(row(&narrow, "conv3_q").own.unwrap().max > 0.0, "its input is cut off, too: {narrow}");
}

#[test]
fn pads_that_were_swapped_are_the_layer_that_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let found = files("f32.onnx", "padding.onnx", Some(folder.path()));
    assert_eq!(guilty(&found), ("conv2", "conv2"), "{found}");
    assert_eq!(found.first.as_ref().unwrap().differences, ["pads is [0, 0, 1, 1] in A, [1, 1, 0, 0] in B"]);
    assert_eq!(findings(&found, &["conv1", "relu1"]), [Finding::Equal; 2]);
    assert_eq!(findings(&found, &["relu2", "sum", "logits"]), [Finding::Inherited; 3], "{found}");
    let model = std::fs::read(folder.path().join("node.onnx")).unwrap();
    let graph = attar_onnx::cut::Graph::read(&model);
    let ops: Vec<&str> = graph.nodes().iter().map(|node| node.op).collect();
    assert_eq!(ops, ["Conv"]);
}

#[test]
fn weights_of_eight_bits_of_mantissa_are_told_from_rounding() {
    let one = files("f32.onnx", "bf16-conv2.onnx", None);
    assert_eq!(guilty(&one), ("conv2", "conv2"), "{one}");
    assert_eq!(one.first.as_ref().unwrap().differences, ["the numbers of `conv2.weight`"]);
    assert!(one.values.iter().filter(|row| row.finding == Finding::Own).count() == 1, "{one}");
    let all = files("f32.onnx", "bf16.onnx", None);
    assert_eq!(guilty(&all).0, "conv1", "{all}");
    let own: Vec<&str> =
        all.values.iter().filter(|row| row.finding == Finding::Own).map(|row| row.node.as_str()).collect();
    assert_eq!(own, ["conv1", "conv2", "conv3", "logits"], "{all}");
}

#[test]
fn of_a_file_and_its_int8_form_each_nodes_share_is_told() {
    let found = files("f32.onnx", "qdq.onnx", None);
    assert_eq!((found.unmatched, found.first.as_ref(), found.exit_code()), ([2, 1], None, 0), "{found}");
    assert!(found.to_string().contains("they agree as far as their bytes go"), "{found}");
    for value in ["relu1", "relu2", "conv3", "sum", "pool"] {
        let row = row(&found, value);
        assert_eq!(row.other.as_deref(), Some(format!("{value}_q").as_str()));
        assert!(row.quantising && row.own.unwrap().rms > 0.0 && row.own.unwrap().rms < row.total.rms + 0.05, "{found}");
    }
    assert!(row(&found, "logits").quantising, "{found}");
    let back = files("qdq.onnx", "f32.onnx", None);
    assert_eq!((back.values.len(), back.unmatched), (found.values.len(), [1, 2]), "{back}");
}

#[cfg(feature = "compile")]
#[test]
fn attars_own_engine_is_asked_for_the_same_values() {
    use EngineKind::{Attar, Tract};
    // Without a fault: bytes to the bit, floats to rounding, from either side.
    for [a, b] in [[Tract, Attar], [Attar, Tract]] {
        let bytes = sides(("qdq.onnx", a), ("qdq.onnx", b), None);
        assert_eq!((bytes.first.as_ref(), bytes.values.len()), (None, 8), "{bytes}");
        assert!(bytes.values.iter().all(|row| row.finding == Finding::Equal && row.own.is_some()), "{bytes}");
        let floats = sides(("f32.onnx", a), ("f32.onnx", b), None);
        assert_eq!((floats.first.as_ref(), floats.values.len()), (None, 9), "{floats}");
        assert!(floats.unwatched.unwrap().max < 1e-5, "{floats}");
    }
    let found = sides(("f32.onnx", Tract), ("padding.onnx", Attar), None);
    assert_eq!(guilty(&found).0, "conv2", "{found}");
    // Nobody runs parts of files where both sides are this engine: what is beyond rounding is named, and by whom is not told.
    let alone = sides(("f32.onnx", Attar), ("padding.onnx", Attar), None);
    let first = alone.first.clone().unwrap();
    assert_eq!((first.node.as_str(), first.finding), ("conv2", Finding::Unknown), "{alone}");
}

/// ONNX Runtime fuses layers of bytes while it is watched, and computes signed ones partly in floats: the same bytes here,
/// where all scales are powers of two.
#[test]
fn onnx_runtime_and_tract_agree_and_name_the_same_nodes() {
    use EngineKind::{Ort, Tract};
    if require_ort("onnx_runtime_and_tract_agree_and_name_the_same_nodes").is_none() {
        return;
    }
    for file in ["qdq.onnx", "s8.onnx", "f32.onnx"] {
        for [a, b] in [[Ort, Tract], [Tract, Ort]] {
            let found = sides((file, a), (file, b), None);
            assert_eq!((found.first.as_ref(), found.unmatched), (None, [0, 0]), "{found}");
        }
    }
    for (a, b, node) in [
        ("f32.onnx", "padding.onnx", "conv2"),
        ("f32.onnx", "bf16.onnx", "conv1"),
        ("f32.onnx", "bf16-conv2.onnx", "conv2"),
        ("qdq.onnx", "s8-narrow.onnx", "conv2"),
    ] {
        assert_eq!(guilty(&sides((a, Ort), (b, Ort), None)).0, node);
        assert_eq!(guilty(&sides((a, Tract), (b, Ort), None)).0, node);
    }
}

/// A phone's values: few of them, channels last. What lies between is one part.
#[test]
fn a_recording_with_its_channels_last_is_turned() {
    let right = Recorded::open(&sample("right.safetensors")).unwrap();
    fn turned<T: attar_models::Element>(array: Array) -> Array {
        let [n, c, h, w] = array.shape[..] else { panic!("{:?}", array.shape) };
        let values = array.slice::<T>().unwrap();
        let at = |i: usize| ((i / (h * w * c)) * c + i % c) * h * w + i / c % (h * w);
        Array::new(vec![n, h, w, c], (0..values.len()).map(|i| values[at(i)]).collect::<Vec<T>>()).unwrap()
    }
    let values = [
        ("input", turned::<f32>(right.read("input").unwrap())),
        ("relu2_q", turned::<u8>(right.read("relu2_q").unwrap())),
        ("logits", right.read("logits").unwrap()),
    ];
    assert_eq!(values[1].1.shape, [2, 4, 4, 8]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("phone.safetensors");
    let all = values.map(|(name, array)| (name.to_owned(), array));
    attar_formats::write::safetensors(&path, &attar_models::Weights(all.into()), &Default::default()).unwrap();
    let found = recording("qdq.onnx", &path, None);
    assert_eq!((found.first.as_ref(), found.values.len(), found.unmatched), (None, 2, [6, 0]), "{found}");
    assert!(found.values.iter().all(|row| row.own.unwrap().max < 1e-6), "{found}");
}

#[test]
fn a_recording_that_does_not_fit_says_so() {
    let model = EngineModel::read(&sample("qdq.onnx")).unwrap();
    let a = Live::new(&model, spec(), SHAPE).unwrap();
    let file = Recorded::open(&sample("right.safetensors")).unwrap();
    let problem = |input: &str, shape| recorded_images(&file, input, shape).unwrap_err().to_string();
    assert!(problem("inputs", SHAPE).contains("is it `input`?"));
    assert!(problem(a.input(), [3, 9, 8]).contains("expected [N, 3, 9, 8]"));
    assert!(matches!(
        Live::new(&EngineModel::read(&sample("right.safetensors")).unwrap(), spec(), SHAPE),
        Err(attar_infer::Error::Format { .. })
    ));
}
