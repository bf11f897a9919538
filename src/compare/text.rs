//! The comparison as people read it: on a terminal, as Markdown, as a spreadsheet, as a picture.

use std::fmt::Write as _;

use attar_measures::MeanSd;

use super::summary::Pair;
use super::{Comparison, Method};
use crate::report::{Dots, dot_plot};
use crate::table::{self, si};

/// Columns of the table; those with differences are called after the recipe compared with.
const COLUMNS: [&str; 11] = ["method", "seeds", "last", "best", "", "", "NLL", "ECE", "like teacher", "step", "memory"];

impl Comparison {
    /// For a terminal.
    pub fn text(&self) -> String {
        let header = self.header();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> = self.methods.iter().map(|method| self.cells(method)).collect();
        let mut text = table::render(&header, &rows) + "\n";
        for (method, pair) in self.pairs() {
            let _ = writeln!(text, "{}, seed {}: {}", method.name, pair.seed, self.pair_text(pair));
        }
        self.remarks().iter().for_each(|line| text.push_str(&format!("{line}\n")));
        text
    }

    /// `table.md`.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let header = self.header();
        let mut text = line(&header);
        text += &line(&vec!["---".to_owned(); header.len()]);
        self.methods.iter().for_each(|method| text += &line(&self.cells(method)));
        text.push('\n');
        for (method, pair) in self.pairs() {
            let _ = writeln!(text, "* {}, seed {}: {}", method.name, pair.seed, self.pair_text(pair));
        }
        self.remarks().iter().for_each(|line| text.push_str(&format!("* {}\n", line.replace('\n', " "))));
        text
    }

    /// `table.csv`: a row a method, numbers unrounded, what is not known empty.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "method,runs,test_top1_last,test_top1_last_sd,test_top1_best,test_top1_best_sd,difference_last,difference_last_sd,difference_best,difference_best_sd,nll,ece,agreement,seconds_per_step,step_ratio,peak_memory_bytes\n",
        );
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let both = |spread: Option<MeanSd>| format!("{},{}", number(mean(spread)), number(spread.and_then(|s| s.sd)));
        for Method { name, summary, .. } in &self.methods {
            let against = summary.against.as_ref();
            let cells = [
                if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.clone() },
                summary.runs.to_string(),
                both(summary.last),
                both(summary.best),
                both(against.and_then(|against| against.last)),
                both(against.and_then(|against| against.best)),
                number(mean(summary.nll)),
                number(mean(summary.ece)),
                number(mean(summary.agreement)),
                number(mean(summary.seconds_per_step)),
                number(against.and_then(|against| against.step_ratio)),
                summary.peak_memory_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            ];
            text += &(cells.join(",") + "\n");
        }
        text
    }

    /// `plot.svg`: every run a dot.
    pub fn plot(&self) -> String {
        let row = |method: &Method| Dots {
            name: method.name.clone(),
            values: method.runs.iter().filter_map(|run| Some(run.outcome.as_ref()?.test_top1_last)).collect(),
        };
        let rows: Vec<Dots> = self.methods.iter().map(row).collect();
        let mark = self.methods.iter().find(|method| method.name == self.against).and_then(|m| mean(m.summary.last));
        dot_plot("Test accuracy after the last epoch, %: runs and their mean", &rows, mark)
    }

    fn header(&self) -> Vec<String> {
        let mut header = COLUMNS.map(str::to_owned).to_vec();
        for (at, which) in [(4, "last"), (5, "best")] {
            header[at] = format!("{which} - {}", self.against);
        }
        header
    }

    fn cells(&self, method: &Method) -> Vec<String> {
        let summary = &method.summary;
        let difference = |spread: Option<MeanSd>| spread.map(|spread| text(spread, true)).unwrap_or_default();
        let absent = || "-".to_owned();
        let plain = |spread: Option<MeanSd>| spread.map_or_else(absent, |spread| text(spread, false));
        let against = summary.against.as_ref();
        let step = match against {
            None if method.name == self.against => "1".to_owned(),
            None => absent(),
            Some(against) => against.step_ratio.map_or_else(absent, |ratio| {
                let elsewhere = if against.same_call { "" } else { "*" };
                format!("{ratio:.2}{elsewhere}")
            }),
        };
        let noted = if method.note.is_some() { " (note)" } else { "" };
        vec![
            format!("{}{noted}", method.name),
            format!("{} of {}", summary.runs, self.seeds),
            plain(summary.last),
            plain(summary.best),
            difference(against.and_then(|against| against.last)),
            difference(against.and_then(|against| against.best)),
            mean(summary.nll).map_or_else(absent, |nll| format!("{nll:.3}")),
            mean(summary.ece).map_or_else(absent, |ece| format!("{ece:.3}")),
            mean(summary.agreement).map_or_else(absent, |agreement| format!("{agreement:.1}")),
            step,
            summary.peak_memory_bytes.map_or_else(absent, |bytes| si(bytes as f64) + "B"),
        ]
    }

    fn pairs(&self) -> impl Iterator<Item = (&Method, &Pair)> {
        self.methods.iter().flat_map(|method| {
            let pairs = method.summary.against.iter().flat_map(|against| &against.seeds);
            pairs.map(move |pair| (method, pair))
        })
    }

    fn pair_text(&self, pair: &Pair) -> String {
        let images = pair.images.map(|images| {
            let [low, high] = images.interval;
            format!(
                "; exported weights {:+.2} [{low:+.2}, {high:+.2}] ({} images gained, {} lost)",
                images.difference, images.gained, images.lost
            )
        });
        format!("{:+.2} last, {:+.2} best against {}{}", pair.last, pair.best, self.against, images.unwrap_or_default())
    }

    /// What a reader of the table should know.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for method in &self.methods {
            for run in &method.runs {
                if let Some(failure) = &run.failure {
                    remarks.push(format!("FAILED: {}, seed {}: {failure}", method.name, run.seed));
                }
            }
        }
        for method in &self.methods {
            remarks.extend(method.note.iter().map(|note| format!("note: {}: {note}", method.name)));
        }
        remarks.extend(self.unequal.iter().map(|line| format!("NOT EQUAL: {line}")));
        remarks.extend(self.notes.iter().map(|line| format!("also different: {line}")));
        let against = |method: &Method| method.summary.against.as_ref().is_some_and(|against| !against.same_call);
        if self.methods.iter().any(against) {
            remarks.push("* steps timed by different calls".to_owned());
        }
        remarks
    }
}

fn mean(spread: Option<MeanSd>) -> Option<f64> {
    spread.map(|spread| spread.mean)
}

fn text(spread: MeanSd, signed: bool) -> String {
    let mean = if signed { format!("{:+.2}", spread.mean) } else { format!("{:.2}", spread.mean) };
    spread.sd.map_or(mean.clone(), |sd| format!("{mean} ± {sd:.2}"))
}
