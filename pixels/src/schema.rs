//! Schemas, for editors and references, of the sizes that are [read](crate::size) by hand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::preprocessing::{Interpolation, Resize, ResizeTo};

/// One number for a square, or `[height, width]`.
#[derive(Debug)]
pub struct Pair;

impl JsonSchema for Pair {
    fn schema_name() -> Cow<'static, str> {
        "Pair".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pixels = json_schema!({ "type": "integer", "minimum": 1 });
        json_schema!({
            "anyOf": [pixels, { "type": "array", "items": pixels, "minItems": 2, "maxItems": 2 }],
            "x-unit": "pixels",
        })
    }
}

impl JsonSchema for Resize {
    fn schema_name() -> Cow<'static, str> {
        "Resize".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let pixels = json_schema!({ "type": "integer", "minimum": 1 });
        let (to, by) = (generator.subschema_for::<ResizeTo>(), generator.subschema_for::<Interpolation>());
        json_schema!({
            "description": "A resize to a target with PIL's antialiased filters.",
            "anyOf": [
                { "type": "integer", "minimum": 1, "description": "The length of the shorter edge, bilinear." },
                {
                    "type": "array",
                    "items": pixels,
                    "minItems": 2,
                    "maxItems": 2,
                    "description": "`[height, width]`, bilinear.",
                },
                {
                    "type": "object",
                    "description": "Target and filter.",
                    "properties": {
                        "to": { "description": "Target size.", "allOf": [to] },
                        "interpolation": { "description": "Filter.", "allOf": [by], "default": "bilinear" },
                    },
                    "required": ["to"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}
