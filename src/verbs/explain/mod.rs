//! `--explain`: a kind of loss, a method that is a setting of one, or a part of the recipe language, in a few lines.

mod topics;

use anyhow::Result;
use attar_distill::losses::{Basis, Described, Setting, Teachers, catalog, described};
use attar_models::Error;
use schemars::JsonSchema;
use serde::Serialize;

use super::{new, print};
use topics::{METHODS, TOPICS};

/// Characters that fit most terminals.
const WIDTH: usize = 100;

/// What a word means, as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Explained {
    /// A kind of loss.
    Loss(Described),
    /// A method or a topic.
    Word { name: String, text: String },
}

/// Prints what `name` is. Kinds of loss come first, then methods, then topics; a name that is none gets the nearest of all.
pub(crate) fn explain(name: &str, json: bool) -> Result<()> {
    let name = name.to_lowercase();
    if let Some(loss) = described().into_iter().find(|loss| loss.entry.kind == name) {
        return print(&if json { super::versioned(&Explained::Loss(loss))? } else { text(&loss) });
    }
    let Some((called, said)) = said(&name) else {
        return Err(Error::unknown("loss, method or topic", &name, &known()).into());
    };
    if json {
        return print(&super::versioned(&Explained::Word { name: called.to_owned(), text: said })?);
    }
    print(&said)
}

/// Every name that is known, each once.
fn known() -> Vec<&'static str> {
    let methods = METHODS.iter().flat_map(|method| method.names);
    let topics = TOPICS.iter().flat_map(|topic| topic.names);
    catalog().iter().map(|entry| entry.kind).chain(methods.copied()).chain(topics.copied()).collect()
}

/// One line for people who want to know what there is to ask for.
pub(crate) fn overview() -> String {
    let first = |names: &'static [&'static str]| names[0];
    let methods: Vec<&str> = METHODS.iter().map(|method| first(method.names)).collect();
    let topics: Vec<&str> = TOPICS.iter().map(|topic| first(topic.names)).collect();
    format!("methods that are settings of a loss: {}\ntopics: {}", methods.join(", "), topics.join(", "))
}

/// The text of a method or a topic, with its first name.
fn said(name: &str) -> Option<(&'static str, String)> {
    if let Some(method) = METHODS.iter().find(|method| method.names.contains(&name)) {
        let mut lines = vec![method.names.join(", ")];
        lines.extend(wrapped(method.text, 2));
        let setting = method.kind.map(|kind| format!("; by the loss `{kind}`")).unwrap_or_default();
        lines.extend(wrapped(&format!("{}{setting}", method.paper), 2));
        if let Some(tables) = method.recipe.and_then(new::tables) {
            lines.push("  in a recipe (`attar new ... --method` writes it):".to_owned());
            lines.extend(tables.lines().map(|line| format!("    {line}").trim_end().to_owned()));
        }
        return Some((method.names[0], lines.join("\n") + "\n"));
    }
    let topic = TOPICS.iter().find(|topic| topic.names.contains(&name))?;
    let mut lines = vec![topic.names.join(", ")];
    lines.extend(wrapped(topic.text, 2));
    lines.extend(topic.example.lines().map(|line| format!("    {line}").trim_end().to_owned()));
    Some((topic.names[0], lines.join("\n") + "\n"))
}

/// A kind of loss, for people.
pub(crate) fn text(Described { entry, settings }: &Described) -> String {
    let basis = match entry.basis {
        Basis::AuthorsCode => "from the authors' or the benchmark's code",
        Basis::Paper => "from the paper",
        Basis::Reading => "our reading of the paper",
    };
    let teachers = match entry.teachers {
        Teachers::None => "no teacher",
        Teachers::One => "one teacher",
        Teachers::Many => "one teacher or more",
    };
    let mut lines = vec![entry.kind.to_owned()];
    lines.extend(wrapped(entry.summary, 2));
    lines.extend(wrapped(&format!("{}; {basis}; {teachers}", entry.paper), 2));
    for Setting { name, values, default, summary } in settings {
        let default = default.as_ref().map(|default| format!(" = {default}")).unwrap_or_default();
        lines.extend(wrapped(&format!("{name}{default}: {values}"), 4));
        lines.extend(wrapped(summary, 8));
    }
    lines.join("\n") + "\n"
}

/// Words in lines of at most [`WIDTH`] characters, all indented.
fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_between_words() {
        let lines = wrapped(&"word ".repeat(50), 4);
        assert!(
            lines.len() > 2 && lines.iter().all(|line| line.chars().count() <= WIDTH && line.starts_with("    word"))
        );
        assert_eq!(wrapped("short", 2), ["  short"]);
    }

    #[test]
    fn every_name_means_one_thing() {
        let mut names = known();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice");
        for method in METHODS {
            let kind = catalog().iter().any(|entry| Some(entry.kind) == method.kind);
            assert!(method.kind.is_none() || kind, "{} is a setting of no loss", method.names[0]);
            assert!(method.recipe.is_none_or(|name| new::tables(name).is_some()), "{}", method.names[0]);
        }
    }

    /// The settings that a text speaks of exist: they stand in the recipe that it shows.
    #[test]
    fn methods_say_the_kind_that_their_recipe_has() {
        for method in METHODS {
            let (Some(kind), Some(recipe)) = (method.kind, method.recipe) else { continue };
            let tables = new::tables(recipe).unwrap_or_default();
            assert!(tables.contains(&format!("kind = \"{kind}\"")), "{}", method.names[0]);
        }
    }
}
