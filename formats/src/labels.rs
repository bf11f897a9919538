//! Names of classes as people keep them: one a line, a JSON list or table, Hugging Face's `id2label`, timm's `label_names`,
//! a Python dictionary as Ultralytics writes it into an ONNX file.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files;

/// Reads the names in the file at `path`, in the order of the logits.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for what [`parse`] refuses.
pub fn read(path: &Path) -> Result<Vec<String>> {
    let text =
        files::read_text(path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    parse(&text).map_err(|problem| Error::Format { path: path.to_owned(), problem })
}

/// Names out of a text: JSON where it begins as JSON does, else one a line (empty lines at the end are none).
///
/// # Errors
/// In words for people: not JSON, numbers of classes that leave a gap, a name that is empty or not one line, no name at all.
pub fn parse(text: &str) -> Result<Vec<String>, String> {
    let names = match text.trim_start().starts_with(['{', '[']) {
        true => {
            let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
            of_json(&value)?
        }
        false => text.trim_end().lines().map(|line| line.trim_end_matches('\r').to_owned()).collect(),
    };
    checked(names)
}

fn of_json(value: &Value) -> Result<Vec<String>, String> {
    let name = |value: &Value| {
        value.as_str().map(str::to_owned).ok_or_else(|| format!("{value} is not the name of a class, expected a text"))
    };
    match value {
        Value::Array(names) => names.iter().map(name).collect(),
        Value::Object(table) => match ["id2label", "label_names"].iter().find_map(|key| table.get(*key)) {
            Some(inner @ (Value::Array(_) | Value::Object(_))) => of_json(inner),
            Some(other) => Err(format!("names of classes are {other}, expected a list or a table")),
            None => numbered(table)?.into_iter().map(|value| name(&value)).collect(),
        },
        _ => Err("expected a list of names, or a table of numbers and names".to_owned()),
    }
}

/// The values of a table whose keys count from 0, in that order.
fn numbered(table: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let number = |key: &String| {
        let hint = "expected {\"0\": name, ...}, or Hugging Face's `id2label`, or timm's `label_names`";
        key.parse::<usize>().map_err(|_| format!("`{key}` is not the number of a class; {hint}"))
    };
    let found =
        table.iter().map(|(key, value)| Ok((number(key)?, value.clone()))).collect::<Result<Vec<_>, String>>()?;
    in_order(found)
}

/// What is numbered from 0 without a gap, in order.
fn in_order<T>(found: Vec<(usize, T)>) -> Result<Vec<T>, String> {
    let count = found.len();
    let sorted: BTreeMap<usize, T> = found.into_iter().collect();
    match (0..count).find(|number| !sorted.contains_key(number)) {
        None => Ok(sorted.into_values().collect()),
        Some(missing) => Err(format!("there are {count} names, but none for the class {missing}")),
    }
}

fn checked(names: Vec<String>) -> Result<Vec<String>, String> {
    if names.is_empty() {
        return Err("no names of classes".to_owned());
    }
    match names.iter().position(|name| name.is_empty() || name.contains(['\n', '\r'])) {
        None => Ok(names),
        Some(at) => Err(format!("the name of the class {at} is {:?}, expected one line of text", names[at])),
    }
}

/// Names out of a Python literal, `{0: 'tench', 1: "jack-o'-lantern"}` or `['cat', 'dog']`, as `repr` writes it. Nothing
/// of it is executed.
///
/// # Errors
/// In words for people: anything but such a literal.
pub fn of_python(text: &str) -> Result<Vec<String>, String> {
    let mut reader = Literal { rest: text.chars().peekable() };
    let names = reader.whole().ok_or("not a Python dictionary of numbers and names, or list of names")?;
    checked(in_order(names)?)
}

struct Literal<'t> {
    rest: Peekable<Chars<'t>>,
}

impl Literal<'_> {
    fn whole(&mut self) -> Option<Vec<(usize, String)>> {
        let close = match self.token()? {
            '{' => '}',
            '[' => ']',
            '(' => ')',
            _ => return None,
        };
        let mut names: Vec<(usize, String)> = Vec::new();
        loop {
            if self.accept(close) {
                break;
            }
            let number = if close == '}' { self.number()? } else { names.len() };
            let quote = self.token()?;
            names.push((number, self.text(quote)?));
            if !self.accept(',') {
                self.accept(close).then_some(())?;
                break;
            }
        }
        self.skip();
        self.rest.peek().is_none().then_some(names)
    }

    fn skip(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn token(&mut self) -> Option<char> {
        self.skip();
        self.rest.next()
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip();
        self.rest.next_if_eq(&wanted).is_some()
    }

    /// `12:`
    fn number(&mut self) -> Option<usize> {
        self.skip();
        let digits: String = std::iter::from_fn(|| self.rest.next_if(char::is_ascii_digit)).collect();
        let number = digits.parse().ok()?;
        self.accept(':').then_some(number)
    }

    /// What stands between quotes, with Python's escapes.
    fn text(&mut self, quote: char) -> Option<String> {
        if !matches!(quote, '\'' | '"') {
            return None;
        }
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '\\' => text.push(self.escaped()?),
                c if c == quote => return Some(text),
                c => text.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let digits = match self.rest.next()? {
            'n' => return Some('\n'),
            'r' => return Some('\r'),
            't' => return Some('\t'),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            c @ ('\\' | '\'' | '"') => return Some(c),
            _ => return None,
        };
        let number = (0..digits).try_fold(0, |sum, _| Some(sum * 16 + self.rest.next()?.to_digit(16)?))?;
        char::from_u32(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_the_names_in_order() {
        let texts = [
            "cat\ndog\nowl\n",
            "cat\r\ndog\r\nowl\r\n\r\n",
            r#"["cat", "dog", "owl"]"#,
            r#"{"2": "owl", "0": "cat", "1": "dog"}"#,
            r#"{"model_type": "vit", "id2label": {"0": "cat", "1": "dog", "2": "owl"}, "label2id": {"cat": 0}}"#,
            r#"{"architecture": "vit", "label_names": ["cat", "dog", "owl"], "pretrained_cfg": {}}"#,
        ];
        for text in texts {
            assert_eq!(parse(text).unwrap(), ["cat", "dog", "owl"], "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_names_is_refused() {
        let cases = [
            ("", "no names"),
            ("[]", "no names"),
            ("cat\n\ndog", "the class 1"),
            ("[1]", "not the name of a class"),
            (r#"{"0": "cat", "2": "dog"}"#, "none for the class 1"),
            (r#"{"0": "cat", "00": "dog"}"#, "none for the class 1"),
            (r#"{"cat": 0}"#, "`cat` is not the number of a class"),
            (r#"{"id2label": 3}"#, "names of classes are 3"),
            ("{", "not JSON"),
        ];
        for (text, why) in cases {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(why), "{text}: {problem}");
        }
    }

    #[test]
    fn python_literals_are_read_and_not_run() {
        let text = r#"{0: 'tench', 1: "jack-o'-lantern", 2: 'caf\xe9 \'x\' \\', 3: '\u00fc'}"#;
        assert_eq!(of_python(text).unwrap(), ["tench", "jack-o'-lantern", "café 'x' \\", "ü"]);
        assert_eq!(of_python("['a', 'b',]").unwrap(), ["a", "b"]);
        assert_eq!(of_python("{1: 'b', 0: 'a'}").unwrap(), ["a", "b"]);
        for text in ["", "{0: open('x')}", "{0: 'a'} + 1", "{0: 'a'", "{0 'a'}", "{'a': 0}", "'a'", "{0: 'a\\q'}", "{}"]
        {
            assert!(of_python(text).is_err(), "{text}");
        }
        assert!(of_python("{0: 'a', 2: 'b'}").unwrap_err().contains("the class 1"));
    }
}
