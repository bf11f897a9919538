//! Pages of `docs/` that are made of the program are as it would make them now (`cargo xtask docs` writes them), and the schema
//! of the recipe accepts and refuses what the program does.

use std::collections::BTreeMap;
use std::path::Path;

use attar_distill::Recipe;
use attar_distill::losses::described;
use attar_distill::recipe::{recipe_reference, recipe_schema};
use serde_json::{Value, json};
use xtask::pages::{self, Said};

use crate::recipes::shipped;
use crate::support::program::attar;
use crate::support::schema::problem;

/// All that the program has, by name.
pub(crate) fn schemas() -> BTreeMap<String, Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    serde_json::from_value(attar(root, &["reference", "--schemas"]).ok().json()).unwrap()
}

#[test]
fn pages_are_as_the_program_would_make_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let said =
        Said { reference: recipe_reference(), schemas: schemas(), losses: serde_json::to_value(described()).unwrap() };
    let pages = pages::all(root, &said).unwrap();
    assert!(pages.len() > 20, "{} pages", pages.len());
    let stale = pages::stale(root, &pages).unwrap();
    assert!(stale.is_empty(), "out of date, `cargo xtask docs` writes them: {stale:?}");
}

/// The tree of a recipe as a schema sees it.
fn tree(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn every_shipped_recipe_fits_the_schema_as_written_and_as_a_run_writes_it() {
    let schema = recipe_schema();
    for path in shipped() {
        let written = std::fs::read_to_string(&path).unwrap();
        let whole = Recipe::load(&path, &[]).unwrap().to_toml().unwrap();
        for text in [written, whole] {
            assert_eq!(problem(&tree(&text), &schema), None, "{}", path.display());
        }
    }
}

/// Each is one change of a recipe that fits; the program refuses all of them, too.
#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let schema = recipe_schema();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/compare/cd-gkd-edt.toml");
    let right = Recipe::load(&path, &[]).unwrap().to_toml().unwrap();
    let changes: [(&[&str], Value); 14] = [
        (&["trian"], json!({})),
        (&["seed"], json!(-1)),
        (&["device"], json!("gpu")),
        (&["losses"], json!({ "name": "ce" })),
        (&["train", "epochs"], Value::Null),
        (&["train", "epoch"], json!(5)),
        (&["train", "batch"], json!("many")),
        (&["train", "optimiser", "momentun"], json!(0.9)),
        (&["train", "learning_rate"], json!({ "join": "hold" })),
        (&["train", "on_divergence"], json!({ "kind": "stop", "most": 2 })),
        (&["data", "source", "kind"], json!("idxx")),
        (&["data", "validation"], json!({ "folder": "val", "share": 0.1 })),
        (&["losses", "0", "loss", "kind"], json!("kdd")),
        (&["losses", "0", "loss", "temprature"], json!(1.0)),
    ];
    for (path, value) in changes {
        let mut tree = tree(&right);
        assert_eq!(problem(&tree, &schema), None);
        let mut at = &mut tree;
        let (last, before) = path.split_last().unwrap();
        for key in before {
            at = match key.parse::<usize>() {
                Ok(place) => &mut at[place],
                Err(_) => &mut at[*key],
            };
        }
        match value {
            Value::Null => assert!(at.as_object_mut().unwrap().remove(*last).is_some(), "{path:?}"),
            value => at[*last] = value,
        }
        assert!(problem(&tree, &schema).is_some(), "the schema accepts {path:?}");
        let text = toml::to_string(&tree).unwrap();
        assert!(Recipe::parse(&text, &[]).is_err(), "the program accepts {path:?}");
    }
}
