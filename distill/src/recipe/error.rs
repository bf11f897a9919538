//! Turns a deserialiser's message into one for people: dotted key, what is wrong, the nearest valid name.

use attar_models::nearest;

use crate::error::Error;

/// Explains why the value at `prefix` is not what was expected.
pub(super) fn explain(prefix: &str, error: &toml::de::Error) -> Error {
    let inner = error.to_string().lines().rev().find_map(key_of_line).unwrap_or_default();
    let key = join(prefix, &inner);
    let message = error.message();
    if let Some((name, known)) = unknown("unknown field", message) {
        return Error::Recipe { key: join(&key, &name), problem: suggest("unknown key", &name, &known) };
    }
    if let Some((name, known)) = unknown("unknown variant", message) {
        return Error::Recipe { key, problem: suggest(&format!("unknown value `{name}`"), &name, &known) };
    }
    Error::Recipe { key: if key.is_empty() { "(file)".to_owned() } else { key }, problem: message.trim().to_owned() }
}

/// `a.b` from toml's trailing line "in `a.b`".
fn key_of_line(line: &str) -> Option<String> {
    Some(line.strip_prefix("in `")?.strip_suffix('`')?.to_owned())
}

/// Joins two dotted keys, either of which may be empty.
pub(super) fn join(prefix: &str, key: &str) -> String {
    match (prefix.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}.{key}"),
    }
}

/// Takes "unknown field `x`, expected one of `a`, `b`" apart into `x` and `[a, b]`.
fn unknown(what: &str, message: &str) -> Option<(String, Vec<String>)> {
    let mut quoted = message.trim().strip_prefix(what)?.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((quoted.next()?, quoted.collect()))
}

/// "`what`, did you mean `near`?" and the known names.
pub(super) fn suggest(what: &str, name: &str, known: &[String]) -> String {
    let near = nearest(name, known.iter().map(String::as_str));
    let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("{what}{near}\n  known: {known}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_apart() {
        let (name, known) = unknown("unknown field", "unknown field `a`, expected one of `b`, `c`").unwrap();
        assert_eq!((name.as_str(), known.len()), ("a", 2));
        assert!(unknown("unknown field", "invalid type").is_none());
    }
}
