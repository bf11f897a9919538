//! Older spellings of a recipe, rewritten in its tree before anything else looks at it.
//!
//! | once | now |
//! |---|---|
//! | `[[generations]]` | `[[stages]]` |
//! | `student.init = "FILE"` | `student.from = { kind = "weights", path = "FILE" }` |
//! | `student.init = { path, key, head }` | `student.from = { kind = "weights", path, key, head }` |
//!
//! Runs of older programs keep theirs in their `recipe.toml`, and are gone on with as they are.

use toml::{Table, Value};

use crate::error::{Error, Result};

/// The tree of one file in today's spelling.
///
/// # Errors
/// A file that has both spellings of one thing.
pub(super) fn modernise(tree: &mut Table) -> Result<()> {
    if let Some(stages) = tree.remove("generations") {
        once(tree, "stages", "stages", "generations")?;
        tree.insert("stages".to_owned(), stages);
    }
    if let Some(Value::Table(student)) = tree.get_mut("student")
        && let Some(start) = student.remove("init")
    {
        once(student, "from", "student.from", "student.init")?;
        student.insert("from".to_owned(), weights(start));
    }
    Ok(())
}

/// Whether a recipe names weights by the older `student.init = "FILE"`, which says all by itself: nothing of what its base
/// says of other weights holds for these.
pub(super) fn names_a_file(tree: &Table) -> bool {
    tree.get("student").and_then(|student| student.get("init")).is_some_and(Value::is_str)
}

fn once(table: &Table, key: &str, now: &str, before: &str) -> Result<()> {
    if !table.contains_key(key) {
        return Ok(());
    }
    let problem = format!("stands beside `{before}`, which is its older name\n  hint: write `{now}` only");
    Err(Error::Recipe { key: now.to_owned(), problem })
}

/// A value of `student.init` as one of `student.from`.
fn weights(start: Value) -> Value {
    let kind = || ("kind".to_owned(), Value::String("weights".to_owned()));
    match start {
        Value::String(path) => Value::Table([kind(), ("path".to_owned(), Value::String(path))].into_iter().collect()),
        Value::Table(mut start) => {
            start.extend([kind()]);
            Value::Table(start)
        }
        other => other,
    }
}

/// The dotted key of an override in today's spelling, and its value.
pub(super) fn modern_override(key: &str, value: Value) -> (String, Value) {
    for (before, now) in [("student.init", "student.from"), ("generations", "stages")] {
        match key.strip_prefix(before) {
            Some("") if now == "student.from" => return (now.to_owned(), weights(value)),
            Some(rest) if rest.is_empty() || rest.starts_with('.') => return (format!("{now}{rest}"), value),
            _ => {}
        }
    }
    (key.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use crate::recipe::{PLAIN, Recipe};

    const CE: &str = "[[losses]]\nname = \"ce\"\nweight = 1.0\nloss = { kind = \"cross-entropy\" }\n";

    fn read(student: &str, rest: &str, overrides: &[&str]) -> crate::Result<Recipe> {
        let text = PLAIN.replace("[student]\n", &format!("[student]\n{student}\n"));
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        Recipe::parse(&format!("{text}{CE}{rest}"), &overrides)
    }

    #[test]
    fn older_spellings_mean_the_same() {
        let whole = "{ path = \"a.pth\", key = \"ema\", head = \"new\" }";
        let now = "from = { kind = \"weights\", path = \"a.pth\", key = \"ema\", head = \"new\" }";
        let stages = "[[stages]]\nname = \"big\"\nnetwork = { name = \"resnet20\" }\n";
        let generations = stages.replace("stages", "generations");
        let expected = read(now, stages, &[]).unwrap();
        assert_eq!(expected.stages.len(), 1);
        assert_eq!(read(&format!("init = {whole}"), &generations, &[]).unwrap(), expected);
        let init = format!("student.init={whole}");
        assert_eq!(read("", &generations, &[&init]).unwrap(), expected);
        let plain = read("from = { kind = \"weights\", path = \"a.pth\" }", stages, &[]).unwrap();
        assert_eq!(read("init = \"a.pth\"", stages, &[]).unwrap(), plain);
        assert_eq!(read("", stages, &["student.init=a.pth"]).unwrap(), plain);
        // An override of an older name reaches what is written in either spelling.
        for student in ["init = \"b.pth\"", "from = { kind = \"weights\", path = \"b.pth\" }"] {
            assert_eq!(read(student, stages, &["student.init.path=a.pth"]).unwrap(), plain);
            assert_eq!(read(student, stages, &["student.init=a.pth"]).unwrap(), plain);
        }
        let wider = ["generations.big.network.name=resnet32"];
        let (old, new) = (read("", &generations, &wider).unwrap(), read("", stages, &wider).unwrap());
        assert_eq!(old, new);
        assert_eq!(new.stages[0].network.as_ref().map(|network| network.name.as_str()), Some("resnet32"));
        let written = expected.to_toml().unwrap();
        assert!(written.contains("[student.from]") && written.contains("[[stages]]"), "{written}");
    }

    #[test]
    fn both_spellings_of_one_thing_are_an_error() {
        let both = "init = \"a.pth\"\nfrom = { kind = \"weights\", path = \"a.pth\" }";
        let message = read(both, "", &[]).unwrap_err().to_string();
        assert!(message.contains("student.from: stands beside `student.init`"), "{message}");
        let both = "[[stages]]\nname = \"a\"\n[[generations]]\nname = \"a\"\n";
        let message = read("", both, &[]).unwrap_err().to_string();
        assert!(message.contains("stages: stands beside `generations`"), "{message}");
        let message = read("init = 3", "", &[]).unwrap_err().to_string();
        assert!(message.contains("student.from: "), "{message}");
    }
}
