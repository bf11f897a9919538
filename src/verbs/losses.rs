//! `attar losses`: the losses there are, with paper, basis and settings; and one of them, explained.

use anyhow::Result;
use attar_distill::losses::{Basis, Entry, Setting, Teachers, catalog};
use attar_models::Error;

use super::print;
use crate::table;

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
    let mut text = format!("{}\n  {}\n  {}; {basis}; {teachers}\n", entry.kind, entry.summary, entry.paper);
    if !entry.settings.is_empty() {
        let row = |setting: &Setting| {
            [setting.name, setting.default.unwrap_or("-"), setting.values, setting.summary].map(str::to_owned).to_vec()
        };
        let rows: Vec<Vec<String>> = entry.settings.iter().map(row).collect();
        let settings = table::left(&["setting", "default", "values", "what it does"], &rows);
        settings.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    text
}
