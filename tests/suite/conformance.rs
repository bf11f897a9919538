//! `attar conformance`: the committed table is what the engines at hand answer, and says why what is wrong is wrong.

use std::path::Path;

use attar_formats::npy;
use attar_infer::conformance::{Conformance, Distance, Row, Verdict, cases, conformance, page};
use attar_infer::engine::{EngineKind, EngineSpec};

use crate::support::program::attar;
use crate::support::require_ort;

fn committed() -> Conformance {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn version(of: &Conformance, engine: EngineKind) -> Option<&str> {
    of.engines.iter().find(|asked| asked.engine == engine).map(|asked| asked.version.as_str())
}

/// What a row says of an engine.
#[derive(Debug, PartialEq)]
struct Said<'a> {
    verdict: Verdict,
    /// Of what is wrong only: how far floats are from what is right is a matter of rounding, which is the CPU's.
    distance: Option<Distance>,
    said: Option<&'a str>,
    known: Option<&'a str>,
}

fn said(row: &Row, engine: EngineKind) -> Option<Said<'_>> {
    let answer = row.answers.iter().find(|answer| answer.engine == engine)?;
    Some(Said {
        verdict: answer.verdict,
        distance: answer.distance.filter(|_| answer.verdict.is_bad()),
        said: answer.said.as_deref(),
        known: answer.known.as_deref(),
    })
}

const AGAIN: &str =
    "`attar conformance --json > docs/conformance.json`, then `--markdown docs/conformance.md`, writes the table";

/// A runtime of another version may answer otherwise: its version is pinned, and a new one changes the table.
#[test]
fn the_table_is_what_engines_answer() {
    let all = cases().unwrap();
    let ort = EngineKind::Ort.compiled() && require_ort("conformance of ONNX Runtime");
    let kinds = [EngineKind::Attar, EngineKind::Tract, EngineKind::Ort].into_iter();
    let kinds = kinds.filter(|kind| kind.compiled() && (ort || *kind != EngineKind::Ort));
    let found = conformance(&all, &kinds.map(EngineSpec::new).collect::<Vec<_>>(), &mut |_, _| {}).unwrap();
    let table = committed();
    assert_eq!(found.faults, table.faults, "{AGAIN}");
    assert_eq!(found.cases.len(), table.cases.len(), "{AGAIN}");
    let mut wrong = Vec::new();
    for asked in &found.engines {
        let (engine, stated) = (asked.engine, version(&table, asked.engine).unwrap());
        match engine {
            // The table is of one version and one CPU, by whose instructions kernels are chosen.
            EngineKind::Ort if stated != asked.version || found.cpu != table.cpu => {
                eprintln!(
                    "conformance: {} {} on this CPU is not in the table, and not compared",
                    engine, asked.version
                );
                continue;
            }
            EngineKind::Ort | EngineKind::Tract => assert_eq!(stated, asked.version, "{AGAIN}"),
            // The same answers at every level.
            EngineKind::Attar => {}
        }
        for (found, stated) in found.cases.iter().zip(&table.cases) {
            let facts = |row: &Row| (row.name.clone(), row.about.clone(), row.sha256.clone(), row.judge);
            assert_eq!(facts(found), facts(stated), "{AGAIN}");
            let [now, then] = [found, stated].map(|row| said(row, engine));
            if now != then {
                wrong.push(format!("{} in {engine}: {now:?}, in the table {then:?}", found.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{AGAIN}", wrong.join("\n"));
}

#[test]
fn the_page_is_made_of_the_table_and_explains_what_is_wrong() {
    let table = committed();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    assert_eq!(std::fs::read_to_string(path).unwrap(), page(&table), "{AGAIN}");
    let unexplained: Vec<&str> = table.unexplained().iter().map(|(row, _)| row.name.as_str()).collect();
    assert!(unexplained.is_empty(), "wrong, and nothing says why: {unexplained:?}");
    for bad in [Verdict::Wrong, Verdict::Crashed] {
        assert_eq!(table.count(EngineKind::Attar, bad), 0, "our own engine has no excuse");
    }
    // Of other engines what is explained is wrong: an explanation that is needed no more is taken out.
    for (row, answer) in table.cases.iter().flat_map(|row| row.answers.iter().map(move |answer| (row, answer))) {
        let idle = answer.known.is_some() && matches!(answer.verdict, Verdict::Right | Verdict::Refused);
        assert!(!idle, "{} in {}: {:?} needs no excuse", row.name, answer.engine, answer.verdict);
    }
}

#[test]
fn the_verb_says_keeps_and_exits() {
    let folder = tempfile::tempdir().unwrap();
    let at = |args: &[&str]| attar(folder.path(), &[&["conformance", "--engine", "attar"], args].concat());
    let said = at(&["--only", "conv-asym", "--keep", "corpus", "--markdown", "table.md"]).exits(0).out;
    assert!(said.contains("2 of 2 right"), "{said}");
    let table = std::fs::read_to_string(folder.path().join("table.md")).unwrap();
    assert!(table.contains("| `conv-asymmetric-pads` |"), "{table}");
    let read = |name: &str| {
        let bytes = std::fs::read(folder.path().join("corpus").join(name)).unwrap();
        npy::read(&mut &bytes[..]).unwrap()
    };
    assert_eq!(read("conv-asymmetric-pads.input.npy").shape, [2, 4, 9, 8]);
    assert_eq!(read("conv-asymmetric-pads.expected.npy").shape[0], 2);
    assert!(folder.path().join("corpus/conv-asymmetric-pads.onnx").is_file());
    assert!(folder.path().join("corpus/cases.json").is_file());
    at(&["--only", "nothing-of-that-name"]).fails(&["none of", "hint"]);
    attar(folder.path(), &["conformance", "--engine", "nothing"]).exits(2);
}
