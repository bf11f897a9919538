//! The networks of the zoo as a recipe may write them, for editors and the reference: which has which options.

use std::borrow::Cow;
use std::collections::BTreeMap;

use attar_models::zoo;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::NetworkSection;

impl JsonSchema for NetworkSection {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut families: BTreeMap<Vec<(&str, &str)>, Vec<&str>> = BTreeMap::new();
        for entry in zoo::catalog() {
            let options = entry.options().iter().map(|option| (option.name, option.about)).collect();
            families.entry(options).or_default().push(entry.name);
        }
        let ways: Vec<Value> = families.iter().map(|(options, names)| family(options, names)).collect();
        json_schema!({ "description": "A network of the zoo (`attar models` lists them).", "oneOf": ways })
    }
}

/// Networks that have the same options.
fn family(options: &[(&str, &str)], names: &[&str]) -> Value {
    let mut properties: Map<String, Value> =
        options.iter().map(|(name, about)| ((*name).to_owned(), json!({ "description": about }))).collect();
    properties.insert("name".to_owned(), json!({ "enum": names, "description": "Which." }));
    properties.insert(
        "classes".to_owned(),
        json!({ "type": "integer", "minimum": 1, "description": "Number of classes; from the data if left out." }),
    );
    let size = json!({ "type": "integer", "minimum": 1 });
    properties.insert(
        "input".to_owned(),
        json!({
            "type": "array",
            "items": size,
            "minItems": 3,
            "maxItems": 3,
            "description": "Shape of one input sample `[C, H, W]`; from the data if left out.",
        }),
    );
    json!({
        "type": "object",
        "description": format!("With these options: {}.", names.join(", ")),
        "properties": properties,
        "required": ["name"],
        "additionalProperties": false,
    })
}
