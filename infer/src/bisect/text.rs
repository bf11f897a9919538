//! What was found out, for people.

use std::fmt;

use super::measure::{Errors, FLOATS, QUANTISING, Unit};
use super::report::{Bisection, Compared, Finding, Found, SideFacts};

/// Rows of the table at most; JSON has all.
const ROWS: usize = 40;

impl fmt::Display for SideFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match (&self.engine, &self.engine_version) {
            (Some(engine), Some(version)) => write!(f, " in {engine} {version}"),
            (Some(engine), None) => write!(f, " in {engine}"),
            (None, _) => write!(f, ", recorded"),
        }
    }
}

fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v > 1e30 => "inf".to_owned(),
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 0.01 => format!("{v:.3}"),
        v => format!("{v:.1e}"),
    }
}

/// `0.001 spreads`, `3 quanta`.
pub(super) fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Quanta if value <= 1e30 => format!("{} quanta", (value * 100.0).round() / 100.0),
        Unit::Quanta | Unit::Spreads => format!("{} spreads", number(value)),
    }
}

/// What was found at a node, in a sentence.
pub(super) fn sentence(found: &Found, compared: Option<&Compared>) -> String {
    let node = match found.node == found.value {
        true => format!("{} `{}`", found.op, found.node),
        false => format!("{} `{}` (value `{}`)", found.op, found.node, found.value),
    };
    let Some(row) = compared else { return node };
    let own = row.own.map(|own| amount(own.max, row.unit)).unwrap_or_default();
    let total = amount(row.total.max, row.unit);
    let clipped = |errors: &Errors| match errors.clipped {
        Some(part) if part > 0.0 => {
            format!("; {:.1} % of the other side's numbers lie beyond its bytes' range", 100.0 * part)
        }
        _ => String::new(),
    };
    match found.finding {
        Finding::Own => {
            let own_errors = row.own.unwrap_or(row.total);
            let off = match row.unit {
                Unit::Quanta => format!(", {:.1} % of its numbers differ", 100.0 * own_errors.off),
                Unit::Spreads => String::new(),
            };
            format!(
                "{node}: given the other side's inputs it is off by {own}{off}{}; in all by {total}",
                clipped(&own_errors)
            )
        }
        Finding::Inherited => {
            format!("{node}: off by {total}, of which {own} are its own: rounding of many nodes has come together")
        }
        Finding::Unknown => format!("{node}: off by {total}; what it does by itself could not be told"),
        Finding::Fused => format!("{node}: the answers part only where no value on the way is asked for"),
        Finding::Equal | Finding::Rounding => node,
    }
}

impl fmt::Display for Bisection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "A: {}\nB: {}", self.a, self.b)?;
        let counted = |count: usize| if count == 1 { "1 image".to_owned() } else { format!("{count} images") };
        let [a, b] = self.unmatched;
        writeln!(
            f,
            "{}, {} values by name; without a counterpart: {a} of A, {b} of B\n",
            counted(self.images),
            self.values.len()
        )?;
        self.table(f)?;
        if let Some(answers) = &self.unwatched {
            let unit = self.values.last().map_or(Unit::Spreads, |row| row.unit);
            writeln!(
                f,
                "\nanswers, no value on the way being asked for: apart by {} at most",
                amount(answers.max, unit)
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        match &self.first {
            None if self.values.is_empty() => {
                write!(f, "\nnothing to compare: no value of A has the name of one of B")
            }
            None if self.quantised() => write!(
                f,
                "\nthey agree as far as their bytes go: no node by itself costs more than {QUANTISING} spreads (20 dB)"
            ),
            None => write!(f, "\nthey agree throughout, to rounding ({FLOATS:.0e} spreads a node; ties of bytes)"),
            Some(found) => {
                let row =
                    self.values.iter().find(|row| row.value == found.value || row.other.as_ref() == Some(&found.value));
                write!(f, "\nthey part first at {}", sentence(found, row))?;
                found
                    .differences
                    .iter()
                    .try_for_each(|difference| write!(f, "\n  the files differ there: {difference}"))?;
                let guilty = |row: &&Compared| matches!(row.finding, Finding::Own | Finding::Unknown);
                let others = self.values.iter().filter(guilty).filter(|row| row.node != found.node);
                let others: Vec<String> = others.map(|row| format!("`{}`", row.node)).take(8).collect();
                if !others.is_empty() {
                    write!(f, "\nwith errors of their own, too: {}", others.join(", "))?;
                }
                match &self.repro {
                    Some(folder) => write!(f, "\nthe smallest file that shows it: {}", folder.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Bisection {
    /// Whether one side quantises what the other does not, or otherwise.
    fn quantised(&self) -> bool {
        self.values.iter().any(|row| row.quantising)
    }

    /// In the order of the file; where one side is quantised, by what each node costs by itself.
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<&Compared> = self.values.iter().collect();
        let sorted = self.quantised();
        if sorted {
            let cost = |row: &Compared| row.own.map_or(row.total.rms, |own| own.rms);
            rows.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
        }
        let header = ["value", "operation", "total", "rms", "own", "rms", "", "finding"].map(str::to_owned);
        let cells = |row: &&Compared| {
            let own = row.own.map(|own| [number(own.max), number(own.rms)]).unwrap_or(["?".to_owned(), "?".to_owned()]);
            let [own, own_rms] = own;
            let unit = match row.unit {
                Unit::Spreads => "spreads",
                Unit::Quanta => "quanta",
            };
            let total = [number(row.total.max), number(row.total.rms)];
            let [total, total_rms] = total;
            [
                row.value.clone(),
                row.op.clone(),
                total,
                total_rms,
                own,
                own_rms,
                unit.to_owned(),
                row.finding.name().to_owned(),
            ]
        };
        let shown: Vec<[String; 8]> = std::iter::once(header).chain(rows.iter().take(ROWS).map(cells)).collect();
        let width = |column: usize| shown.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        for row in &shown {
            let padded = row.iter().enumerate().map(|(at, cell)| match at {
                0 | 1 | 6 | 7 => format!("{cell:<w$}", w = width(at)),
                _ => format!("{cell:>w$}", w = width(at)),
            });
            writeln!(f, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        if rows.len() > ROWS {
            writeln!(f, "… and {} more (--json has all)", rows.len() - ROWS)?;
        }
        Ok(())
    }
}
