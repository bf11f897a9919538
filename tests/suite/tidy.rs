//! The rules of the house as tests: who may depend on whom, where `unsafe` lives, what a file looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each room may depend on among the others, and which heavy dependency is its own.
const ROOMS: [(&str, &[&str], &[&str]); 14] = [
    ("models", &[], &[]),
    ("kernels", &[], &["pulp"]),
    ("edge", &[], &[]),
    ("pixels", &[], &["image"]),
    ("measures", &[], &[]),
    ("formats", &["models", "pixels", "measures"], &["safetensors"]),
    ("onnx", &["models", "formats", "pixels"], &["prost"]),
    ("compile", &["models", "edge"], &[]),
    ("exec", &["models", "kernels", "measures"], &["candle-core"]),
    ("compress", &["models", "exec", "measures"], &["candle-core"]),
    ("data", &["models", "formats", "pixels", "measures"], &[]),
    ("distill", &["models", "pixels", "measures", "formats", "onnx", "exec", "compress", "data"], &["candle-core"]),
    ("export", &["models", "formats", "pixels", "onnx"], &[]),
    ("infer", &["models", "formats", "pixels", "measures", "onnx", "edge", "compile", "data"], &["tract-onnx", "ort"]),
];

/// What a room's tests may use beside what it depends on: who makes files for them to read.
const FOR_TESTS: [(&str, &str); 1] = [("models", "formats")];

/// Rooms whose comments are wrapped at [`COMMENT_WIDTH`]; the others follow as their files are rewritten.
const WRAPPED: [&str; 2] = ["measures/", "pixels/"];

/// Columns of a comment, where it is not a row of a table.
const COMMENT_WIDTH: usize = 100;

const HEAVY: [&str; 7] = ["safetensors", "image", "pulp", "candle-core", "prost", "tract-onnx", "ort"];

/// Longest source file; near it, ask what the second subject is.
const MOST_LINES: usize = 450;

/// All fixtures together, in bytes.
const MOST_FIXTURE_BYTES: u64 = 8 << 20;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tracked_files() -> Vec<PathBuf> {
    let listing = Command::new("git").arg("ls-files").current_dir(root()).output().expect("git runs");
    assert!(listing.status.success(), "git ls-files failed");
    let text = String::from_utf8(listing.stdout).expect("names are UTF-8");
    text.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let rust = |file: &PathBuf| file.extension().is_some_and(|e| e == "rs");
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(root().join(&file)).expect("a tracked file can be read");
        (file, text)
    };
    tracked_files().into_iter().filter(rust).map(read).collect()
}

/// One table of a manifest, `dependencies` or `dev-dependencies`.
fn dependencies(manifest: &Path, table: &str) -> BTreeMap<String, toml::Value> {
    let text = std::fs::read_to_string(root().join(manifest)).expect("a manifest can be read");
    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
    let table = manifest.get(table).and_then(toml::Value::as_table).cloned().unwrap_or_default();
    table.into_iter().collect()
}

#[test]
fn rooms_depend_on_their_neighbours_only() {
    for (room, neighbours, heavy) in ROOMS {
        for name in dependencies(&Path::new(room).join("Cargo.toml"), "dependencies").keys() {
            if let Some(other) = name.strip_prefix("attar-") {
                assert!(neighbours.contains(&other), "{room} may not depend on {other}");
            }
            assert!(!HEAVY.contains(&name.as_str()) || heavy.contains(&name.as_str()), "{name} is not {room}'s");
        }
    }
}

#[test]
fn tests_of_a_room_use_its_neighbours_only() {
    for (room, neighbours, _) in ROOMS {
        for name in dependencies(&Path::new(room).join("Cargo.toml"), "dev-dependencies").keys() {
            let Some(other) = name.strip_prefix("attar-") else { continue };
            let allowed = neighbours.contains(&other) || FOR_TESTS.contains(&(room, other));
            assert!(allowed, "the tests of {room} may not use {other}");
        }
    }
}

#[test]
fn comments_of_wrapped_rooms_are_narrow() {
    for (file, text) in sources() {
        if !WRAPPED.iter().any(|room| file.starts_with(room)) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let comment = line.trim_start();
            let table = comment.trim_start_matches(['/', '!']).trim_start().starts_with('|');
            let wide = comment.starts_with("//") && !table && line.chars().count() > COMMENT_WIDTH;
            assert!(!wide, "{}:{}: a comment of more than {COMMENT_WIDTH} columns", file.display(), at + 1);
        }
    }
}

#[test]
fn every_version_is_pinned_in_the_root_manifest() {
    let folders = ROOMS.iter().map(|room| room.0).chain(["xtask", ""]);
    for manifest in folders.map(|folder| Path::new(folder).join("Cargo.toml")) {
        let tables = ["dependencies", "dev-dependencies"].map(|table| dependencies(&manifest, table));
        for (name, value) in tables.into_iter().flatten() {
            let inherited = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            assert!(inherited, "{}: {name} must be `workspace = true`", manifest.display());
        }
    }
}

#[test]
fn a_file_says_its_subject_and_stays_short() {
    for (file, text) in sources() {
        let name = file.display();
        assert!(text.starts_with("//!"), "{name} does not start with a `//!` line that says its subject");
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{name} has {lines} lines: what is its second subject?");
    }
}

#[test]
fn unsafe_stays_in_its_rooms_and_says_why_it_is_sound() {
    let allowed = [
        "src/allocator.rs",
        "kernels/src/",
        "edge/src/",
        "edge/examples/gate/",
        "compile/tests/allocation.rs",
        "exec/src/ops/",
        "infer/src/engine/",
    ];
    for (file, text) in sources() {
        let name = file.to_string_lossy().into_owned();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !code.contains("unsafe {") && !code.contains("unsafe fn") && !code.contains("unsafe impl") {
                continue;
            }
            if name.starts_with("tests/") {
                continue;
            }
            assert!(allowed.iter().any(|room| name.starts_with(room)), "{name}:{}: unsafe outside its rooms", at + 1);
            let said = lines[at.saturating_sub(8)..=at].iter().any(|l| l.contains("SAFETY:") || l.contains("# Safety"));
            assert!(said, "{name}:{}: unsafe without a `// SAFETY:` line", at + 1);
        }
    }
}

#[test]
fn nothing_is_left_unfinished_and_no_machine_is_named() {
    // Spelled in pieces so that this file does not find itself.
    let forbidden = [
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
        ["../sha", "red"].concat(),
        ["crates", ".io/"].concat(),
        ["pypi", ".org"].concat(),
    ];
    for file in tracked_files() {
        if file.ends_with("Cargo.lock") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for word in &forbidden {
            assert!(!text.contains(word.as_str()), "{} contains `{word}`", file.display());
        }
    }
}

#[test]
fn maps_are_ordered() {
    // Spelled in pieces so that this file does not find itself.
    let forbidden = ["Map", "Set"].map(|kind| format!("Hash{kind}"));
    for (file, text) in sources() {
        for word in &forbidden {
            assert!(
                !text.contains(word.as_str()),
                "{} uses a {word}, whose order changes from run to run",
                file.display()
            );
        }
    }
}

#[test]
fn no_type_is_named_after_doing_everything() {
    let vague: BTreeSet<&str> = ["Manager", "Helper", "Util", "Utils"].into();
    for (file, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            let Some(name) = words.find(|word| ["struct", "enum", "trait"].contains(word)).and(words.next()) else {
                continue;
            };
            assert!(!vague.iter().any(|word| name.ends_with(word)), "{}:{}: {name}", file.display(), at + 1);
        }
    }
}

/// They panic where nobody reads any more, and would end a training by it.
#[test]
fn the_programs_print_without_panicking() {
    // Spelled in pieces so that this file does not find itself.
    let forbidden = ["eprint", "eprintln", "print", "println"].map(|name| [name, "!("].concat());
    for (file, text) in sources() {
        if !["src/", "infer/src/bin/"].iter().any(|folder| file.starts_with(folder)) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let found = forbidden.iter().find(|name| {
                code.match_indices(name.as_str())
                    .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            });
            assert!(found.is_none(), "{}:{}: say it with `say`, or `print` a result", file.display(), at + 1);
        }
    }
}

#[test]
fn fixtures_stay_small() {
    let fixtures = tracked_files().into_iter().filter(|file| file.starts_with("tests/fixtures"));
    let bytes: u64 = fixtures.map(|file| std::fs::metadata(root().join(file)).map_or(0, |m| m.len())).sum();
    assert!(bytes <= MOST_FIXTURE_BYTES, "fixtures take {bytes} bytes");
}

/// Files move; what documents and comments call them has to move along.
#[test]
fn a_file_that_a_text_names_is_there() {
    let tracked = tracked_files();
    let rooms: BTreeSet<String> = tracked
        .iter()
        .filter_map(|file| file.parent()?.iter().next())
        .map(|room| room.to_string_lossy().into())
        .collect();
    let is_there = |path: &str| tracked.iter().any(|file| file.starts_with(path.trim_end_matches('/')));
    // Names of shipped files only: no pattern (`{a,b}`, `*`), no stand-in in capitals (`docs/methods/NAME.md`).
    let is_plain = |path: &str| {
        let room = path.split('/').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/_.-".contains(c);
        path.contains('/') && rooms.contains(room) && path.chars().all(plain) && !path.contains("..")
    };
    let (mut seen, mut missing) = (0, Vec::new());
    for file in tracked.iter().filter(|file| file.extension().is_some_and(|end| end == "md" || end == "rs")) {
        // What was is told by its names of then.
        if file.ends_with("CHANGELOG.md") {
            continue;
        }
        let text = std::fs::read_to_string(root().join(file)).expect("a tracked file can be read");
        for line in text.lines().filter(|line| file.extension().is_none_or(|end| end == "md") || line.contains("//")) {
            for path in line.split('`').skip(1).step_by(2).filter(|path| is_plain(path)) {
                seen += 1;
                let beside = file.iter().next().is_some_and(|room| is_there(&format!("{}/{path}", room.display())));
                if !is_there(path) && !beside {
                    missing.push(format!("{} names `{path}`", file.display()));
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} names of files were found: this test proves little");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
