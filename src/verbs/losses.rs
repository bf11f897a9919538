//! `attar losses`: the losses there are, with paper, basis and settings; and one of them, explained.

use anyhow::Result;
use attar_distill::losses::{Basis, Entry, Setting, Teachers, catalog};
use attar_models::Error;

use super::print;

/// Characters that fit most terminals.
const WIDTH: usize = 100;

/// Lists the losses that recipes are made of: what each asks of the student, its paper, its settings and their defaults.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  attar losses\n  attar losses --json\n  attar distill --explain kd")]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.json {
        return print(&serde_json::to_string_pretty(catalog())?);
    }
    let rest = "one of them: attar distill --explain KIND";
    let all: Vec<String> = catalog().iter().map(text).collect();
    print(&format!("{}\n{} losses; {rest}", all.join("\n"), all.len()))
}

/// Prints what one kind of loss is.
pub(crate) fn explain(kind: &str, json: bool) -> Result<()> {
    let kinds: Vec<&str> = catalog().iter().map(|entry| entry.kind).collect();
    let entry = catalog().iter().find(|entry| entry.kind == kind);
    let entry = entry.ok_or_else(|| Error::unknown("loss", kind, &kinds))?;
    print(&if json { serde_json::to_string_pretty(entry)? } else { text(entry) })
}

fn text(entry: &Entry) -> String {
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
    for Setting { name, values, default, summary } in entry.settings {
        let default = default.map(|default| format!(" = {default}")).unwrap_or_default();
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
}
