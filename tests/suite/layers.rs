//! Inside of a room arrows go down only, too: a module may use those below it, and none of them uses it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folders whose modules stand in layers, from the lowest up. A folder of modules is one module here.
const LAYERS: [(&str, &[&str]); 3] = [
    ("exec/src", &["error", "ops", "device", "precision", "profile", "context", "params", "network", "optim", "check"]),
    (
        "distill/src",
        &[
            "error",
            "schema",
            "arrays",
            "files",
            "batch",
            "knots",
            "losses",
            "recipe",
            "labels",
            "teacher",
            "checkpoint",
            "plan",
            "run",
            "labelling",
            "trainer",
        ],
    ),
    (
        "src",
        &[
            "allocator",
            "program",
            "table",
            "progress",
            "engines",
            "source",
            "report",
            "inspect",
            "verify",
            "onnx_teacher",
            "export",
            "add",
            "end_to_end",
            "compile",
            "quantise",
            "train",
            "compare",
            "demo",
            "verbs",
        ],
    ),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false if path.extension().is_some_and(|kind| kind == "rs") => all.push(path),
            false => {}
        }
    }
    all.sort();
    all
}

/// What is not tests, without comments.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules that code names by `crate::`.
fn used(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut all = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => all.push(word(rest)),
            Some(list) => {
                let (mut depth, mut start) = (0, true);
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            all.push(word(&list[i..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    all
}

#[test]
fn modules_use_what_stands_below_them_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for (room, layers) in LAYERS {
        let rank: BTreeMap<&str, usize> = layers.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let folder = root.join(room);
        let is_there = |name: &str| folder.join(name).is_dir() || folder.join(format!("{name}.rs")).is_file();
        wrong.extend(layers.iter().filter(|name| !is_there(name)).map(|name| format!("{room} has no module `{name}`")));
        for file in files(&folder) {
            let relative = file.strip_prefix(&folder).expect("a file of the folder").to_string_lossy().into_owned();
            let module = relative.split(['/', '.']).next().unwrap_or_default();
            if ["lib", "main"].contains(&module) || relative.contains("tests") || relative.ends_with("learning.rs") {
                continue;
            }
            let Some(own) = rank.get(module) else {
                wrong.push(format!("{room}/{relative}: `{module}` has no layer in tests/suite/layers.rs"));
                continue;
            };
            let text = std::fs::read_to_string(&file).expect("a source can be read");
            let up = used(&code(&text)).into_iter().filter(|name| rank.get(name.as_str()).is_some_and(|at| at > own));
            wrong.extend(up.map(|name| format!("{room}/{relative} uses `{name}`, which stands above `{module}`")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_finds_them() {
    let text = "use crate::{error::Error, ops::{self, Tail}};\nuse crate::params::Params; // crate::check\n";
    assert_eq!(used(&code(text)), ["error", "ops", "params"]);
    assert_eq!(
        used(&code("fn f() -> crate::Result<()> {}\n#[cfg(test)]\nmod tests { use crate::check; }")),
        ["Result"]
    );
}
