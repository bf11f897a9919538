//! The pages of `docs/` that are made, so that they cannot rot: the reference of the recipe, the schemas, and a page for each
//! loss, of its source and its catalogue entry. `cargo xtask docs` writes them, a test compares them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// What the program says of itself.
#[derive(Debug)]
pub struct Said {
    /// `attar reference`.
    pub reference: String,
    /// `attar reference --schemas`: schemas by name.
    pub schemas: BTreeMap<String, Value>,
    /// The list in `attar losses --json`.
    pub losses: Value,
}

/// A page as it should be.
#[derive(Debug)]
pub struct Page {
    /// Where it lies, from the root of the workspace.
    pub path: PathBuf,
    /// What stands there.
    pub text: String,
}

/// All pages.
///
/// # Errors
/// A file that cannot be read, a loss without a source, or one that no shipped recipe uses.
pub fn all(root: &Path, said: &Said) -> Result<Vec<Page>> {
    let page = |path: &str, text: &str| Page { path: path.into(), text: format!("{}\n", text.trim_end()) };
    let mut pages = vec![page("docs/recipe-reference.md", &said.reference)];
    for (name, schema) in &said.schemas {
        pages.push(page(&format!("{SCHEMAS}/{name}.schema.json"), &serde_json::to_string_pretty(schema)?));
    }
    pages.push(Page { path: Path::new(SCHEMAS).join("README.md"), text: index_of_schemas(&said.schemas)? });
    pages.extend(methods(root, said.losses.as_array().context("no list of losses")?)?);
    Ok(pages)
}

/// Pages that are not as they should be, and those of losses and schemas that there are not.
///
/// # Errors
/// A folder that cannot be read.
pub fn stale(root: &Path, pages: &[Page]) -> Result<Vec<PathBuf>> {
    let differs = |page: &&Page| std::fs::read_to_string(root.join(&page.path)).ok().as_deref() != Some(&page.text);
    let mut found: Vec<PathBuf> = pages.iter().filter(differs).map(|page| page.path.clone()).collect();
    for made in [METHODS, SCHEMAS] {
        let folder = root.join(made);
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = Path::new(made).join(entry?.file_name());
            if pages.iter().all(|page| page.path != path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

const SCHEMAS: &str = "docs/schemas";
const METHODS: &str = "docs/methods";
const LOSSES: &str = "distill/src/losses";

/// The list of schemas.
fn index_of_schemas(schemas: &BTreeMap<String, Value>) -> Result<String> {
    let mut index =
        "<!-- Made by `cargo xtask docs`. -->\n\n# Schemas\n\nJSON schemas (draft 7) of the files that the program writes and of \
         what its verbs print, made of its types. A file or result names the version of its layout; keys may be added to \
         one.\n\n| schema | of |\n|---|---|\n"
            .to_owned();
    for (name, schema) in schemas {
        writeln!(index, "| [`{name}`]({name}.schema.json) | {} |", cell(text(schema, "title")))?;
    }
    Ok(index)
}

/// A page for each loss, and the list of them.
fn methods(root: &Path, losses: &[Value]) -> Result<Vec<Page>> {
    let sources = files(&root.join(LOSSES), "rs")?;
    let mut recipes = files(&root.join("recipes"), "toml")?;
    recipes.extend(files(&root.join("demo"), "toml")?);
    recipes.sort();
    let mut index =
        "<!-- Made by `cargo xtask docs`. -->\n\n# Losses\n\nAs `attar losses` lists them; how they combine is in a \
                     recipe.\n\n| loss | what it asks of the student | paper |\n|---|---|---|\n"
            .to_owned();
    let mut pages = Vec::new();
    for loss in losses {
        let kind = text(loss, "kind");
        let text_of_page = method(root, loss, &sources, &recipes).with_context(|| format!("the loss `{kind}`"))?;
        pages.push(Page { path: Path::new(METHODS).join(format!("{kind}.md")), text: text_of_page });
        let (reading, summary, paper) = (reading(loss), cell(text(loss, "summary")), cell(text(loss, "paper")));
        writeln!(index, "| [`{kind}`]({kind}.md){reading} | {summary} | {paper} |")?;
    }
    pages.push(Page { path: Path::new(METHODS).join("README.md"), text: index });
    Ok(pages)
}

/// The page of a loss.
fn method(root: &Path, loss: &Value, sources: &[(PathBuf, String)], recipes: &[(PathBuf, String)]) -> Result<String> {
    let kind = text(loss, "kind");
    let states = format!("kind: \"{kind}\",");
    let (path, source) = sources.iter().find(|(_, source)| source.contains(&states)).context("has no source")?;
    let place = path.strip_prefix(root)?.display().to_string();
    let mut page = format!(
        "<!-- Made by `cargo xtask docs` from {place}: change it there. -->\n\n# `{kind}`{}\n\n{}\n\n",
        reading(loss),
        text(loss, "summary")
    );
    let basis = match text(loss, "basis") {
        "authors-code" => "the published code of the authors, or of the benchmark that reproduced it",
        "paper" => "the paper's text",
        _ => {
            "our reading: neither the paper's text nor its code could be had, or they leave it open; no number from here \
             stands beside the paper's"
        }
    };
    let teachers = match text(loss, "teachers") {
        "many" => "one or more",
        other => other,
    };
    let paper = text(loss, "paper");
    write!(page, "* Paper: {paper}\n* Follows: {basis}\n* Teachers: {teachers}\n* Source: `{place}`\n\n")?;
    page += "## What it is\n\n";
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.strip_prefix(' ').unwrap_or(line).replace("[`", "`").replace("`]", "`");
        writeln!(page, "{line}")?;
    }
    page += "\n## Settings\n\n";
    let settings = loss["settings"].as_array().context("has no list of settings")?;
    if settings.is_empty() {
        page += "None.\n";
    } else {
        page += "| setting | values | default | |\n|---|---|---|---|\n";
    }
    for setting in settings {
        let [name, values, default, summary] =
            ["name", "values", "default", "summary"].map(|key| cell(text(setting, key)));
        writeln!(page, "| `{name}` | {values} | {default} | {summary} |")?;
    }
    page += "\n## Recipes that use it\n\n";
    let states = format!("kind = \"{kind}\"");
    let uses = |text: &str| text.lines().any(|line| line.trim_start().starts_with("loss =") && line.contains(&states));
    let mut used = recipes.iter().filter(|(_, text)| uses(text)).peekable();
    anyhow::ensure!(used.peek().is_some(), "no shipped recipe uses it");
    for (path, _) in used {
        let path = path.strip_prefix(root)?.display().to_string();
        writeln!(page, "* [`{path}`](../../{path})")?;
    }
    Ok(page)
}

/// Files of a folder and below it, with their text.
fn files(folder: &Path, extension: &str) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|own| own == extension) {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            found.push((path, text));
        }
    }
    Ok(found)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn reading(loss: &Value) -> &'static str {
    if text(loss, "basis") == "reading" { " (our reading)" } else { "" }
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace("\n\n", "<br>")
}
