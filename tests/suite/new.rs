//! `attar new` and training without a recipe: what is printed trains, and both ways make the same run.

use crate::support::program::attar;
use crate::support::scene::scene;

#[test]
fn a_new_recipe_trains_and_so_do_its_options_at_once() {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let data = format!("idx:{}", scene.root().join("data").display());
    let teacher = scene.root().join("runs/teacher").display().to_string();
    let wishes =
        ["--student", "resnet8", "--teacher", &teacher, "--method", "cd-gkd-edt", "--epochs", "1", "--name", "x"];
    let made = attar(folder.path(), &[&["new", &data], &wishes[..]].concat()).ok();
    assert!(made.out.starts_with("# Made by: attar new idx:") && made.err.contains("240 images of 10 classes"));
    // Every setting has its reason: the line above it, or the table's.
    for (key, above) in made.out.lines().zip(made.out.lines().skip(1)).map(|(above, key)| (key, above)) {
        let settings = ["epochs = ", "batch = ", "learning_rate = ", "optimiser = ", "validation = ", "mean = "];
        let explained = above.starts_with('#');
        assert!(!settings.iter().any(|setting| key.starts_with(setting)) || explained, "no reason for `{key}`");
    }
    std::fs::write(folder.path().join("my.toml"), &made.out).unwrap();
    attar(folder.path(), &["distill", "my.toml", "--out", "by-recipe"]).ok();
    let at_once = [&["distill", "--data", &data], &wishes[..], &["--out", "at-once"]].concat();
    attar(folder.path(), &at_once).ok();
    let weights =
        |run: &str| std::fs::read(folder.path().join(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(weights("by-recipe") == weights("at-once"), "the two ways trained other weights");
    // The options make the same recipe again, so a run of theirs goes on, and others are told apart.
    attar(folder.path(), &[&at_once[..], &["--resume"]].concat()).ok();
    let other = [&["distill", "--data", &data], &wishes[..], &["--out", "at-once", "--resume", "--set", "seed=7"]];
    attar(folder.path(), &other.concat()).fails(&["seed"]);
}

#[test]
fn a_recipe_that_does_not_plan_is_not_printed() {
    let scene = scene();
    // Features of an ImageNet network and of a CIFAR one do not pair by stages.
    let args = ["new", "idx:data", "--student", "resnet18", "--teacher", "runs/teacher", "--method", "cd"];
    let said = scene.attar(&args);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
    assert!(said.err.contains("not printed") && said.err.contains("losses.cd"), "{}", said.err);
    scene.attar(&["new", "idx:nowhere", "--student", "resnet8"]).fails(&["nowhere"]);
    scene.attar(&["new", "idx:data", "--student", "resnet8", "--size", "0"]).fails(&["size"]);
}

#[test]
fn the_report_has_every_class() {
    let report = std::fs::read_to_string(scene().root().join("runs/student/report.html")).unwrap();
    let table = report.split("Every class").nth(1).unwrap().split("</table>").next().unwrap();
    assert_eq!(table.matches("<tr>").count(), 11, "a head and ten classes");
    for class in ["Ankle boot", "T-shirt/top", ">80<"] {
        assert!(table.contains(class), "no `{class}` in\n{table}");
    }
}

#[test]
fn completions_and_manual_pages_come_of_the_same_command_line() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = attar(folder.path(), &["completions", shell]).ok().out;
        assert!(script.contains("bench-train") && script.contains("dry-run"), "{shell}");
    }
    attar(folder.path(), &["completions", "csh"]).fails(&["csh", "bash"]);
    attar(folder.path(), &["man", "--out", "man/man1"]).ok();
    let page = |name: &str| std::fs::read_to_string(folder.path().join("man/man1").join(name)).unwrap();
    assert!(page("attar.1").contains("attar\\-distill") && page("attar-verify.1").contains("margin"));
}
