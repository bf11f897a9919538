//! The confusion matrix of the exported weights on the test split, as a coloured table.

use attar_infer::bundle::{Predictions, Split};
use maud::{Markup, html};

/// More classes than this make a matrix that nobody can read.
const MOST_CLASSES: usize = 20;

/// Rows are labels, columns decisions; nothing when there are too many classes or no test images.
pub(super) fn table(predictions: &Predictions, labels: &[String]) -> Markup {
    let counts = count(predictions, labels.len());
    if labels.len() > MOST_CLASSES || counts.iter().flatten().all(|n| *n == 0) {
        return html! {};
    }
    html! {
        h2 { "Who is taken for whom (test images)" }
        div class="scroll" {
            table class="confusion" {
                tr { th { "label ↓ decision →" } @for label in labels { th { span { (label) } } } }
                @for (label, row) in labels.iter().zip(&counts) {
                    tr {
                        th { (label) }
                        @for (at, n) in row.iter().enumerate() {
                            td style=(shade(*n, row.iter().sum(), labels.get(at) == Some(label))) { (n) }
                        }
                    }
                }
            }
        }
    }
}

/// The colour behind a cell: blue of right decisions, red of wrong ones, by their share.
fn shade(n: usize, total: usize, right: bool) -> String {
    let share = n as f64 / total.max(1) as f64;
    let (colour, alpha) = match right {
        true => ("37,99,235", share * 0.6),
        false => ("220,38,38", (share * 4.0).min(0.7)),
    };
    format!("background:rgba({colour},{alpha:.2})")
}

fn count(predictions: &Predictions, classes: usize) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0; classes]; classes];
    for (at, split) in predictions.split.iter().enumerate() {
        let (label, decision) = (predictions.label[at] as usize, predictions.top1[at] as usize);
        if *split == Split::Test && label < classes && decision < classes {
            counts[label][decision] += 1;
        }
    }
    counts
}

/// Styles of the matrix.
pub(super) const CSS: &str = "
.scroll{overflow-x:auto}.confusion td{text-align:right;min-width:2.2rem;font-variant-numeric:tabular-nums}
.confusion th{font-weight:500;font-size:.8rem;white-space:nowrap}.confusion tr:first-child th span{writing-mode:vertical-rl;transform:rotate(180deg)}
";
