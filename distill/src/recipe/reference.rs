//! The complete reference of the recipe, made of its types: pages for people, and the schema that editors use.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Recipe;
use crate::schema::{self, Key};

/// Sections that a recipe may leave to its base, in part or altogether.
const MERGED: [(&str, &str); 3] = [("data", "DataSection"), ("student", "StudentSection"), ("train", "TrainSection")];

/// The JSON schema of a recipe (draft 7). A recipe that names a `base` may leave out what the base says.
pub fn recipe_schema() -> Value {
    let mut root = schema::of::<Recipe>();
    let mut whole = json!({ "required": root["required"].take() });
    for (key, definition) in MERGED {
        let Some(section) = root["definitions"][definition].as_object_mut() else { continue };
        if let Some(required) = section.remove("required") {
            whole["properties"][key]["required"] = required;
        }
    }
    if let Some(table) = root.as_object_mut() {
        table.remove("required");
        table.insert("title".to_owned(), json!("A recipe of Attar"));
        table.insert("anyOf".to_owned(), json!([{ "required": ["base"] }, whole]));
    }
    root["properties"]["base"] = json!({
        "type": "string",
        "description": "A file in the same folder that this one lies over: tables are merged key by key; lists, schedules \
                        and things of another kind or name are replaced.",
    });
    root
}

/// The reference of the recipe, in Markdown: every key with its values, its default, its unit, and what it does.
pub fn recipe_reference() -> String {
    let root = schema::of::<Recipe>();
    let mut page = "<!-- Made of the types of the recipe by `cargo xtask docs`: change their documentation. -->\n\n\
         # The recipe: every key\n\n\
         [`recipes.md`](recipes.md) says how recipes are used. `attar reference` prints this page, and `attar reference --schema`\n\
         the JSON schema that editors use ([`schemas/recipe.schema.json`](schemas/recipe.schema.json)). Beside these keys a recipe\n\
         may have `base`, the name of a file in its folder that it lies over. Keys that must be written stand first.\n"
        .to_owned();
    for section in sections(&root) {
        let _ = write!(page, "\n<a id=\"{}\"></a>\n\n## {}\n", anchor(section.name), section.title());
        page += &body(section.schema, &root, section.name);
    }
    page
}

/// A part of the reference: a table, or the ways in which one place may be written.
struct Section<'a> {
    name: &'a str,
    /// Where it stands in a recipe, in the order in which places were found.
    places: Vec<Place>,
    schema: &'a Value,
}

/// A place in a recipe.
#[derive(Clone, PartialEq)]
struct Place {
    /// Dotted; of the whole file empty.
    path: String,
    /// Whether a list stands there.
    is_list: bool,
}

impl Section<'_> {
    fn title(&self) -> String {
        let show = |place: &Place| match (place.path.is_empty(), place.path.contains('.'), place.is_list) {
            (true, ..) => "The file".to_owned(),
            (_, false, true) => format!("`[[{}]]`", place.path),
            (_, false, false) => format!("`[{}]`", place.path),
            (_, true, true) => format!("each of `{}`", place.path),
            (_, true, false) => format!("`{}`", place.path),
        };
        const SHOWN: usize = 3;
        let mut shown: Vec<String> = self.places.iter().take(SHOWN).map(show).collect();
        shown.dedup();
        let more = if self.places.len() > SHOWN { ", ..." } else { "" };
        format!("{}{more}", shown.join(", "))
    }
}

/// All parts, each once, breadth first.
fn sections(root: &Value) -> Vec<Section<'_>> {
    let mut found =
        vec![Section { name: "Recipe", places: vec![Place { path: String::new(), is_list: false }], schema: root }];
    let mut at = 0;
    while let Some(section) = found.get(at) {
        let mut next: Vec<(&str, &Value, Place)> = Vec::new();
        each_key(section.schema, root, &mut |name, value| {
            let prefix = &section.places[0].path;
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            part(value, root, &path, false, &mut next);
        });
        for (name, schema, place) in next {
            match found.iter_mut().find(|known| known.name == name) {
                Some(known) if known.places.contains(&place) => {}
                Some(known) => known.places.push(place),
                None => found.push(Section { name, places: vec![place], schema }),
            }
        }
        at += 1;
    }
    found
}

/// Calls with every key of a table, or of all the tables that may stand at one place.
fn each_key<'a>(schema: &'a Value, root: &'a Value, call: &mut impl FnMut(&'a str, &'a Value)) {
    let (schema, _) = schema::resolve(schema, root);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        properties.iter().for_each(|(name, value)| call(name, value));
    }
    for way in schema::alternatives(schema).into_iter().flatten() {
        each_key(way, root, call);
    }
}

/// The parts that a value leads to.
fn part<'a>(value: &'a Value, root: &'a Value, path: &str, is_list: bool, next: &mut Vec<(&'a str, &'a Value, Place)>) {
    let (schema, name) = schema::resolve(value, root);
    match name {
        Some(name) if has_keys(schema, root) => next.push((name, schema, Place { path: path.to_owned(), is_list })),
        _ => {
            if let Some(items) = schema.get("items") {
                part(items, root, path, true, next);
            }
            for way in schema::alternatives(schema).into_iter().flatten() {
                part(way, root, path, is_list, next);
            }
        }
    }
}

/// Whether a table may stand there, so that it gets a part of its own.
fn has_keys(schema: &Value, root: &Value) -> bool {
    let mut any = false;
    each_key(schema, root, &mut |_, _| any = true);
    any
}

/// Text and tables of a part.
fn body(schema: &Value, root: &Value, name: &str) -> String {
    let mut page = String::new();
    if !schema::text(schema).is_empty() {
        let _ = write!(page, "\n{}\n", schema::text(schema));
    }
    if schema.get("properties").is_some() {
        page += &table(schema, root);
    }
    for way in schema::alternatives(schema).into_iter().flatten() {
        let (inner, _) = schema::resolve(way, root);
        let said = Some(schema::text(way)).filter(|text| !text.is_empty()).unwrap_or(schema::text(inner));
        match chosen_by(inner) {
            Some((tag, word)) => {
                let link = if name == "LossSpec" { format!(" ([page](methods/{word}.md))") } else { String::new() };
                let _ = write!(page, "\n### `{tag} = \"{word}\"`\n\n{said}{link}\n");
                page += &table(inner, root);
            }
            None => {
                let _ = write!(page, "\n* `{}`: {said}\n", schema::values(inner, root));
                if inner.get("properties").is_some() {
                    page += &table(inner, root);
                }
            }
        }
    }
    page
}

/// The key and the word that choose this table among others.
fn chosen_by(schema: &Value) -> Option<(&str, &str)> {
    let properties = schema.get("properties")?.as_object()?;
    properties.iter().find_map(|(name, value)| Some((name.as_str(), value.get("const")?.as_str()?)))
}

/// One line a key.
fn table(schema: &Value, root: &Value) -> String {
    let Some(properties) = schema.get("properties") else { return String::new() };
    let tag = chosen_by(schema).map(|(tag, _)| tag);
    let keys: Vec<Key> = schema::keys(schema, root).into_iter().filter(|key| Some(key.name.as_str()) != tag).collect();
    if keys.is_empty() {
        return String::new();
    }
    let mut page = "\n| key | values | default | unit | |\n|---|---|---|---|---|\n".to_owned();
    for key in keys {
        let value = &properties[&key.name];
        let default = match (&key.default, key.required) {
            (_, true) => "required".to_owned(),
            (Some(_), _) => {
                value.get("default").map(|default| format!("`{}`", schema::written(default))).unwrap_or_default()
            }
            (None, _) => String::new(),
        };
        let cells = [
            format!("`{}`", key.name),
            cell(value, root, &key.values),
            default,
            key.unit.unwrap_or_default(),
            key.text + &meanings(value, root),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace("\n\n", "<br>"));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
    page
}

/// The values of a key, or links to the parts that say them.
fn cell(value: &Value, root: &Value, values: &str) -> String {
    let mut parts = Vec::new();
    part(value, root, "", false, &mut parts);
    if parts.is_empty() {
        return format!("`{values}`");
    }
    let mut links: BTreeMap<&str, bool> = BTreeMap::new();
    for (name, _, place) in parts {
        links.insert(name, place.is_list);
    }
    let link =
        |(name, is_list): (&str, bool)| format!("{}[{name}](#{})", if is_list { "list of " } else { "" }, anchor(name));
    links.into_iter().map(link).collect::<Vec<_>>().join(" or ")
}

/// What each of a few words means, where they say it.
fn meanings(value: &Value, root: &Value) -> String {
    let (schema, _) = schema::resolve(value, root);
    let ways = schema::alternatives(schema).map(Vec::as_slice).unwrap_or_default();
    let said = |way: &Value| {
        let word = way.get("const").filter(|_| !schema::text(way).is_empty())?;
        Some(format!("<br>`{}`: {}", schema::bare(word), schema::text(way)))
    };
    ways.iter().filter_map(said).collect()
}

fn anchor(name: &str) -> String {
    name.to_lowercase()
}
