//! Reads `metrics.csv`, the numbers of every epoch: a header of plain names, then one row of numbers an epoch.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use attar_formats::files;

/// The table of a run, column by column.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    names: Vec<String>,
    rows: Vec<Vec<f64>>,
}

impl Metrics {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or a row is cut short.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path, files::MOST_BINARY).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let header = lines.next().context("an empty file, expected a header")?;
        let names: Vec<String> = header.split(',').map(str::to_owned).collect();
        let mut rows = Vec::new();
        for (at, line) in lines.enumerate() {
            let row: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap_or(f64::NAN)).collect();
            ensure!(row.len() == names.len(), "line {} has {} cells, expected {}", at + 2, row.len(), names.len());
            rows.push(row);
        }
        Ok(Self { names, rows })
    }

    /// The names that start with `prefix`, in file order, without it.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.names.iter().filter_map(move |name| name.strip_prefix(prefix))
    }

    /// `(epoch, value)` of one column; empty when there is no such column.
    pub fn over_epochs(&self, name: &str) -> Vec<(f64, f64)> {
        let find = |name: &str| self.names.iter().position(|n| n == name);
        let (Some(epoch), Some(column)) = (find("epoch"), find(name)) else { return Vec::new() };
        self.rows.iter().map(|row| (row[epoch], row[column])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_by_name_and_a_missing_cell_is_not_a_number() {
        let metrics = Metrics::parse("epoch,loss,weight.ce\n1,2.5,0\n2,,1\n").unwrap();
        assert_eq!(metrics.over_epochs("weight.ce"), [(1.0, 0.0), (2.0, 1.0)]);
        assert!(metrics.over_epochs("loss")[1].1.is_nan());
        assert_eq!(metrics.under("weight.").collect::<Vec<_>>(), ["ce"]);
        assert!(metrics.over_epochs("nothing").is_empty());
    }

    #[test]
    fn a_row_that_was_cut_short_is_named() {
        let message = format!("{:#}", Metrics::parse("epoch,loss\n1").unwrap_err());
        assert_eq!(message, "line 2 has 1 cells, expected 2");
    }
}
