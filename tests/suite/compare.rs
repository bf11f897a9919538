//! `attar compare` by the real program: two recipes, two seeds, one table; done runs stay, broken ones are reported.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::pipeline::names;
use crate::support::program::{Said, attar};
use crate::support::scene::scene;

/// A folder with recipes over the scene's data, of one short epoch.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let (folder, root) = (tempfile::tempdir().unwrap(), scene().root());
        for (name, recipe) in [("ce", "alone"), ("kd", "student")] {
            let text = std::fs::read_to_string(root.join(format!("{recipe}.toml"))).unwrap();
            let at = |path: &str| root.join(path).display().to_string();
            let text = text.replace("\"data\"", &format!("{:?}", at("data")));
            let text = text.replace("\"runs/teacher\"", &format!("{:?}", at("runs/teacher")));
            std::fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compare(&self, more: &[&str]) -> Said {
        let short = ["--set", "train.epochs=1", "--set", "data.test_subset=200", "--allow-idle", "--out", "out"];
        attar(self.folder.path(), &[&["compare"], more, &short[..]].concat())
    }

    fn change(&self, recipe: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(recipe)).unwrap();
        assert!(text.contains(from), "{recipe} has no {from}");
        std::fs::write(self.path(recipe), text.replace(from, to)).unwrap();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn method<'a>(comparison: &'a Value, name: &str) -> &'a Value {
    comparison["methods"].as_array().unwrap().iter().find(|method| method["name"] == name).unwrap()
}

#[test]
fn two_recipes_and_two_seeds_make_one_table() {
    let bench = Bench::new();
    let recipes = ["ce.toml", "kd.toml", "--seeds", "2"];
    let said = bench.compare(&[&recipes[..], &["--json"]].concat()).ok();
    assert!(said.err.contains("[4/4] kd, seed 1"), "{}", said.err);
    let comparison = said.json();
    assert_eq!((&comparison["against"], &comparison["seeds"]), (&"kd".into(), &2.into()));
    let (ce, kd) = (method(&comparison, "ce"), method(&comparison, "kd"));
    assert!(kd["summary"]["against"].is_null() && kd["summary"]["agreement"]["mean"].is_f64());
    assert!(ce["summary"]["agreement"].is_null(), "no teacher to be like");
    let against = &ce["summary"]["against"];
    assert_eq!(against["same_call"], true);
    let number = |value: &Value| value.as_f64().unwrap();
    for seed in 0..2 {
        let (own, other) = (&ce["runs"][seed]["outcome"], &kd["runs"][seed]["outcome"]);
        let pair = &against["seeds"][seed];
        let expected = number(&own["test_top1_last"]) - number(&other["test_top1_last"]);
        assert!((number(&pair["last"]) - expected).abs() < 1e-9);
        let (low, high) = (&pair["images"]["interval"][0], &pair["images"]["interval"][1]);
        let difference = number(&pair["images"]["difference"]);
        assert!(number(low) < difference && difference < number(high), "{pair}");
        assert!(number(&own["seconds_per_step"]) > 0.0 && own["measures"]["student"]["nll"].is_f64());
    }
    let files = ["ce", "kd", "compare.json", "plot.svg", "table.csv", "table.md"].map(str::to_owned);
    assert_eq!(names(&bench.path("out")), files.into());
    let out = |name: &str| read(&bench.path("out").join(name));
    assert_eq!(serde_json::from_str::<Value>(&out("compare.json")).unwrap(), comparison);
    assert!(out("table.md").contains("last - kd") && out("table.md").contains("* ce, seed 1: "));
    let csv = out("table.csv");
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [16; 3], "{csv}");
    assert!(out("plot.svg").starts_with("<svg xmlns") && out("plot.svg").matches("<circle").count() == 4);

    // What is done is not done again, what was interrupted goes on, and the numbers stay.
    std::fs::remove_file(bench.path("out/ce/seed-1/receipt.json")).unwrap();
    let again = bench.compare(&recipes).ok();
    assert_eq!(again.err.matches("done already").count(), 3, "{}", again.err);
    assert!(again.err.contains("going on after epoch"), "{}", again.err);
    assert!(again.out.contains("2 of 2") && again.out.contains("* steps timed by different calls"), "{}", again.out);
    let later: Value = serde_json::from_str(&out("compare.json")).unwrap();
    assert_eq!(method(&later, "ce")["summary"]["last"], ce["summary"]["last"]);

    // Other settings need another place.
    let other = bench.compare(&["ce.toml", "--seeds", "1", "--set", "train.learning_rate=0.01"]).exits(2);
    assert!(other.out.contains("FAILED: ce, seed 0") && other.out.contains("train.learning_rate"), "{}", other.out);
}

#[test]
fn a_recipe_that_fails_is_reported_and_the_others_go_on() {
    let bench = Bench::new();
    bench.change("kd.toml", "runs/teacher", "runs/nobody");
    let said = bench.compare(&["kd.toml", "ce.toml", "--seeds", "1"]).exits(2);
    assert!(said.out.contains("FAILED: kd, seed 0") && said.out.contains("nobody"), "{}", said.out);
    assert!(said.out.contains("0 of 1") && said.out.contains("1 of 1"), "{}", said.out);
    let comparison: Value = serde_json::from_str(&read(&bench.path("out/compare.json"))).unwrap();
    assert!(method(&comparison, "kd")["runs"][0]["failure"].as_str().unwrap().contains("nobody"));
    assert!(method(&comparison, "ce")["summary"]["against"].is_null());
}

#[test]
fn unequal_recipes_are_refused_before_anything_is_trained() {
    let bench = Bench::new();
    bench.change("ce.toml", "batch = 24", "batch = 12");
    bench.change("ce.toml", "resnet8", "resnet14");
    bench.compare(&["ce.toml", "kd.toml"]).fails(&["train.batch: 12 in ce, 24 in kd", "student.network", "--unequal"]);
    bench.compare(&["ce.toml", "kd.toml", "--against", "dk"]).fails(&["unknown recipe `dk`", "known: ce, kd"]);
    bench.compare(&["ce.toml", "./ce.toml"]).fails(&["both called `ce`"]);
    bench.compare(&["ce.toml", "--seeds", "0"]).fails(&["--seeds"]);
    bench.compare(&["nowhere.toml"]).fails(&["nowhere.toml"]);
    assert!(!bench.path("out").exists());
    let noted = format!("note = \"easier than its paper\"\n{}", read(&bench.path("ce.toml")));
    std::fs::write(bench.path("ce.toml"), noted).unwrap();
    let said = bench.compare(&["ce.toml", "kd.toml", "--unequal", "--seeds", "1"]).ok();
    assert!(said.out.contains("ce (note)") && said.out.contains("note: ce: easier than its paper"), "{}", said.out);
    assert!(said.out.contains("NOT EQUAL: train.batch: 12 in ce, 24 in kd"), "{}", said.out);
}
