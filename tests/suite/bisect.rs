//! `attar bisect` on the fixtures of `tests/fixtures/make/bisect.py`: exit codes, the report, the folder that shows it.

use std::collections::BTreeMap;
use std::path::Path;

use attar_formats::recorded::Recorded;
use attar_formats::write;
use attar_models::Weights;

use crate::support::program::{Said, attar};

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/bisect/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn bisect(folder: &Path, args: &[&str]) -> Said {
    attar(folder, &[&["bisect"], args, &["--engine-a", "tract"]].concat())
}

/// One scale for all channels, as a runtime once had it: recorded by ten lines of numpy, as floats, in numpy's archive.
#[test]
fn scales_for_each_channel_that_were_ignored_are_the_layer_that_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let (file, recording) = (fixture("qdq.onnx"), fixture("first-scale.npz"));
    let args = [&file, "--answers", &recording, "--out", "shown"];
    let found = bisect(folder.path(), &[&args[..], &["--json"]].concat()).exits(1).json();
    assert_eq!((&found["version"], &found["first"]["node"]), (&1.into(), &"conv2".into()), "{found}");
    assert_eq!((&found["first"]["finding"], &found["images"]), (&"own".into(), &2.into()));
    let of = |value: &str| {
        let rows = found["values"].as_array().unwrap();
        rows.iter().find(|row| row["value"] == value).unwrap().clone()
    };
    assert_eq!((&of("relu1_q")["finding"], &of("relu1_q")["other"]), (&"equal".into(), &"relu1".into()));
    assert_eq!(
        (&of("conv3_q")["finding"], &of("pool_q")["finding"]),
        (&"inherited".into(), &"inherited".into()),
        "{found}"
    );
    let text = bisect(folder.path(), &args).exits(1).out;
    assert!(
        text.contains("they part first at Conv `conv2` (value `relu2_q`): given the other side's inputs"),
        "{text}"
    );
    assert!(!text.contains("errors of their own") && text.ends_with("shows it: shown\n"), "{text}");
    for name in ["node.onnx", "input-0.npy", "a.npy", "b.npy", "show.py", "issue.md"] {
        assert!(folder.path().join("shown").join(name).is_file(), "{name}");
    }
}

#[test]
fn a_side_that_agrees_is_0_and_one_without_a_name_in_common_is_3() {
    let folder = tempfile::tempdir().unwrap();
    let (file, right) = (fixture("qdq.onnx"), fixture("right.safetensors"));
    let said = bisect(folder.path(), &[&file, "--answers", &right]).exits(0).out;
    assert!(said.contains("they agree throughout") && !folder.path().join("repro").exists(), "{said}");
    bisect(folder.path(), &[&file, &fixture("s8.onnx")]).exits(0);

    let image = Recorded::open(Path::new(&right)).unwrap().read("input").unwrap();
    let record = |values: &[(&str, &attar_models::Array)]| {
        let all = values.iter().map(|(name, array)| ((*name).to_owned(), (*array).clone())).collect();
        write::safetensors(&folder.path().join("x.safetensors"), &Weights(all), &BTreeMap::new()).unwrap();
        bisect(folder.path(), &[&file, "--answers", "x.safetensors"])
    };
    let nothing = record(&[("input", &image), ("elsewhere", &image)]).exits(3).out;
    assert!(nothing.contains("nothing to compare"), "{nothing}");
    record(&[("elsewhere", &image)]).fails(&["the network's input `input` is not among its values"]);
    // A value of another size, and one of another number of images.
    record(&[("input", &image), ("relu1_q", &image)]).fails(&["`relu1_q` is"]);
}

#[test]
fn what_cannot_be_a_side_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = fixture("qdq.onnx");
    bisect(folder.path(), &["absent.onnx"]).fails(&["absent.onnx"]);
    bisect(folder.path(), &[&fixture("right.safetensors")]).fails(&["not an ONNX file that takes one image"]);
    bisect(folder.path(), &[&file, "--answers", &file]).fails(&["neither safetensors nor an archive of numpy's"]);
    bisect(folder.path(), &[&file, "--images", "0"]).fails(&["--images 0"]);
    attar(folder.path(), &["compile", &file, "--out", "plan.attar"]).ok();
    bisect(folder.path(), &["plan.attar"]).fails(&["holds plans alone", "hint"]);
}
