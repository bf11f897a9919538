//! Sizes as people write them: one number for a square, or `[height, width]`.

use serde::de::{Deserialize, Deserializer, SeqAccess, Unexpected, Visitor, value::MapAccessDeserializer};

use crate::preprocessing::{Interpolation, Resize, ResizeTo};

/// One number or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    One(usize),
    Two([usize; 2]),
}

impl Written {
    fn pair(self) -> [usize; 2] {
        match self {
            Self::One(size) => [size; 2],
            Self::Two(sizes) => sizes,
        }
    }
}

struct Sizes;

const EXPECTED: &str = "a number, or [height, width]";

impl<'de> Visitor<'de> for Sizes {
    type Value = Written;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Written, E> {
        let size = usize::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))?;
        Ok(Written::One(size))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Written, E> {
        let size = usize::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))?;
        Ok(Written::One(size))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Written, A::Error> {
        let (first, second) = (items.next_element()?, items.next_element()?);
        match (first, second, items.next_element::<usize>()?) {
            (Some(height), Some(width), None) => Ok(Written::Two([height, width])),
            _ => Err(serde::de::Error::custom(format!("expected {EXPECTED}"))),
        }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Sizes)
    }
}

/// `[height, width]`, or one number for both.
///
/// # Errors
/// Anything else.
pub fn pair<'de, D: Deserializer<'de>>(from: D) -> Result<[usize; 2], D::Error> {
    Written::deserialize(from).map(Written::pair)
}

/// [`pair`], or nothing.
pub(crate) fn pair_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[usize; 2]>, D::Error> {
    Ok(Option::<Written>::deserialize(from)?.map(Written::pair))
}

struct Resizes;

/// A resize written out.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    to: ResizeTo,
    #[serde(default = "bilinear")]
    interpolation: Interpolation,
}

fn bilinear() -> Interpolation {
    Interpolation::Bilinear
}

impl<'de> Visitor<'de> for Resizes {
    type Value = Resize;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the length of the shorter edge, [height, width], or { to, interpolation }")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Resize, E> {
        Sizes.visit_u64(value).map(resize)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Resize, E> {
        Sizes.visit_i64(value).map(resize)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Resize, A::Error> {
        Sizes.visit_seq(items).map(resize)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Resize, A::Error> {
        let Spelled { to, interpolation } = Spelled::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Resize { to, interpolation })
    }
}

/// As torchvision's `Resize`: a number is the shorter edge, a pair is exact; bilinear.
fn resize(written: Written) -> Resize {
    let to = match written {
        Written::One(edge) => ResizeTo::ShorterEdge(edge),
        Written::Two(size) => ResizeTo::Exact(size),
    };
    Resize { to, interpolation: Interpolation::Bilinear }
}

impl<'de> Deserialize<'de> for Resize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Resizes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::Preprocessing;

    #[test]
    fn a_number_and_a_pair_are_read_and_written_as_before() {
        let read = |resize: serde_json::Value, crop: serde_json::Value| {
            let value = json!({"channels": 1, "mean": [0.5], "std": [0.5], "resize": resize, "crop": crop});
            serde_json::from_value::<Preprocessing>(value)
        };
        let spelled = |to: serde_json::Value| json!({"to": to, "interpolation": "bilinear"});
        let exact = read(spelled(json!({"exact": [160, 160]})), json!([144, 144])).unwrap();
        assert_eq!(read(spelled(json!({"exact": 160})), json!(144)).unwrap(), exact);
        assert_eq!(read(json!([160, 160]), json!(144)).unwrap(), exact);
        assert_eq!(read(json!({"to": {"exact": 160}}), json!(144)).unwrap(), exact);
        let edge = read(spelled(json!({"shorter-edge": 160})), json!(null)).unwrap();
        assert_eq!(read(json!(160), json!(null)).unwrap(), edge);
        let written = serde_json::to_value(&exact).unwrap();
        let (resize, crop) = (&written["resize"], &written["crop"]);
        assert_eq!((resize, crop), (&spelled(json!({"exact": [160, 160]})), &json!([144, 144])));
        for (resize, crop, said) in [
            (json!(-1), json!(1), "`-1`"),
            (json!("160"), json!(1), "the length of the shorter edge"),
            (json!([1, 2, 3]), json!(1), "a number, or [height, width]"),
            (json!(1), json!([1]), "a number, or [height, width]"),
            (json!({"to": {"exact": 1}, "filter": "bilinear"}), json!(1), "unknown field `filter`"),
        ] {
            let error = read(resize, crop).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
