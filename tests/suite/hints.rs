//! No hint leads to a dead end: what the errors hint at is done, each way in a folder of its own, and must succeed.
//!
//! A hint is read as it is written. Commands in backticks are run as they stand. In the rest, the ways are told apart by `;` and
//! `, or `; a way adds what it names `with --flag`, takes away what it names `without --flag`, and the words of [`WORDS`] stand
//! for what a person would do. A hint of which nothing is understood fails, too. To add an error, add a row to [`CASES`].

use std::path::Path;

use crate::support::program::attar;
use crate::support::scene::{copy, scene};

/// An error and how it comes about.
struct Case {
    /// Commands before it, all of which succeed unless they begin with `!`.
    before: &'static [&'static str],
    /// What fails.
    fails: &'static str,
    /// Part of what it says.
    says: &'static str,
}

/// What words in a hint mean; the arguments are added.
const WORDS: [(&str, &str); 2] =
    [("lower train.learning_rate", "--set train.learning_rate=0.05"), ("--out", "--out runs/other")];

/// A rate as wild as that of the tests needs more than half of it.
const ROLLBACK: (&str, &str) =
    ("train.on_divergence=rollback", "train.on_divergence={kind=\"rollback\",factor=1e-31,most=1}");

const WILD: &str = "--set train.learning_rate=1e30 --set train.clip=1e30";

const CASES: &[Case] = &[
    Case { before: &["train a.toml"], fails: "train a.toml", says: "checkpoint of a run finished" },
    Case { before: &[], fails: "train a.toml --resume", says: "holds no run to resume" },
    Case { before: &[], fails: "train a.toml $WILD", says: "there is no checkpoint yet" },
    Case { before: &["!train a.toml $WILD"], fails: "train a.toml --resume", says: "has made no checkpoint" },
    Case { before: &["!train a.toml $WILD"], fails: "export runs/a", says: "no checkpoint that could be exported" },
    Case {
        before: &["train a.toml"],
        fails: "train a.toml --resume --set train.batch=20",
        says: "train.batch: 24 -> 20",
    },
    Case { before: &["train a.toml"], fails: "train a.toml --resume --set train.epochs=1", says: "fewer not" },
    Case {
        before: &["train a.toml", "train a.toml --resume --set train.epochs=3"],
        fails: "train a.toml --resume",
        says: "extended from 2 to 3 epochs",
    },
    Case { before: &["train a.toml", "-runs/a/card.json"], fails: "export runs/a", says: "the run is not finished" },
    Case { before: &["train a.toml"], fails: "export runs/a --unfinished", says: "the run is finished" },
    Case { before: &["export runs/a"], fails: "export runs/a", says: "bundles/a exists already" },
    Case {
        before: &["export runs/a"],
        fails: "quantise runs/a --out bundles/a --data idx:data --engine tract --images 16 --undecided --max-drop 99",
        says: "bundles/a is a bundle already",
    },
    Case {
        before: &["export runs/a"],
        fails: "quantise bundles/a --data idx:data --engine tract --images 16 --undecided --max-drop 99 --scales=exact --re-estimate-norms",
        says: "exact ones stay powers of two",
    },
    Case { before: &["+runs/a/notes.txt"], fails: "train a.toml", says: "no run has written: notes.txt" },
    Case {
        before: &["train a.toml", "+data/train-images-idx3-ubyte"],
        fails: "train a.toml --resume",
        says: "the training images",
    },
];

fn args(command: &str) -> Vec<String> {
    command.replace("$WILD", WILD).split_whitespace().map(str::to_owned).collect()
}

fn run(folder: &Path, args: &[String]) -> crate::support::program::Said {
    attar(folder, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A folder with data and a recipe, brought to the point before the error.
fn prepare(case: &Case) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&scene().root().join("data"), &folder.path().join("data"));
    let text = std::fs::read_to_string(scene().root().join("alone.toml")).unwrap();
    let text = text.replace("name = \"alone\"", "name = \"a\"").replace("[data]\n", "[data]\ntest_subset = 50\n");
    std::fs::write(folder.path().join("a.toml"), text).unwrap();
    if case.before.first().is_some_and(|first| first.starts_with("export")) {
        run(folder.path(), &args("train a.toml")).ok();
    }
    for step in case.before {
        let path = folder.path().join(&step[1..]);
        match step.as_bytes()[0] {
            b'!' => drop(run(folder.path(), &args(&step[1..])).exits(2)),
            b'-' => std::fs::remove_file(path).unwrap(),
            b'+' => spoil(&path),
            _ => drop(run(folder.path(), &args(step)).ok()),
        }
    }
    folder
}

/// Writes a file, or changes a byte of the one that is there.
fn spoil(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut bytes = std::fs::read(path).unwrap_or_else(|_| vec![0; 101]);
    bytes[100] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The commands that a hint gives to who gave `failed`.
fn ways(hint: &str, failed: &[String]) -> Vec<Vec<String>> {
    let mut ways: Vec<Vec<String>> = Vec::new();
    let mut rest = String::new();
    for (at, part) in hint.split('`').enumerate() {
        match part.strip_prefix("attar ").filter(|_| at % 2 == 1) {
            Some(command) => ways.push(args(command)),
            None => rest.push_str(part),
        }
    }
    if !ways.is_empty() {
        return ways;
    }
    for way in rest.replace("; ", ", or ").split(", or ") {
        let mut command = failed.to_vec();
        for word in way.replace("leave --resume out", "without --resume").split("without ").skip(1) {
            let flag = word.split([' ', ',']).next().unwrap_or_default();
            command.retain(|arg| arg != flag);
        }
        for word in way.split("with --").skip(1).filter(|word| !word.starts_with("out")) {
            let given = format!("--{word}");
            let given = given.split_whitespace().take_while(|arg| arg.starts_with("--") || arg.contains('='));
            for arg in given.map(|arg| arg.trim_end_matches([',', '.'])) {
                if arg == "--set" || !command.iter().any(|known| known == arg) {
                    command.push(arg.replace(ROLLBACK.0, ROLLBACK.1));
                }
            }
        }
        for (words, added) in WORDS.iter().filter(|(words, _)| way.contains(words)) {
            if !(*words == "--out" && command.iter().any(|arg| arg == words)) {
                command.extend(args(added));
            }
        }
        if command != failed {
            ways.push(command);
        } else if way.contains("begin it anew") {
            ways.push(args("train a.toml"));
        }
    }
    ways
}

#[test]
fn what_the_errors_hint_at_works() {
    let mut dead_ends = Vec::new();
    for case in CASES {
        let failed = args(case.fails);
        let said = run(prepare(case).path(), &failed).exits(2);
        assert!(said.err.contains(case.says), "attar {} should say `{}`:\n{}", case.fails, case.says, said.err);
        let error = said.err.rsplit("error: ").next().unwrap_or_default().to_owned();
        let Some((_, hint)) = error.split_once("hint: ") else { panic!("no hint:\n{error}") };
        let ways = ways(hint.trim(), &failed);
        assert!(!ways.is_empty(), "nothing to do is understood of the hint `{hint}`");
        for way in ways {
            let said = run(prepare(case).path(), &way);
            if said.code != Some(0) {
                dead_ends.push(format!("`{}` hints at `attar {}`:\n{}", case.says, way.join(" "), said.err));
            }
        }
    }
    assert!(dead_ends.is_empty(), "{}", dead_ends.join("\n\n"));
}

#[test]
fn hints_are_read_as_people_read_them() {
    let failed = args("train a.toml --resume");
    let read = |hint: &str| ways(hint, &failed).iter().map(|way| way.join(" ")).collect::<Vec<_>>();
    assert_eq!(read("see `attar models` and `attar losses`"), ["models", "losses"]);
    assert_eq!(read("go on with --resume --set train.epochs=4"), ["train a.toml --resume --set train.epochs=4"]);
    assert_eq!(
        read("start it without --resume, or choose another name with --out"),
        ["train a.toml", "train a.toml --resume --out runs/other"]
    );
    assert_eq!(read("leave --resume out and choose another name with --out"), ["train a.toml --out runs/other"]);
    assert!(read("think again").is_empty());
}
