//! A tree of TOML as serde reads it, with errors that stay data: which key, which names are known.
//!
//! The deserialiser of `toml` says all of that in a sentence. This one has an error of its own,
//! which serde's derived code fills with the parts.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use toml::Value;

/// Why a value is not what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// A key that its table does not have.
    UnknownKey { name: String, known: &'static [&'static str] },
    /// A word, or the `kind` of a table, that is none of those there are.
    UnknownValue { name: String, known: &'static [&'static str] },
    /// A key that must be there.
    Missing(&'static str),
    /// Something else where a list belongs.
    NoList,
    /// All else, in words.
    Other(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { name, .. } => write!(f, "unknown key `{name}`"),
            Self::UnknownValue { name, .. } => write!(f, "unknown value `{name}`"),
            Self::Missing(name) => write!(f, "`{name}` is missing"),
            Self::NoList => f.write_str("expected a list"),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::Other(problem.to_string())
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey { name: name.to_owned(), known }
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownValue { name: name.to_owned(), known }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Missing(name)
    }
}

/// A value of the tree.
pub(super) struct Node(pub(super) Value);

impl<'de> IntoDeserializer<'de, Problem> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(answer) => visitor.visit_bool(answer),
            Value::Datetime(date) => Err(Problem::Other(format!("{date} is a date; a text stands in quotes"))),
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Node));
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Value::Table(table) => {
                let mut entries = MapDeserializer::new(table.into_iter().map(|(key, value)| (key, Node(value))));
                let value = visitor.visit_map(&mut entries)?;
                entries.end().map(|()| value)
            }
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.0.is_array() { self.deserialize_any(visitor) } else { Err(Problem::NoList) }
    }

    /// TOML has no null: what is there is there.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.0 {
            Value::String(word) => word.into_deserializer().deserialize_enum(name, variants, visitor),
            Value::Table(table) => {
                let entries = table.into_iter().map(|(key, value)| (key, Node(value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(entries)))
            }
            _ => Err(Problem::Other(format!("expected one of {}", variants.join(", ")))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        Plain,
        Holds(u8),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Section {
        word: Word,
        #[serde(default)]
        list: Vec<f64>,
        #[serde(default)]
        pair: Option<[u64; 2]>,
        #[serde(default)]
        map: BTreeMap<String, bool>,
    }

    fn read(text: &str) -> Result<Section, Problem> {
        Section::deserialize(Node(Value::Table(text.parse().unwrap())))
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let section = read("word = 'plain'\nlist = [1, 2.5]\npair = [3, 4]\nmap = { a = true }").unwrap();
        let map = BTreeMap::from([("a".to_owned(), true)]);
        assert_eq!(section, Section { word: Word::Plain, list: vec![1.0, 2.5], pair: Some([3, 4]), map });
        assert_eq!(read("word = { holds = 7 }").unwrap().word, Word::Holds(7));
    }

    #[test]
    fn an_error_keeps_its_parts() {
        let known: &[&str] = &["word", "list", "pair", "map"];
        assert_eq!(read("wrod = 'plain'"), Err(Problem::UnknownKey { name: "wrod".to_owned(), known }));
        assert_eq!(read("list = []"), Err(Problem::Missing("word")));
        assert_eq!(read("word = 'plain'\nlist = 3"), Err(Problem::NoList));
        let known: &[&str] = &["plain", "holds"];
        assert_eq!(read("word = 'plane'"), Err(Problem::UnknownValue { name: "plane".to_owned(), known }));
        for wrong in
            ["word = 3", "word = 1979-05-27", "word = 'plain'\npair = [1, 2, 3]", "word = 'plain'\npair = [1, -2]"]
        {
            assert!(matches!(read(wrong), Err(Problem::Other(_))), "{wrong}");
        }
    }
}
