//! `metrics.csv`: one row an epoch, the columns of the losses in the recipe's order.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::{files, write};

/// The numbers of one epoch; accuracies in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Row {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Steps of the run so far.
    pub step: usize,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Mean over the epoch's images of the weighted total loss.
    pub train_loss: f64,
    /// Accuracy on the (augmented) training images while they were learned from.
    pub train_top1: f64,
    /// Mean cross-entropy on the validation split, of the averaged weights where an average is kept.
    pub val_loss: Option<f64>,
    /// Accuracy on the validation split, of the same weights.
    pub val_top1: Option<f64>,
    /// Seconds that the epoch took, evaluation included.
    pub seconds: f64,
    /// Mean of each loss, unweighted, over the images for which it was active.
    pub losses: BTreeMap<String, Option<f64>>,
    /// Weight of each loss at the epoch's last step.
    pub weights: BTreeMap<String, f64>,
}

/// The columns before those of the losses.
const PLAIN: [&str; 8] = ["epoch", "step", "lr", "train_loss", "train_top1", "val_loss", "val_top1", "seconds"];
const LOSS: &str = "loss.";
const WEIGHT: &str = "weight.";

impl Row {
    /// The row as CSV, the losses in the recipe's order. Floats are written so that reading gives the same bits, seconds to
    /// the thousandth; what was not measured is empty.
    pub fn to_csv(&self, losses: &[String]) -> String {
        let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
        let mut cells = vec![
            self.epoch.to_string(),
            self.step.to_string(),
            self.lr.to_string(),
            self.train_loss.to_string(),
            self.train_top1.to_string(),
            number(self.val_loss),
            number(self.val_top1),
            format!("{:.3}", self.seconds),
        ];
        cells.extend(losses.iter().map(|name| number(self.losses.get(name).copied().flatten())));
        cells.extend(losses.iter().map(|name| number(self.weights.get(name).copied())));
        cells.join(",")
    }

    fn from_csv(line: &str, losses: &[String]) -> Result<Self, String> {
        let cells: Vec<&str> = line.split(',').collect();
        let expected = PLAIN.len() + 2 * losses.len();
        if cells.len() != expected {
            return Err(format!("{} cells, expected {expected}", cells.len()));
        }
        let (of_losses, of_weights) = cells[PLAIN.len()..].split_at(losses.len());
        let loss = |(name, cell): (&String, &&str)| Ok((name.clone(), measured(&format!("{LOSS}{name}"), cell)?));
        let weight = |(name, cell): (&String, &&str)| {
            Ok(measured(&format!("{WEIGHT}{name}"), cell)?.map(|weight| (name.clone(), weight)))
        };
        Ok(Self {
            epoch: number(PLAIN[0], cells[0])?,
            step: number(PLAIN[1], cells[1])?,
            lr: number(PLAIN[2], cells[2])?,
            train_loss: number(PLAIN[3], cells[3])?,
            train_top1: number(PLAIN[4], cells[4])?,
            val_loss: measured(PLAIN[5], cells[5])?,
            val_top1: measured(PLAIN[6], cells[6])?,
            seconds: number(PLAIN[7], cells[7])?,
            losses: losses.iter().zip(of_losses).map(loss).collect::<Result<_, String>>()?,
            weights: losses
                .iter()
                .zip(of_weights)
                .filter_map(|pair| weight(pair).transpose())
                .collect::<Result<_, String>>()?,
        })
    }

    /// The number in a column of the file; `None` where there is no such column or nothing was measured.
    pub fn value(&self, column: &str) -> Option<f64> {
        match column {
            "epoch" => Some(self.epoch as f64),
            "step" => Some(self.step as f64),
            "lr" => Some(self.lr),
            "train_loss" => Some(self.train_loss),
            "train_top1" => Some(self.train_top1),
            "val_loss" => self.val_loss,
            "val_top1" => self.val_top1,
            "seconds" => Some(self.seconds),
            other => match (other.strip_prefix(LOSS), other.strip_prefix(WEIGHT)) {
                (Some(loss), _) => self.losses.get(loss).copied().flatten(),
                (_, Some(loss)) => self.weights.get(loss).copied(),
                _ => None,
            },
        }
    }
}

fn number<T: FromStr>(column: &str, cell: &str) -> Result<T, String> {
    cell.parse().map_err(|_| format!("`{column}` is `{cell}`, expected a number"))
}

fn measured(column: &str, cell: &str) -> Result<Option<f64>, String> {
    if cell.is_empty() { Ok(None) } else { number(column, cell).map(Some) }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// Names of the losses in the recipe's order.
    pub losses: Vec<String>,
    /// One an epoch.
    pub rows: Vec<Row>,
}

impl Metrics {
    /// The header of a file with these losses.
    pub fn header(losses: &[String]) -> String {
        let mut columns: Vec<String> = PLAIN.map(str::to_owned).into();
        columns.extend(losses.iter().map(|name| format!("{LOSS}{name}")));
        columns.extend(losses.iter().map(|name| format!("{WEIGHT}{name}")));
        columns.join(",")
    }

    /// Reads a `metrics.csv`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] with the line and the cell that is not what it should be.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path, files::MOST_BINARY);
        let text = text.map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|problem| Error::Format { path: path.to_owned(), problem })
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// In words for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let header = lines.next().ok_or("an empty file, expected a header")?;
        let losses: Vec<String> =
            header.split(',').filter_map(|name| name.strip_prefix(LOSS)).map(str::to_owned).collect();
        let expected = Self::header(&losses);
        if header != expected {
            return Err(format!("the header is `{header}`, expected `{expected}`"));
        }
        let row = |(at, line)| Row::from_csv(line, &losses).map_err(|problem| format!("line {}: {problem}", at + 2));
        let rows = lines.enumerate().map(row).collect::<Result<_, String>>()?;
        Ok(Self { losses, rows })
    }

    /// Writes the whole file, atomically; rows are few. They come as [`Row::to_csv`] made them, which is how a checkpoint
    /// keeps them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(path: &Path, losses: &[String], rows: &[String]) -> Result<()> {
        let header = Self::header(losses);
        let lines: Vec<&str> = std::iter::once(&header).chain(rows).map(String::as_str).collect();
        write::bytes(path, (lines.join("\n") + "\n").as_bytes())
    }

    /// `(epoch, value)` of one column, without the epochs for which nothing was measured; empty when there is no such column.
    pub fn over_epochs(&self, column: &str) -> Vec<(f64, f64)> {
        self.rows.iter().filter_map(|row| Some((row.epoch as f64, row.value(column)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        let row = Row {
            epoch: 1,
            step: 10,
            lr: 0.1,
            train_loss: 2.0,
            train_top1: 50.0,
            val_loss: None,
            val_top1: Some(1.0 / 3.0),
            seconds: 1.0,
            losses: BTreeMap::from([("ce".to_owned(), Some(2.0)), ("cd".to_owned(), None)]),
            weights: BTreeMap::from([("ce".to_owned(), 1.0), ("cd".to_owned(), 0.0)]),
        };
        let next = Row { epoch: 2, val_loss: Some(f64::NAN), ..row.clone() };
        Metrics { losses: ["ce", "cd"].map(str::to_owned).into(), rows: vec![row, next] }
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut written = metrics();
        written.rows.truncate(1);
        let rows: Vec<String> = written.rows.iter().map(|row| row.to_csv(&written.losses)).collect();
        Metrics::write(&path, &written.losses, &rows).unwrap();
        assert_eq!(Metrics::read(&path).unwrap(), written);
        let text = std::fs::read_to_string(&path).unwrap();
        let header =
            "epoch,step,lr,train_loss,train_top1,val_loss,val_top1,seconds,loss.ce,loss.cd,weight.ce,weight.cd";
        assert_eq!(text, format!("{header}\n1,10,0.1,2,50,,0.3333333333333333,1.000,2,,1,0\n"));
    }

    #[test]
    fn a_column_is_asked_for_by_name_and_leaves_out_what_was_not_measured() {
        let metrics = metrics();
        assert_eq!(metrics.over_epochs("weight.ce"), [(1.0, 1.0), (2.0, 1.0)]);
        assert_eq!(metrics.over_epochs("val_loss").len(), 1);
        assert!(metrics.over_epochs("loss.cd").is_empty() && metrics.over_epochs("nothing").is_empty());
    }

    #[test]
    fn a_broken_cell_or_row_is_named() {
        let text = Metrics::header(&["ce".to_owned()]);
        let problem = |row: &str| Metrics::parse(&format!("{text}\n1,2,3,4,5,,,6,7,8\n{row}\n")).unwrap_err();
        assert_eq!(problem("1"), "line 3: 1 cells, expected 10");
        assert_eq!(problem("2,2,3,x,5,,,6,7,8"), "line 3: `train_loss` is `x`, expected a number");
        assert_eq!(problem("2,2,3,,5,,,6,7,8"), "line 3: `train_loss` is ``, expected a number");
        assert_eq!(problem("2,2,3,4,5,,,6,7,nil"), "line 3: `weight.ce` is `nil`, expected a number");
        assert!(
            Metrics::parse("epoch,loss\n").unwrap_err().contains("the header is `epoch,loss`, expected `epoch,step")
        );
    }
}
