//! A short fuzzing of every loader: seeds that load, and mutations of them, in a process of its own whose memory is watched.

mod list;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use attar_measures::random::Stream;

use list::{LOADERS, Loader, loader};

/// Mutations of each seed.
const MUTATIONS: usize = 60;
/// What the process may hold at most: the largest image that is decoded takes 300 MB, what its decoder holds beside it as much.
const MOST_BYTES: u64 = 1 << 30;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Small files that a loader takes, for its mutations to begin from.
fn seeds(loader: &str) -> Vec<Vec<u8>> {
    let teacher = root().join("demo/teacher");
    let read = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let fixtures = |folder: &str, ends: &[&str]| -> Vec<Vec<u8>> {
        let folder = root().join("tests/fixtures").join(folder);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| ends.iter().any(|end| file.to_string_lossy().ends_with(end)));
        files.sort();
        files.into_iter().map(read).filter(|bytes| bytes.len() < 100_000).collect()
    };
    match loader {
        "pth" => fixtures("pth", &[".pth", ".pt"]),
        "safetensors" => fixtures("ops", &[".safetensors"]),
        "predictions" => vec![read(teacher.join("reference/predictions.safetensors"))],
        "attacks" => vec![attacks()],
        "idx" => vec![[&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2][..], &[7; 8]].concat()],
        "cifar" => vec![python_batch()],
        "image" => fixtures("pixels", &[".png", ".jpg", ".webp"]),
        "card" => vec![read(teacher.join("config.json"))],
        "preprocessor" => vec![
            read(teacher.join("preprocessor_config.json")),
            br#"{"pretrained_cfg": {"input_size": [1, 8, 8], "interpolation": "bicubic", "crop_pct": 0.9, "mean": [0], "std": [1]}}"#.to_vec(),
            br#"{"image_processor_type": "ViTImageProcessor", "do_resize": true, "size": 8, "resample": 2, "do_normalize": true, "image_mean": [0.5], "image_std": [0.5]}"#.to_vec(),
        ],
        "labels" => vec![br#"{0: 'tench', 1: "jack-o'-lantern", 2: 'caf\xe9'}"#.to_vec()],
        "graph" => {
            let spec = attar_models::zoo::NetworkSpec::new("resnet8", 3, [1, 8, 8]);
            vec![attar_models::zoo::build(&spec).unwrap().to_json().unwrap().into_bytes()]
        }
        "manifest" => vec![read(teacher.join("manifest.json"))],
        "certificate" => vec![certificate()],
        "onnx" => fixtures("onnx", &[".onnx"]),
        "recipe" => vec![read(root().join("demo/distilled.toml")), read(root().join("demo/kd.toml"))],
        other => panic!("no seeds for {other}"),
    }
}

/// Two images of four bytes under two attacks.
fn attacks() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attacks.safetensors");
    let attacks = attar_formats::reference::Attacks {
        weights_sha256: "ab".repeat(32),
        classes: 2,
        shape: [2, 2, 1],
        labels: vec![1, 0],
        pixels: ["fgsm", "pgd"].map(|name| (name.to_owned(), vec![7; 8])).into(),
    };
    attacks.write(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// A certificate over a runtime that compared numbers.
fn certificate() -> Vec<u8> {
    let value = serde_json::json!({
        "certificate_version": 1, "program": "attar", "bundle": {"network": "resnet8", "classes": 3},
        "margin_points": 0.5, "confidence": 0.95, "runtimes": [{
            "engine": "tract", "version": "1", "file": "model.onnx", "file_sha256": "ab".repeat(32), "precision": "f32",
            "seconds": 0.5, "verdict": {"kind": "numbers-only"},
        }], "verdict": {"kind": "numbers-only"},
    });
    value.to_string().into_bytes()
}

/// A batch of one image of four bytes, pickled as CIFAR's for Python are.
fn python_batch() -> Vec<u8> {
    [
        &b"\x80\x02}(U\x06labels](K\x07eU\x04data"[..],
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01K\x04\x86",
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
        b"T\x04\x00\x00\x00\x01\x02\x03\x04tbu.",
    ]
    .concat()
}

/// A few changes: bytes, lengths that promise too much, what is cut or doubled.
fn mutated(seed: &[u8], draw: &mut Stream) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=draw.below(3) {
        let at = draw.below(bytes.len() as u64) as usize;
        match draw.below(6) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << draw.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][draw.below(5) as usize],
            3 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
            4 => {
                let end = (at + 16).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => drop(bytes.drain(at..(at + 4).min(bytes.len()))),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn mutations_are_loaded_or_refused() {
    for loader in &LOADERS {
        let (mut taken, mut refused) = (0, 0);
        for (number, seed) in seeds(loader.name).iter().enumerate() {
            let mut draw = Stream::named(number as u64, loader.name);
            for _ in 0..MUTATIONS {
                match (loader.load)(&mutated(seed, &mut draw)) {
                    true => taken += 1,
                    false => refused += 1,
                }
            }
        }
        println!("{}: {taken} taken, {refused} refused", loader.name);
        assert!(refused > MUTATIONS / 10, "{}: hardly anything was refused", loader.name);
    }
}

#[test]
fn no_loader_panics_or_takes_much_memory() {
    let name = "loaders::mutations_are_loaded_or_refused";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    let log = tempfile::NamedTempFile::new().unwrap();
    command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap()).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut peak = None;
    let status = loop {
        peak = peak.max(attar_infer::bench::memory::peak_of(child.id()));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let said = std::fs::read_to_string(log.path()).unwrap();
    assert!(status.success() && said.contains("1 passed"), "{said}");
    println!("{said}at most {peak:?} bytes");
    assert!(peak.is_none_or(|peak| peak < MOST_BYTES), "{peak:?} bytes");
}

/// Files that load do: else their mutations would test nothing.
#[test]
fn seeds_load() {
    for loader in &LOADERS {
        let seeds = seeds(loader.name);
        let loaded = seeds.iter().filter(|seed| (loader.load)(seed)).count();
        // A manifest alone is no bundle: the files that it lists are missing.
        assert!(loaded > 0 || loader.name == "manifest", "{}: none of {} seeds loads", loader.name, seeds.len());
    }
}

#[test]
fn every_loader_has_its_fuzz_target() {
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for Loader { name, .. } in &LOADERS {
        let target = std::fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("loader(\"{name}\")")) && manifest.contains(&format!("name = \"{name}\"")));
        assert_eq!(loader(name).name, *name);
    }
}
