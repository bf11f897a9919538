//! JSON schemas (draft 7) of files that leave the program, made of the types that read and write them.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::bundle::Manifest;
use crate::card::Card;

/// The schema of each file by its name: `card` (`card.json`; `config.json` adds the key
/// `architectures`) and `manifest` (`manifest.json`).
pub fn all() -> [(&'static str, Value); 2] {
    [("card", of::<Card>()), ("manifest", of::<Manifest>())]
}

fn of<T: JsonSchema>() -> Value {
    Value::from(SchemaSettings::draft07().into_generator().into_root_schema_for::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_names_every_key_that_a_file_must_have() {
        let [(_, card), (_, manifest)] = all();
        let required = |schema: &Value| schema["required"].as_array().unwrap().to_vec();
        assert_eq!(required(&card), ["card_version", "network", "labels", "preprocessing", "provenance"]);
        assert_eq!(required(&manifest), ["bundle_version", "files", "models"]);
    }
}
