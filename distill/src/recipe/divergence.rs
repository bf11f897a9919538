//! `train.on_divergence`: what a run does when a loss, a gradient or a weight is no finite number any more.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `"stop"`, `"rollback"`, or `{ kind = "rollback", factor = 0.5, most = 3 }`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OnDivergence {
    /// The run ends; its last checkpoint is kept.
    #[default]
    Stop,
    /// It goes back to the last checkpoint (to its start, where there is none) and on with a smaller learning rate.
    Rollback {
        /// What the learning rate is multiplied with, each time.
        factor: f64,
        /// How often; after that the run ends as with `stop`.
        most: usize,
    },
}

impl OnDivergence {
    /// As the word alone means it.
    pub const ROLLBACK: Self = Self::Rollback { factor: 0.5, most: 3 };

    pub(super) fn is_stop(&self) -> bool {
        *self == Self::Stop
    }

    /// Checks the numbers.
    pub(crate) fn check(self) -> Result<()> {
        let fail = |setting: &str, problem: String| {
            Err(Error::Recipe { key: format!("train.on_divergence.{setting}"), problem })
        };
        match self {
            Self::Rollback { factor, .. } if !(factor > 0.0 && factor < 1.0) => {
                fail("factor", format!("{factor}, expected above 0 and below 1, e.g. 0.5"))
            }
            Self::Rollback { most: 0, .. } => fail("most", "0, expected at least 1".to_owned()),
            _ => Ok(()),
        }
    }
}

impl JsonSchema for OnDivergence {
    fn schema_name() -> Cow<'static, str> {
        "OnDivergence".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let stop = "The run ends; its last checkpoint is kept.";
        let rollback = "It goes back to the last checkpoint (to its start, where there is none) and on with a smaller \
                        learning rate.";
        json_schema!({
            "description": "What to do when a loss, a gradient or a weight is no finite number any more.",
            "anyOf": [
                { "const": "stop", "description": stop },
                { "const": "rollback", "description": rollback },
                {
                    "type": "object",
                    "description": stop,
                    "properties": { "kind": { "const": "stop" } },
                    "required": ["kind"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "description": rollback,
                    "properties": {
                        "kind": { "const": "rollback" },
                        "factor": {
                            "type": "number",
                            "description": "What the learning rate is multiplied with, each time.",
                            "exclusiveMinimum": 0,
                            "exclusiveMaximum": 1,
                            "default": 0.5,
                        },
                        "most": {
                            "type": "integer",
                            "description": "How often; after that the run ends as with `stop`.",
                            "minimum": 1,
                            "default": 3,
                        },
                    },
                    "required": ["kind"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

const KINDS: &[&str] = &["stop", "rollback"];
const FIELDS: &[&str] = &["kind", "factor", "most"];

impl<'de> Deserialize<'de> for OnDivergence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// Read by hand: serde's untagged enums do not say what is wrong.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = OnDivergence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"stop\", \"rollback\" or { kind = \"rollback\", factor = 0.5, most = 3 }")
    }

    fn visit_str<E: serde::de::Error>(self, kind: &str) -> std::result::Result<OnDivergence, E> {
        match kind {
            "stop" => Ok(OnDivergence::Stop),
            "rollback" => Ok(OnDivergence::ROLLBACK),
            other => Err(E::unknown_variant(other, KINDS)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<OnDivergence, A::Error> {
        let (mut kind, mut factor, mut most) = (None::<String>, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "kind" => kind = Some(map.next_value()?),
                "factor" => factor = Some(map.next_value()?),
                "most" => most = Some(map.next_value()?),
                other => return Err(A::Error::unknown_field(other, FIELDS)),
            }
        }
        let kind = kind.ok_or_else(|| A::Error::custom("`kind` is missing, expected \"stop\" or \"rollback\""))?;
        match self.visit_str::<A::Error>(&kind)? {
            OnDivergence::Rollback { factor: usual, most: times } => {
                Ok(OnDivergence::Rollback { factor: factor.unwrap_or(usual), most: most.unwrap_or(times) })
            }
            OnDivergence::Stop if factor.is_none() && most.is_none() => Ok(OnDivergence::Stop),
            OnDivergence::Stop => Err(A::Error::custom("`factor` and `most` are settings of \"rollback\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{PLAIN, Recipe};

    fn read(value: &str) -> Result<OnDivergence> {
        let loss = "[[losses]]\nname = \"ce\"\nweight = 1.0\nloss = { kind = \"cross-entropy\" }\n";
        let recipe = Recipe::parse(&format!("{PLAIN}{loss}"), &[format!("train.on_divergence={value}")])?;
        let again = Recipe::parse(&recipe.to_toml()?, &[])?;
        assert_eq!(recipe, again, "written and read back");
        recipe.train.on_divergence.check()?;
        Ok(recipe.train.on_divergence)
    }

    #[test]
    fn a_word_or_a_table() {
        assert_eq!(read("stop").unwrap(), OnDivergence::Stop);
        assert_eq!(read("rollback").unwrap(), OnDivergence::Rollback { factor: 0.5, most: 3 });
        let table = "{ kind = \"rollback\", factor = 0.1 }";
        assert_eq!(read(table).unwrap(), OnDivergence::Rollback { factor: 0.1, most: 3 });
        let message = |value: &str| read(value).unwrap_err().to_string();
        assert!(message("rolback").contains("rollback"), "{}", message("rolback"));
        assert!(message("{ kind = \"rollback\", factor = 1.5 }").contains("below 1"));
        assert!(message("{ kind = \"rollback\", most = 0 }").contains("at least 1"));
        assert!(message("{ kind = \"stop\", most = 2 }").contains("settings of \"rollback\""));
        assert!(message("{ kind = \"rollback\", times = 2 }").contains("times"));
    }
}
