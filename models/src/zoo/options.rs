//! Options of a network: any names in a file, a struct with defaults in the family that they belong to.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NetworkSpec;
use crate::error::{Error, Result, nearest};

/// The options of a network as a file writes them. What they may be is known by the network's family, when it is built.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options(BTreeMap<String, Value>);

impl Options {
    /// The option as it was written, if it was.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Sets an option. A value that JSON cannot hold becomes `null`, which no network takes.
    pub fn set(&mut self, name: &str, value: impl Serialize) {
        self.0.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
    }

    /// All that are set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// An option that a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionEntry {
    /// Its name in recipes and cards.
    pub name: &'static str,
    /// What it does, what it may be and what it is otherwise, for people.
    pub about: &'static str,
}

/// The options of one family: a struct whose fields are read from [`Options`].
pub(super) trait FamilyOptions: DeserializeOwned {
    /// One for each field.
    const ENTRIES: &'static [OptionEntry];
}

/// Declares a family's options once: the struct, its defaults, and what people are told.
macro_rules! options {
    ($(#[$doc:meta])* $name:ident { $(#[doc = $about:literal] $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name {
            $(#[doc = $about] pub(super) $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::zoo::options::FamilyOptions for $name {
            const ENTRIES: &'static [$crate::zoo::OptionEntry] =
                &[$($crate::zoo::OptionEntry { name: stringify!($field), about: $about.trim_ascii() },)*];
        }
    };
}
pub(super) use options;

/// The options of `spec` as those of its family.
///
/// # Errors
/// [`Error::Option`]: one that the family does not have, or a value that it cannot be.
pub(super) fn read<O: FamilyOptions>(spec: &NetworkSpec) -> Result<O> {
    let names = || O::ENTRIES.iter().map(|entry| entry.name);
    let fail = |option: &str, problem: String| Err(Error::Option { option: option.to_owned(), problem });
    for (option, value) in spec.options.iter() {
        if !names().any(|name| name == option) {
            let advice = match nearest(option, names()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("it has {}; remove this one", names().collect::<Vec<_>>().join(", ")),
            };
            return fail(option, format!("`{}` has no such option\n  hint: {advice}", spec.name));
        }
        let alone = serde_json::Map::from_iter([(option.to_owned(), value.clone())]);
        if let Err(error) = serde_json::from_value::<O>(Value::Object(alone)) {
            return fail(option, error.to_string());
        }
    }
    let all = spec.options.0.clone().into_iter().collect();
    serde_json::from_value(Value::Object(all)).or_else(|error| fail("options", error.to_string()))
}

/// Refuses a width multiplier that makes no network.
///
/// # Errors
/// [`Error::Option`] for anything but more than 0 and at most 10.
pub(super) fn check_width(width: f64) -> Result<()> {
    if width > 0.0 && width <= 10.0 {
        return Ok(());
    }
    let problem = format!("{width}, expected more than 0, at most 10");
    Err(Error::Option { option: "width".to_owned(), problem })
}
