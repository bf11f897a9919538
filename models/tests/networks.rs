//! The zoo against what PyTorch wrote down (`tests/fixtures/make/networks.py`): every parameter, stage and shape.
//! Values are compared where networks run.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;

use attar_formats::read;
use attar_models::Graph;
use attar_models::zoo::{NetworkSpec, build, catalog};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    file: String,
    mode: String,
    batch: usize,
    #[serde(rename = "seed")]
    _seed: u64,
    spec: NetworkSpec,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/networks")
}

fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let text = std::fs::read_to_string(folder().join("manifest.json"))?;
    Ok(serde_json::from_str::<Manifest>(&text)?.cases)
}

#[test]
fn every_network_of_the_zoo_has_a_fixture() {
    let cases = cases().unwrap();
    for entry in catalog() {
        assert!(cases.iter().any(|case| case.spec.name == entry.name), "{}", entry.name);
    }
}

#[test]
fn fixtures_have_the_names_and_shapes_of_the_graphs() {
    for case in cases().unwrap() {
        let graph = build(&case.spec).unwrap();
        let arrays = read::safetensors(&folder().join(&case.file)).unwrap().weights;
        let shape = |name: &str| arrays.get(name).unwrap_or_else(|| panic!("{}: no {name}", case.file)).shape.clone();
        assert_eq!(shape("logits"), [case.batch, case.spec.classes], "{}", case.file);
        for (stage, id) in graph.stages() {
            let count = case.batch * graph.node(*id).shape.iter().product::<usize>();
            assert_eq!(shape(&format!("tap.{stage}.sample")), [count.div_ceil((count / 64) | 1)], "{}", case.file);
        }
        if case.mode == "train" {
            check_gradients(&graph, arrays.0.keys().map(String::as_str), &case.file);
        }
    }
}

/// PyTorch trained exactly the parameters that the graph says are trained, and no others.
fn check_gradients<'a>(graph: &Graph, names: impl Iterator<Item = &'a str>, file: &str) {
    let fixture: BTreeSet<String> = names
        .filter_map(|name| name.strip_prefix("grad."))
        .filter(|name| *name != "input")
        .map(str::to_owned)
        .collect();
    let trained: BTreeSet<String> =
        graph.params().filter(|param| param.role.is_trained()).map(|param| param.name).collect();
    assert_eq!(fixture, trained, "{file}");
}
