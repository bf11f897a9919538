//! `docs/methods/`: a page for each loss, made from its source and its catalogue entry, so that it cannot rot.
//!
//! After a change: `ATTAR_BLESS=1 cargo test --release --test suite methods`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use attar_distill::losses::{Basis, Entry, Teachers, catalog};

use crate::recipes::shipped;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Source files of losses, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("distill/src/losses")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.clone(), std::fs::read_to_string(&path).unwrap())),
            }
        }
    }
    found
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The page of a loss.
fn page(entry: &Entry, sources: &[(PathBuf, String)]) -> String {
    let states = format!("kind: \"{}\",", entry.kind);
    let (path, text) = sources.iter().find(|(_, text)| text.contains(&states)).unwrap();
    let place = path.strip_prefix(root()).unwrap().display().to_string();
    let mut page = format!(
        "<!-- Made by tests/suite/methods.rs from {place}: change it there. -->\n\n# `{}`{}\n\n{}\n\n",
        entry.kind,
        if entry.basis == Basis::Reading { " (our reading)" } else { "" },
        entry.summary
    );
    let basis = match entry.basis {
        Basis::AuthorsCode => "the published code of the authors, or of the benchmark that reproduced it",
        Basis::Paper => "the paper's text",
        Basis::Reading => {
            "our reading: neither the paper's text nor its code could be had, or they leave it open; no number from here \
             stands beside the paper's"
        }
    };
    let teachers = match entry.teachers {
        Teachers::None => "none",
        Teachers::One => "one",
        Teachers::Many => "one or more",
    };
    let _ =
        write!(page, "* Paper: {}\n* Follows: {basis}\n* Teachers: {teachers}\n* Source: `{place}`\n\n", entry.paper);
    page += "## What it is\n\n";
    for line in text.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.strip_prefix(' ').unwrap_or(line).replace("[`", "`").replace("`]", "`");
        let _ = writeln!(page, "{line}");
    }
    page += "\n## Settings\n\n";
    if entry.settings.is_empty() {
        page += "None.\n";
    } else {
        page += "| setting | values | default | |\n|---|---|---|---|\n";
    }
    for setting in entry.settings {
        let default = setting.default.unwrap_or("");
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            setting.name,
            cell(setting.values),
            cell(default),
            cell(setting.summary)
        );
    }
    page + "\n## Recipes that use it\n\n" + &recipes(entry.kind)
}

/// A list of the shipped recipes in which a loss stands.
fn recipes(kind: &str) -> String {
    let states = format!("kind = \"{kind}\"");
    let uses = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().any(|line| line.trim_start().starts_with("loss =") && line.contains(&states))
    };
    let link = |path: PathBuf| {
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        format!("* [`{path}`](../../{path})\n")
    };
    shipped().into_iter().filter(uses).map(link).collect()
}

#[test]
fn every_loss_has_its_page_and_a_recipe() {
    let folder = root().join("docs/methods");
    let bless = std::env::var_os("ATTAR_BLESS").is_some();
    let sources = sources();
    let mut index = "<!-- Made by tests/suite/methods.rs. -->\n\n# Losses\n\nAs `attar losses` lists them; how they combine is in a recipe.\n\n| loss | what it asks of the student | paper |\n|---|---|---|\n".to_owned();
    let mut pages = Vec::new();
    for entry in catalog() {
        assert!(!recipes(entry.kind).is_empty(), "no shipped recipe uses `{}`", entry.kind);
        pages.push((folder.join(format!("{}.md", entry.kind)), page(entry, &sources)));
        let reading = if entry.basis == Basis::Reading { " (our reading)" } else { "" };
        let _ = writeln!(
            index,
            "| [`{0}`]({0}.md){reading} | {1} | {2} |",
            entry.kind,
            cell(entry.summary),
            cell(entry.paper)
        );
    }
    pages.push((folder.join("README.md"), index));
    for (path, expected) in &pages {
        if bless {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(path, expected).unwrap();
        }
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(there == *expected, "{} is out of date; see the top of tests/suite/methods.rs", path.display());
    }
    let count = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(count, pages.len(), "docs/methods has pages of losses that there are not");
}
