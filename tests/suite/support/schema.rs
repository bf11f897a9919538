//! Checks a value against a JSON schema: the part of draft 7 that our own schemas use, and a panic on any other.

use serde_json::Value;

/// Keys that say nothing of what fits.
const SILENT: [&str; 7] = ["$schema", "title", "description", "default", "definitions", "format", "x-unit"];

/// Where and why a value does not fit; none if it does.
pub(crate) fn problem(value: &Value, schema: &Value) -> Option<String> {
    check(value, schema, schema).map(|(at, why)| format!("{}: {why}", if at.is_empty() { "(file)" } else { &at }))
}

/// The path, and what is wrong there.
type Wrong = (String, String);

fn check(value: &Value, schema: &Value, root: &Value) -> Option<Wrong> {
    let Some(rules) = schema.as_object() else {
        return (schema == &Value::Bool(false)).then(|| (String::new(), "is not allowed".to_owned()));
    };
    rules.iter().find_map(|(rule, says)| one(value, rule, says, rules, root))
}

fn one(value: &Value, rule: &str, says: &Value, rules: &serde_json::Map<String, Value>, root: &Value) -> Option<Wrong> {
    let here = |why: String| Some((String::new(), why));
    let number = value.as_f64();
    let bound = says.as_f64();
    match rule {
        rule if SILENT.contains(&rule) => None,
        "type" => {
            let fits = match says {
                Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(|kind| is_of(value, kind)),
                kind => is_of(value, kind.as_str()?),
            };
            (!fits).then(|| (String::new(), format!("{value} is no {says}")))
        }
        "const" => (value != says).then(|| (String::new(), format!("{value}, expected {says}"))),
        "enum" => (!says.as_array()?.contains(value)).then(|| (String::new(), format!("{value}, expected {says}"))),
        "$ref" => {
            let name = says.as_str()?.strip_prefix("#/definitions/").expect("a reference into the schema");
            check(value, root["definitions"].get(name).expect("a definition that is there"), root)
        }
        "allOf" => says.as_array()?.iter().find_map(|schema| check(value, schema, root)),
        "anyOf" | "oneOf" => {
            let wrong: Vec<Option<Wrong>> = says.as_array()?.iter().map(|way| check(value, way, root)).collect();
            let fits = wrong.iter().filter(|wrong| wrong.is_none()).count();
            match (fits, rule) {
                (0, _) => here(format!("fits none of {wrong:?}")),
                (2.., "oneOf") => here(format!("{value} fits {fits} of the ways")),
                _ => None,
            }
        }
        "minimum" => (number? < bound?).then(|| (String::new(), format!("{value} is below {says}"))),
        "maximum" => (number? > bound?).then(|| (String::new(), format!("{value} is above {says}"))),
        "exclusiveMinimum" => (number? <= bound?).then(|| (String::new(), format!("{value} is not above {says}"))),
        "exclusiveMaximum" => (number? >= bound?).then(|| (String::new(), format!("{value} is not below {says}"))),
        "minItems" => {
            ((value.as_array()?.len() as u64) < says.as_u64()?).then(|| (String::new(), "too few".to_owned()))
        }
        "maxItems" => {
            ((value.as_array()?.len() as u64) > says.as_u64()?).then(|| (String::new(), "too many".to_owned()))
        }
        "items" => {
            value.as_array()?.iter().enumerate().find_map(|(i, item)| below(&i.to_string(), check(item, says, root)))
        }
        "properties" => {
            says.as_object()?.iter().find_map(|(name, schema)| below(name, check(value.get(name)?, schema, root)))
        }
        "required" => {
            let table = value.as_object()?;
            let missing = says.as_array()?.iter().filter_map(Value::as_str).find(|name| !table.contains_key(*name))?;
            here(format!("`{missing}` is missing"))
        }
        "additionalProperties" => {
            let known = rules.get("properties").and_then(Value::as_object);
            let mut others =
                value.as_object()?.iter().filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
            others.find_map(|(name, value)| below(name, check(value, says, root)))
        }
        other => panic!("the schema has a rule that this check does not know: {other}"),
    }
}

fn below(key: &str, wrong: Option<Wrong>) -> Option<Wrong> {
    wrong.map(|(at, why)| (if at.is_empty() { key.to_owned() } else { format!("{key}.{at}") }, why))
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("the schema has a type that this check does not know: {other}"),
    }
}
