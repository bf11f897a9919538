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
    let images = data(&reference.labels, names());
    for split in ["train", "test"] {
        for i in 0..n {
            let class = root.join("photos").join(split).join(&names()[reference.labels[i] as usize]);
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

    let photos_there = format!("image-folder:{photos}");
    let data = ["--data", &photos_there];
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

    let image = format!("{photos}/test/rose");
    let image = std::fs::read_dir(image).unwrap().next().unwrap().unwrap().path();
    let predicted = program(&["predict", &bundle, &image.display().to_string(), "--top", "2", "--json"]);
    let answers = json(&predicted);
    assert_eq!(
        (answers["answers"][0]["guesses"][0]["label"].as_str(), answers["version"].as_u64()),
        (Some("rose"), Some(1))
    );

    let measured = program(&["bench", &bundle, "--engine", "tract", "--seconds", "0.01", "--batch", "3", "--json"]);
    let row = &json(&measured)["runtimes"][0];
    assert!(row["calls"].as_u64() >= Some(50) && row["latency_ms"]["p50"].as_f64() > Some(0.0) && row["batch"] == 3);
    assert_eq!(row["threads"], 1);
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
        (&["verify", &bundle, "--data", &format!("idx:{absent}"), "--engine", "tract"], "absent"),
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
fn one_bad_image_takes_no_other_along() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), 40);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let photos = folder.path().join("photos/test/rose");
    let mut all: Vec<_> = std::fs::read_dir(&photos).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(all.len() >= 3);
    std::fs::OpenOptions::new().write(true).open(&all[1]).unwrap().set_len(60).unwrap();
    let (bad, good) = (all[1].file_name().unwrap().to_string_lossy().into_owned(), all.len() - 1);
    // As files, and as the folder that holds them.
    let files: Vec<String> = all.iter().map(|file| file.display().to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    for images in [files, vec![photos.to_str().unwrap()]] {
        let text = program(&[&["predict", &path("bundle"), "--top", "1"], &images[..]].concat());
        assert_eq!(text.status.code(), Some(2));
        assert_eq!(String::from_utf8_lossy(&text.stdout).matches(" % ").count(), good);
        assert!(String::from_utf8_lossy(&text.stderr).contains(&bad));
        let output = program(&[&["predict", &path("bundle"), "--json"], &images[..]].concat());
        let answers = json(&output)["answers"].as_array().unwrap().clone();
        assert_eq!((output.status.code(), answers.len()), (Some(2), all.len()));
        assert!(answers[1]["error"].as_str().unwrap().contains(&bad) && answers[2]["guesses"].is_array());
    }
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let output = program(&["predict", &path("bundle"), empty.to_str().unwrap()]);
    assert!(
        output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("no PNG, JPEG or WebP")
    );
    if cfg!(target_os = "linux") {
        let output = program(&["predict", &path("bundle"), "/dev/zero", all[0].to_str().unwrap(), "--top", "1"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("/dev/zero: a device"));
        assert_eq!(String::from_utf8_lossy(&output.stdout).matches(" % ").count(), 1);
    }
    let data = format!("image-folder:{}", path("photos"));
    let verify = ["verify", &path("bundle"), "--engine", "tract", "--margin", "20", "--data", &data];
    let output = program(&verify);
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("1 of 40 images"));
    let junit = path("parity.xml");
    let output = program(&[&verify[..], &["--leave-out-bad", "--json", "--junit", &junit]].concat());
    let certificate = json(&output);
    assert_eq!((output.status.code(), &certificate["version"]), (Some(0), &1.into()));
    assert!(certificate["data"]["left_out"][0]["name"].as_str().unwrap().contains(&bad), "{certificate}");
    assert!(std::fs::read_to_string(&junit).unwrap().contains("failures=\"0\""));
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
    let engines: Vec<&str> =
        listed["engines"].as_array().unwrap().iter().filter_map(|row| row["engine"].as_str()).collect();
    assert_eq!(engines, ["tract", "ort", "attar"]);
    if require_ort("infer doctor").is_some() {
        assert!(listed["engines"][1]["version"].as_str().is_some_and(|version| version.starts_with("1.")));
    }
}
