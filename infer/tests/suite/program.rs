//! The program `attar-infer`: exit codes, JSON, pages, and errors for people.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::bundle::{data, files, names, perfect, write};
use crate::support::require_ort;

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_attar-infer")).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A bundle and its images as folders of PNGs, one a class.
fn prepare(root: &Path, n: usize) {
    use attar_data::Dataset;
    let reference = perfect(n);
    write(&root.join("bundle"), &files(&reference));
    // Folder names sort like the labels only if they carry the index; the bundle's names are unsorted.
    let images = data(&reference.labels, names());
    for split in ["train", "test"] {
        for i in 0..n {
            let class = root.join("photos").join(split).join(reference.labels[i].to_string());
            std::fs::create_dir_all(&class).unwrap();
            std::fs::write(class.join(format!("{i:04}.png")), images.encoded(i).unwrap()).unwrap();
        }
    }
}

#[test]
fn verify_predict_and_bench_from_the_outside() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), 120);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (bundle, photos, page) = (path("bundle"), path("photos"), path("parity.html"));

    let data = ["--data", &photos, "--kind", "image-folder"];
    let verified = program(
        &[&["verify", &bundle, "--engine", "tract", "--margin", "4", "--json", "--html", &page], &data[..]].concat(),
    );
    let certificate = json(&verified);
    assert_eq!((verified.status.code(), certificate["verdict"]["kind"].as_str()), (Some(0), Some("equivalent")));
    assert_eq!(certificate["data"]["paired"], 120);
    assert!(std::fs::read_to_string(&page).unwrap().contains("<h2>Parity</h2>"));

    let undecided = program(&[&["verify", &bundle, "--engine", "tract"], &data[..]].concat());
    assert_eq!(undecided.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&undecided.stdout).contains("inconclusive: about"));
    assert_eq!(program(&["verify", &bundle, "--engine", "tract"]).status.code(), Some(3));

    let image = format!("{photos}/test/0");
    let image = std::fs::read_dir(image).unwrap().next().unwrap().unwrap().path();
    let predicted = program(&["predict", &bundle, &image.display().to_string(), "--top", "2", "--json"]);
    let answers = json(&predicted);
    assert_eq!(
        (answers[0]["guesses"][0]["label"].as_str(), answers[0]["guesses"][1]["class"].is_u64()),
        (Some("rose"), true)
    );

    let measured = program(&["bench", &bundle, "--engine", "tract", "--seconds", "0.01", "--batch", "3", "--json"]);
    let row = &json(&measured)[0];
    assert!(row["calls"].as_u64() >= Some(50) && row["latency_ms"]["p50"].as_f64() > Some(0.0) && row["batch"] == 3);
    assert!(String::from_utf8_lossy(&program(&["bench", &bundle, "--seconds", "0.01"]).stdout).contains("tract"));
}

#[test]
fn errors_exit_with_2_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), 10);
    let bundle = folder.path().join("bundle").display().to_string();
    let absent = folder.path().join("absent").display().to_string();
    let cases: [(&[&str], &str); 6] = [
        (&["predict", &absent, "x.png"], "manifest.json"),
        (&["predict", &bundle, &absent], "absent"),
        (&["predict", &bundle, "x.png", "--engine", "onnx"], "known: tract, ort"),
        (&["verify", &bundle, "--margin", "-1"], "margin"),
        (&["verify", &bundle, "--engine", "ort", "--ort-library", &absent], &absent),
        (&["verify", &bundle, "--data", &absent, "--kind", "idx", "--engine", "tract"], "absent"),
    ];
    for (arguments, why) in cases {
        let output = program(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{said}");
        assert!(output.status.code() == Some(2) && said.contains(why), "{arguments:?}: {:?} {said}", output.status);
        assert!(output.stdout.is_empty() && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_model_that_is_garbage_is_an_error_of_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(&perfect(4));
    files.insert("model.onnx".to_owned(), b"\x08\x09 garbage".to_vec());
    write(folder.path(), &files);
    let output = program(&["verify", &folder.path().display().to_string(), "--engine", "tract"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("model.onnx"));
}

#[test]
fn doctor_lists_every_runtime() {
    let listed = json(&program(&["doctor", "--json"]));
    let engines: Vec<&str> = listed.as_array().unwrap().iter().filter_map(|row| row["engine"].as_str()).collect();
    assert_eq!(engines, ["tract", "ort"]);
    if require_ort("infer doctor").is_some() {
        assert!(listed[1]["version"].as_str().is_some_and(|version| version.starts_with("1.")));
    }
}
