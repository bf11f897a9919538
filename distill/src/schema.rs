//! What types say of themselves, for people and for editors: their JSON schemas, and the keys, values
//! and defaults that stand in them. The texts are the types' own documentation.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// One key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: String,
    /// What may stand there, e.g. `above 0` or `sum | mean`.
    pub(crate) values: String,
    /// What holds where it is left out, as TOML without quotes; none if it must be written, or if
    /// leaving it out switches something off.
    pub(crate) default: Option<String>,
    /// Whether it must be written.
    pub(crate) required: bool,
    /// What its number counts, e.g. `epochs`.
    pub(crate) unit: Option<String>,
    /// What it does.
    pub(crate) text: String,
}

/// The schema of a type, of draft 7, which is what editors of TOML read.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let mut schema = Value::from(SchemaSettings::draft07().into_generator().into_root_schema_for::<T>());
    tidy(&mut schema);
    schema
}

/// The keys of a table: those that must be written first, otherwise by letters.
pub(crate) fn keys(table: &Value, root: &Value) -> Vec<Key> {
    let Some(properties) = table.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let must = required(table);
    let key = |(name, value): (&String, &Value)| Key {
        name: name.clone(),
        values: values(value, root),
        default: value.get("default").map(bare),
        required: must.contains(name.as_str()),
        unit: value.get("x-unit").and_then(Value::as_str).map(str::to_owned),
        text: text(value).to_owned(),
    };
    let mut keys: Vec<Key> = properties.iter().map(key).collect();
    keys.sort_by_key(|key| !key.required);
    keys
}

/// The names that a table must have.
pub(crate) fn required(table: &Value) -> BTreeSet<&str> {
    table.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What a schema says in words.
pub(crate) fn text(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// The schema that a reference leads to, and the name it has there.
pub(crate) fn resolve<'a>(schema: &'a Value, root: &'a Value) -> (&'a Value, Option<&'a str>) {
    let inner = schema.get("allOf").and_then(Value::as_array).and_then(|all| all.first()).unwrap_or(schema);
    let Some(name) = inner.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/definitions/")) else {
        return (schema, None);
    };
    let found = root.get("definitions").and_then(|all| all.get(name));
    (found.unwrap_or(schema), Some(name))
}

/// The ways in which a value may be written, where there are several.
pub(crate) fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    ["oneOf", "anyOf"].iter().find_map(|key| schema.get(key)).and_then(Value::as_array)
}

/// What may stand at a place, e.g. `0 to 1`, `sum | mean` or `{ game = "adversarial" | "joint", weight }`.
pub(crate) fn values(schema: &Value, root: &Value) -> String {
    let (schema, _) = resolve(schema, root);
    if let Some(word) = schema.get("const") {
        return bare(word);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().map(bare).collect::<Vec<_>>().join(" | ");
    }
    if let Some(ways) = alternatives(schema) {
        return ways.iter().map(|way| values(way, root)).collect::<Vec<_>>().join(" | ");
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => "true | false".to_owned(),
        Some("string") => "text".to_owned(),
        Some("integer") => number(schema, "a whole number", "more"),
        Some("number") => number(schema, "a number", "above"),
        Some("array") => list(schema, root),
        Some("object") => table(schema, root),
        _ => "as said".to_owned(),
    }
}

fn number(schema: &Value, any: &str, up: &str) -> String {
    let bound = |key: &str| schema.get(key).map(bare);
    match (bound("minimum"), bound("exclusiveMinimum"), bound("maximum"), bound("exclusiveMaximum")) {
        (Some(least), None, Some(most), None) => format!("{least} to {most}"),
        (None, Some(least), None, Some(most)) => format!("between {least} and {most}"),
        (None, Some(least), Some(most), None) => format!("above {least}, to {most}"),
        (Some(least), None, None, Some(most)) => format!("from {least}, below {most}"),
        (Some(least), None, None, None) => format!("{least} or {up}"),
        (None, Some(least), None, None) => format!("above {least}"),
        _ => any.to_owned(),
    }
}

fn list(schema: &Value, root: &Value) -> String {
    let item = schema.get("items").map(|items| values(items, root)).unwrap_or_default();
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    match (count("minItems"), count("maxItems")) {
        (Some(least), Some(most)) if least == most => {
            format!("[{}]", vec![item; usize::try_from(most).unwrap_or(1)].join(", "))
        }
        _ => format!("[{item}, ...]"),
    }
}

/// The word that chooses among tables comes first, with its value; of the other keys those that take words show them.
fn table(schema: &Value, root: &Value) -> String {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        let item = schema.get("additionalProperties").map(|items| values(items, root)).unwrap_or_default();
        return format!("{{ NAME = {item}, ... }}");
    };
    let words = |value: &Value| -> Option<Vec<String>> {
        let (value, _) = resolve(value, root);
        let word = |way: &Value| way.get("const").map(|word| word.to_string());
        word(value).map(|word| vec![word]).or_else(|| alternatives(value)?.iter().map(word).collect())
    };
    let mut parts: Vec<(bool, String)> = Vec::new();
    for (name, value) in properties {
        let words = words(value);
        let chooses = words.as_ref().is_some_and(|words| words.len() == 1);
        parts.push((!chooses, words.map_or_else(|| name.clone(), |words| format!("{name} = {}", words.join(" | ")))));
    }
    parts.sort_by_key(|(last, _)| *last);
    format!("{{ {} }}", parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(", "))
}

/// A value as TOML, a text alone without its quotes.
pub(crate) fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| written(value), str::to_owned)
}

/// A value as TOML; a number alone is written as shortly as it can be.
pub(crate) fn written(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
        other => inner(other),
    }
}

fn inner(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inner).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entry = |(name, value): (&String, &Value)| format!("{name} = {}", inner(value));
            format!("{{ {} }}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Takes off what only a machine reads, says links of rustdoc without their brackets, and spreads the keys beside a choice of
/// tables over all of them, so that each can refuse what it does not know.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(table) => {
            for key in ["format", "title"] {
                if table.get(key).is_some_and(Value::is_string) {
                    table.remove(key);
                }
            }
            if table.get("default") == Some(&Value::Null) {
                table.remove("default");
            }
            if let Some(Value::String(said)) = table.get_mut("description") {
                let paragraph = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                let joined = said.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n");
                *said = joined.replace("[`", "`").replace("`]", "`");
            }
            without_null(table);
            table.values_mut().for_each(tidy);
            spread(table);
        }
        _ => {}
    }
}

/// TOML has no null.
fn without_null(table: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = table.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            table.insert("type".to_owned(), kind);
        }
    }
    let is_null = |way: &Value| way.get("type").is_some_and(|kind| kind == "null");
    if let Some(Value::Array(mut ways)) = table.remove("anyOf") {
        ways.retain(|way| !is_null(way));
        let key = if ways.len() == 1 { "allOf" } else { "anyOf" };
        table.insert(key.to_owned(), Value::Array(ways));
    }
}

/// `{ properties, oneOf: [tables] }` becomes `{ oneOf: [tables with those properties] }`.
fn spread(table: &mut Map<String, Value>) {
    let is_table = |way: &Value| way.get("properties").is_some();
    let choice = table.get("oneOf").and_then(Value::as_array).is_some_and(|ways| ways.iter().all(is_table));
    if !choice || !table.contains_key("properties") {
        return;
    }
    let (shared, must) = (table.remove("properties"), table.remove("required"));
    table.remove("type");
    let Some(Value::Array(ways)) = table.get_mut("oneOf") else { return };
    for way in ways.iter_mut().filter_map(Value::as_object_mut) {
        if let (Some(Value::Object(own)), Some(Value::Object(shared))) = (way.get_mut("properties"), &shared) {
            own.extend(shared.clone());
        }
        let own = way.entry("required").or_insert_with(|| Value::Array(Vec::new()));
        if let (Value::Array(own), Some(Value::Array(must))) = (own, &must) {
            own.splice(0..0, must.clone());
        }
        way.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    /// A thing that is
    /// chosen by [`Kind`].
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Thing {
        /// How it is called.
        name: String,
        #[serde(flatten)]
        kind: Kind,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
    enum Kind {
        /// Drawn.
        Drawn {
            /// How often.
            #[serde(default = "half")]
            #[schemars(extend("minimum" = 0, "maximum" = 1, "x-unit" = "images"))]
            p: f64,
            /// How.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            how: Option<How>,
        },
        /// Listed.
        Listed {
            /// Sizes.
            sizes: [u32; 2],
            /// More of them.
            #[serde(default)]
            more: Vec<Thing>,
        },
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum How {
        /// In order.
        InOrder,
        /// At random.
        AtRandom,
    }

    fn half() -> f64 {
        0.5
    }

    #[test]
    fn keys_say_values_defaults_units_and_texts() {
        let root = of::<Thing>();
        assert_eq!(text(&root), "A thing that is chosen by `Kind`.");
        let ways = alternatives(&root).unwrap();
        let shown = |at: usize| -> Vec<String> {
            let line = |key: Key| {
                let default = key.default.unwrap_or_default();
                format!("{} {} | {} | {} | {:?} | {}", key.required, key.name, key.values, default, key.unit, key.text)
            };
            keys(&ways[at], &root).into_iter().map(line).collect()
        };
        assert_eq!(
            shown(0),
            [
                "true kind | drawn |  | None | ",
                "true name | text |  | None | How it is called.",
                "false how | in-order | at-random |  | None | How.",
                "false p | 0 to 1 | 0.5 | Some(\"images\") | How often.",
            ]
        );
        assert_eq!(shown(1)[2], "true sizes | [0 or more, 0 or more] |  | None | Sizes.");
        let all = values(&root, &root);
        assert!(
            all.starts_with("{ kind = \"drawn\", how = \"in-order\" | \"at-random\", name, p } | { kind = "),
            "{all}"
        );
        assert!(ways.iter().all(|way| way["additionalProperties"] == false), "{root}");
        assert!(!root.to_string().contains("null"), "{root}");
    }
}
