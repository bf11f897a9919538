//! The confusion matrix of the exported weights on the test split, as a coloured table.

use std::fmt::Write as _;

use attar_infer::bundle::{Predictions, Split};
use attar_infer::report::html::escape;

/// More classes than this make a matrix that nobody can read.
const MOST_CLASSES: usize = 20;

/// Rows are labels, columns decisions; an empty string when there are too many classes or no test images.
pub(crate) fn table(predictions: &Predictions, labels: &[String]) -> String {
    let counts = count(predictions, labels.len());
    if labels.len() > MOST_CLASSES || counts.iter().flatten().all(|n| *n == 0) {
        return String::new();
    }
    let mut html = String::from(
        "<h2>Who is taken for whom (test images)</h2><div class=\"scroll\"><table class=\"confusion\"><tr><th>label ↓ decision →</th>",
    );
    labels.iter().for_each(|label| html.push_str(&format!("<th><span>{}</span></th>", escape(label))));
    html.push_str("</tr>");
    for (label, row) in labels.iter().zip(&counts) {
        let total: usize = row.iter().sum();
        let _ = write!(html, "<tr><th>{}</th>", escape(label));
        for (at, n) in row.iter().enumerate() {
            let share = *n as f64 / total.max(1) as f64;
            let right = labels.get(at) == Some(label);
            let colour = if right { "37,99,235" } else { "220,38,38" };
            let alpha = if right { share * 0.6 } else { (share * 4.0).min(0.7) };
            let _ = write!(html, "<td style=\"background:rgba({colour},{alpha:.2})\">{n}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</table></div>");
    html
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
pub(crate) const CSS: &str = "
.scroll{overflow-x:auto}.confusion td{text-align:right;min-width:2.2rem;font-variant-numeric:tabular-nums}
.confusion th{font-weight:500;font-size:.8rem;white-space:nowrap}.confusion tr:first-child th span{writing-mode:vertical-rl;transform:rotate(180deg)}
";
