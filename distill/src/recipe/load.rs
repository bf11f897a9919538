//! Reads a recipe: TOML tree, the base under it, dotted overrides; and says in what two recipes differ.

use std::path::Path;

use attar_formats::files;
use attar_models::suggest;
use toml::{Table, Value};

use super::error::{item_name, join, read};
use super::older::{modern_override, modernise, names_a_file};
use super::{OnDivergence, Recipe, Resident};
use crate::error::{Error, Result};

impl Recipe {
    /// Reads the recipe at `path`, puts it on top of the file that its `base` names, applies `overrides` (`train.epochs=5`; the value is TOML, or a bare string where it
    /// is not), and resolves relative paths against the recipe's directory.
    ///
    /// # Errors
    /// A file that cannot be read; [`Error::Recipe`] naming the dotted key and the nearest valid name.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let text =
            files::read_text(path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let absolute = std::path::absolute(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        let mut tree = on_base(read_table(&text, path)?, directory, MOST_BASES)?;
        modernise(&mut tree)?;
        let mut recipe = Self::from_table(tree, overrides)?;
        recipe.resolve_paths(directory);
        Ok(recipe)
    }

    /// A recipe from TOML text with overrides; paths stay as written.
    ///
    /// # Errors
    /// [`Error::Recipe`] naming the dotted key and the nearest valid name.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        let mut tree = text.parse::<Table>().map_err(|error| no_toml(&error))?;
        modernise(&mut tree)?;
        Self::from_table(tree, overrides)
    }

    fn from_table(mut tree: Table, overrides: &[String]) -> Result<Self> {
        for text in overrides {
            set(&mut tree, text)?;
        }
        read(tree)
    }

    /// The recipe as TOML, every default spelled out; reading it back gives an equal recipe.
    ///
    /// # Errors
    /// A number that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Recipe { key: "(file)".to_owned(), problem: error.to_string() })
    }

    /// The dotted keys in which two recipes differ, with both values. `data.resident` and `note` are none: they change no bit of
    /// a run; nor is `train.on_divergence`, which changes none before a run diverges.
    ///
    /// # Errors
    /// A number that TOML cannot hold.
    pub fn differences(&self, other: &Self) -> Result<Vec<String>> {
        let tree = |recipe: &Self| -> Result<Value> {
            let mut recipe = recipe.clone();
            recipe.data.resident = Resident::default();
            recipe.train.on_divergence = OnDivergence::default();
            recipe.note = None;
            let text = recipe.to_toml()?;
            Ok(Value::Table(text.parse::<Table>().map_err(|error| no_toml(&error))?))
        };
        let mut found = Vec::new();
        compare("", Some(&tree(self)?), Some(&tree(other)?), &mut found);
        Ok(found)
    }
}

fn no_toml(error: &toml::de::Error) -> Error {
    Error::Recipe { key: "(file)".to_owned(), problem: error.message().trim().to_owned() }
}

/// Bases of bases, at most.
const MOST_BASES: usize = 8;

fn read_table(text: &str, path: &Path) -> Result<Table> {
    text.parse::<Table>().map_err(|error| Error::Format {
        path: path.to_owned(),
        problem: format!("not TOML: {}", error.to_string().trim_end()),
    })
}

/// A recipe laid over the file that its key `base` names, which lies beside it and may have a base itself: tables are
/// merged key by key, everything else (lists too) is replaced.
fn on_base(mut over: Table, directory: &Path, depth: usize) -> Result<Table> {
    let fail = |problem: String| Error::Recipe { key: "base".to_owned(), problem };
    let Some(base) = over.remove("base") else { return Ok(over) };
    let Some(name) = base.as_str() else { return Err(fail(format!("{base}, expected the name of a file"))) };
    // Elsewhere, its relative paths would mean other places than those of the recipe.
    if Path::new(name).file_name() != Some(name.as_ref()) {
        return Err(fail(format!("`{name}`, expected the name of a file in the recipe's own directory")));
    }
    if depth == 0 {
        return Err(fail(format!("more than {MOST_BASES} files deep; do they name each other?")));
    }
    let path = directory.join(name);
    let text = files::read_text(&path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.clone(), source })?;
    let mut under = on_base(read_table(&text, &path)?, directory, depth - 1)?;
    let elsewhere = names_a_file(&over);
    modernise(&mut under)?;
    modernise(&mut over)?;
    if elsewhere && let Some(student) = under.get_mut("student").and_then(Value::as_table_mut) {
        student.remove("from");
    }
    merge(&mut under, over);
    Ok(under)
}

fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) if !is_another(under, &over) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// Whether `over` says all by itself: a schedule, or a thing of another kind or name, of which the base's settings are none.
fn is_another(under: &Table, over: &Table) -> bool {
    let differs = |key| over.get(key).is_some_and(|own| under.get(key).is_some_and(|other| other != own));
    over.contains_key("at") || differs("kind") || differs("name")
}

/// Applies one override `dotted.key=value` to the tree. Items of `losses` and `teachers` are addressed by name or
/// position.
fn set(tree: &mut Table, text: &str) -> Result<()> {
    let fail = |key: &str, problem: String| Error::Recipe { key: key.to_owned(), problem };
    let Some((key, value)) = text.split_once('=') else {
        return Err(fail(text, "expected KEY=VALUE, e.g. train.epochs=5".to_owned()));
    };
    let key = key.trim();
    if key.split('.').any(str::is_empty) {
        return Err(fail(key, "a key has a name between every two dots".to_owned()));
    }
    let (key, value) = modern_override(key, parse_value(value));
    put(tree, &key, value)
}

/// Puts a value at a dotted key.
fn put(tree: &mut Table, key: &str, value: Value) -> Result<()> {
    let fail = |problem: String| Error::Recipe { key: key.to_owned(), problem };
    let parts: Vec<&str> = key.split('.').collect();
    let Some((last, path)) = parts.split_last() else { return Err(fail("an empty key".to_owned())) };
    let mut seen = String::new();
    let mut at = tree;
    for part in path {
        let slot = at.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        seen = join(&seen, part);
        at = match slot {
            Value::Table(table) => table,
            Value::Array(_) => return put_in_list(slot, &seen, key, &parts, value),
            _ => return Err(fail(format!("`{seen}` is a plain value, it has no `{last}`"))),
        };
    }
    at.insert((*last).to_owned(), value);
    Ok(())
}

/// The rest of an override whose path leads through a list: `losses.cd.weight=6`.
fn put_in_list(list: &mut Value, seen: &str, key: &str, parts: &[&str], value: Value) -> Result<()> {
    let depth = seen.split('.').count();
    let fail = |problem: String| Error::Recipe { key: key.to_owned(), problem };
    let (Value::Array(items), Some(wanted)) = (list, parts.get(depth)) else {
        return Err(fail(format!("`{seen}` is a list")));
    };
    let name = |item: &Value| item.get("name").and_then(Value::as_str).map(str::to_owned);
    let names: Vec<String> = items.iter().filter_map(name).collect();
    let by_name = items.iter().position(|item| name(item).as_deref() == Some(*wanted));
    let index = by_name.or_else(|| wanted.parse().ok()).filter(|i| *i < items.len());
    let Some(Value::Table(item)) = index.and_then(|i| items.get_mut(i)) else {
        return Err(fail(suggest(&format!("`{seen}` has no `{wanted}`"), wanted, &names)));
    };
    let rest = parts[depth + 1..].join(".");
    if rest.is_empty() {
        return Err(fail(format!("names a whole item; expected a key of it, e.g. {key}.name")));
    }
    put(item, &rest, value)
}

/// TOML if it is TOML, else the text itself, so that `--set device=cpu` needs no quotes in quotes.
fn parse_value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.trim().to_owned()))
}

/// Collects "`key`: before -> after" for every leaf that differs.
fn compare(key: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<String>) {
    match (before, after) {
        (Some(a), Some(b)) if a == b => {}
        (Some(Value::Table(a)), Some(Value::Table(b))) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().for_each(|name| compare(&join(key, name), a.get(name), b.get(name), found));
        }
        (Some(Value::Array(a)), Some(Value::Array(b)))
            if a.len() == b.len() && a.iter().chain(b).all(Value::is_table) =>
        {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&join(key, &item_name(i, Some(a))), Some(a), Some(b), found);
            }
        }
        (a, b) => {
            let text = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
            found.push(format!("{key}: {} -> {}", text(a), text(b)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_lies_over_its_base() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let ce = "[[losses]]\nname = \"ce\"\nweight = 1.0\nloss = { kind = \"cross-entropy\" }";
        let momentum = crate::recipe::PLAIN.replace("\"sgd\"", "\"sgd\", momentum = 0.9");
        write("common.base", &format!("{momentum}{ce}"));
        let over = "base = \"common.base\"\nname = \"over\"\n[train]\nepochs = 5\noptimiser = { kind = \"adamw\" }\n[[losses]]\nname = \"smooth\"\nweight = 1.0\nloss = { kind = \"cross-entropy\", label_smoothing = 0.1 }";
        write("over.toml", over);
        let recipe = Recipe::load(&folder.path().join("over.toml"), &["train.batch=7".to_owned()]).unwrap();
        assert_eq!((recipe.name.as_str(), recipe.train.epochs, recipe.train.batch), ("over", 5, 7));
        assert_eq!(recipe.losses.iter().map(|loss| loss.name.as_str()).collect::<Vec<_>>(), ["smooth"]);
        for (name, text, expected) in [
            ("far.toml", "base = \"../common.base\"", "in the recipe's own directory"),
            ("self.toml", "base = \"self.toml\"", "do they name each other?"),
            ("gone.toml", "base = \"nothing\"", "nothing"),
            ("odd.toml", "base = 3", "expected the name of a file"),
        ] {
            write(name, text);
            let message = Recipe::load(&folder.path().join(name), &[]).unwrap_err().to_string();
            assert!(message.contains(expected), "{name}: {message}");
        }
    }
}
