//! JSON schemas (draft 7) of files that leave the program, made of the types that read and write them.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::bundle::Manifest;
use crate::card::Card;
use crate::receipt::Receipt;

/// The schema of each file by its name: `card` (`card.json`; `config.json` adds the key
/// `architectures`), `manifest` (`manifest.json`) and `receipt` (`receipt.json`).
pub fn all() -> Vec<(&'static str, Value)> {
    vec![("card", of::<Card>()), ("manifest", of::<Manifest>()), ("receipt", of::<Receipt>())]
}

/// The schema of a type as it is written: what always stands there is required.
pub fn of<T: JsonSchema>() -> Value {
    Value::from(SchemaSettings::draft07().into_generator().into_root_schema_for::<T>())
}

/// [`of`] under a title in the place of the type's name, for what a program prints.
pub fn titled<T: JsonSchema>(title: &str) -> Value {
    let mut schema = of::<T>();
    if let Some(keys) = schema.as_object_mut() {
        keys.insert("title".to_owned(), title.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_names_every_key_that_a_file_must_have() {
        let all = all();
        let required = |at: usize| all[at].1["required"].as_array().unwrap().to_vec();
        assert_eq!(required(0), ["card_version", "network", "labels", "preprocessing", "provenance"]);
        assert_eq!(required(1), ["bundle_version", "files", "models"]);
        assert!(required(2).contains(&"origin".into()) && !required(2).contains(&"init_sha256".into()));
    }
}
