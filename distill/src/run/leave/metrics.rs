//! `metrics.csv`: one row an epoch.

use std::collections::BTreeMap;
use std::path::Path;

use attar_formats::write;
use serde::Serialize;

use crate::error::Result;

/// The numbers of one epoch; accuracies in percent.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// The header for these losses.
pub(in crate::run) fn header(losses: &[String]) -> String {
    let mut columns: Vec<String> =
        ["epoch", "step", "lr", "train_loss", "train_top1", "val_loss", "val_top1", "seconds"]
            .map(str::to_owned)
            .into();
    columns.extend(losses.iter().map(|name| format!("loss.{name}")));
    columns.extend(losses.iter().map(|name| format!("weight.{name}")));
    columns.join(",")
}

impl Row {
    /// The row as CSV, the losses in the recipe's order. Floats are written so that reading gives the same bits; what
    /// was not measured is empty.
    pub(in crate::run) fn to_csv(&self, losses: &[String]) -> String {
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
}

/// Writes the whole file; rows are few.
pub(in crate::run) fn write(directory: &Path, losses: &[String], rows: &[String]) -> Result<()> {
    let mut text = header(losses);
    for row in rows {
        text.push('\n');
        text.push_str(row);
    }
    text.push('\n');
    Ok(write::bytes(&directory.join("metrics.csv"), text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_cell_for_every_column() {
        let names = ["ce".to_owned(), "cd".to_owned()];
        let row = Row {
            epoch: 1,
            step: 10,
            lr: 0.1,
            train_loss: 2.0,
            train_top1: 50.0,
            val_loss: None,
            val_top1: Some(40.0),
            seconds: 1.0,
            losses: BTreeMap::from([("ce".to_owned(), Some(2.0)), ("cd".to_owned(), None)]),
            weights: BTreeMap::from([("ce".to_owned(), 1.0), ("cd".to_owned(), 0.0)]),
        };
        assert_eq!(header(&names).split(',').count(), row.to_csv(&names).split(',').count());
        assert_eq!(row.to_csv(&names), "1,10,0.1,2,50,,40,1.000,2,,1,0");
    }
}
