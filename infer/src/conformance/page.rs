//! The table of conformance as a page: what every engine answers to every case.

use std::fmt::Write as _;

use super::case::{Family, Judge};
use super::judge::Verdict;
use super::report::{Answer, Conformance, Row};

/// What stands above the tables.
const HEAD: &str = "\
# Conformance

<!-- Made by `attar conformance --markdown docs/conformance.md`. -->

Whether runtimes compute what files say. Each case is one small ONNX file about one thing that a runtime has got wrong, or may: made in memory, the same on
every machine, run with a batch and image by image. What is right is computed by a definition of our own (`infer/src/conformance/define/`): each
operation as ONNX's text has it, in `f64`, rounded once to its type; it shares nothing but the message format with the reader, the compiler or the engine `attar`, which are asked like the others.

    attar conformance                                  # every engine at hand; exits with 1 for a wrong answer that is not explained below
    attar conformance --only s8 --engine attar,tract   # cases whose name has it
    attar conformance --keep corpus                    # the files, their inputs and right answers, for other runtimes

* **right**: bytes equal; floats within 1e-5 of the answer's largest number.
* **one step**: a few bytes (2 %; where a case puts numbers at ties and fusing may round them otherwise, half) are one step off, as another right rounding has them.
* **refused**: the engine says that it does not compute the file, which is an answer that one can work with.
* **WRONG**, **CRASHED**: other numbers; a panic.

Each engine is asked by its version below, on the CPU below; `docs/conformance.json` is the same for programs. `tests/suite/conformance.rs` asks again and compares.
";

/// The page.
pub fn page(found: &Conformance) -> String {
    let mut page = HEAD.to_owned();
    let _ = write!(page, "\nCPU: {} ({}).\n\n", found.cpu.architecture, found.cpu.features.join(", "));
    let verdicts = [Verdict::Right, Verdict::OneStep, Verdict::Refused, Verdict::Wrong, Verdict::Crashed];
    let words: Vec<&str> = verdicts.iter().map(|verdict| verdict.word()).collect();
    let _ = writeln!(page, "| engine | version | cases | {} |", words.join(" | "));
    page.push_str("|---|---|---:|---:|---:|---:|---:|---:|\n");
    for asked in &found.engines {
        let counts = verdicts.map(|verdict| found.count(asked.engine, verdict).to_string());
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            asked.engine,
            asked.version,
            found.cases.len(),
            counts.join(" | ")
        );
    }
    for family in Family::ALL {
        let rows: Vec<&Row> = found.cases.iter().filter(|row| row.family == family).collect();
        if !rows.is_empty() {
            group(&mut page, found, family, &rows);
        }
    }
    faults(&mut page, found);
    page
}

fn group(page: &mut String, found: &Conformance, family: Family, rows: &[&Row]) {
    let engines: Vec<String> = found.engines.iter().map(|asked| format!("`{}`", asked.engine)).collect();
    let _ = writeln!(page, "\n## {}\n\n| case | what it is about | {} |", family.title(), engines.join(" | "));
    let _ = writeln!(page, "|---|---|{}", "---|".repeat(engines.len()));
    for row in rows {
        let verdicts: Vec<String> = row.answers.iter().map(|answer| cell(answer, row.judge)).collect();
        let _ = writeln!(page, "| `{}` | {} | {} |", row.name, row.about.replace('|', "\\|"), verdicts.join(" | "));
    }
    let mut told = String::new();
    for row in rows {
        for answer in row.answers.iter().filter(|answer| answer.said.is_some() || answer.known.is_some()) {
            let said = answer.said.as_deref().map(|said| format!("\"{}\"", said.replace('`', "'")));
            let all: Vec<String> = said.into_iter().chain(answer.known.clone()).collect();
            let _ = writeln!(told, "* `{}`, {}: {}", row.name, answer.engine, all.join(": "));
        }
    }
    if !told.is_empty() {
        let _ = write!(page, "\n{told}");
    }
}

/// A verdict and, of bytes that differ, how many do.
fn cell(answer: &Answer, judge: Judge) -> String {
    let word = answer.verdict.word();
    match (answer.verdict, judge, answer.distance) {
        (Verdict::OneStep | Verdict::Wrong, Judge::Steps { .. }, Some(distance)) => {
            format!("{word} ({:.1} % off)", distance.off * 100.0)
        }
        _ => word.to_owned(),
    }
}

fn faults(page: &mut String, found: &Conformance) {
    page.push_str(
        "\n## What the cases catch\n\nA definition with one fault is asked every case, too. A fault that no case caught would be \
         one that the corpus does not see.\n\n| fault | caught by |\n|---|---|\n",
    );
    for caught in &found.faults {
        let shown: Vec<String> = caught.by.iter().take(4).map(|name| format!("`{name}`")).collect();
        let more = match caught.by.len().saturating_sub(shown.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = writeln!(page, "| {} | {}{more} |", caught.fault.about(), shown.join(", "));
    }
}
