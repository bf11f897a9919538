//! How a schedule may be written, for editors and the reference; [`read`](super::read) reads it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Join, Knots, Unit};

impl JsonSchema for Knots {
    fn schema_name() -> Cow<'static, str> {
        "Knots".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (join, unit) = (generator.subschema_for::<Join>(), generator.subschema_for::<Unit>());
        json_schema!({
            "description": "A number that changes over the run: a piecewise schedule.",
            "anyOf": [
                { "type": "number", "description": "The same at all times." },
                {
                    "type": "object",
                    "description": "Values at some times, and what lies between. Before the first knot the first value \
                                    holds, after the last one the last.",
                    "properties": {
                        "at": {
                            "description": "The knots `[time, value]`, times increasing. Epochs count from 1; a run of \
                                            `E` epochs ends at `E + 1`.",
                            "type": "array",
                            "items": { "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 },
                            "minItems": 1,
                        },
                        "join": {
                            "description": "How the gaps between knots are crossed: all alike, or each as a list says.",
                            "anyOf": [join, { "type": "array", "items": join }],
                            "default": "hold",
                        },
                        "unit": { "description": "What times are counted in.", "allOf": [unit], "default": "epochs" },
                    },
                    "required": ["at"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}
