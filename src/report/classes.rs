//! Every class of the test images in one table: how many there are, how many are decided right, and what they are taken for.

use std::collections::BTreeMap;

use attar_infer::bundle::{Predictions, Split};
use attar_infer::report::html;
use maud::{Markup, html};

/// One class.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    images: usize,
    right: usize,
    /// The class that it is most often taken for, and how often; the first of equal ones.
    taken_for: Option<(usize, usize)>,
}

/// A section with all classes, the least accurate first and those without test images last; empty where there is no test image.
pub(super) fn section(predictions: &Predictions, labels: &[String]) -> Markup {
    let tests = predictions.split.iter().zip(&predictions.label).zip(&predictions.top1);
    let pairs = tests.filter(|((split, _), _)| **split == Split::Test);
    let rows = count(pairs.map(|((_, label), decision)| (*label as usize, *decision as usize)), labels.len());
    if rows.iter().all(|row| row.images == 0) {
        return html! {};
    }
    let cells: Vec<Vec<String>> = sorted(rows).iter().map(|(class, row)| cells(*class, row, labels)).collect();
    let head = ["class", "test images", "accuracy", "most often taken for"];
    html! {
        h2 { "Every class (test images, exported weights)" }
        (html::soft("The least accurate first."))
        (html::table(&head, &cells))
    }
}

fn count(pairs: impl Iterator<Item = (usize, usize)>, classes: usize) -> Vec<Row> {
    let mut taken: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); classes];
    for (label, decision) in pairs.filter(|(label, _)| *label < classes) {
        *taken[label].entry(decision).or_default() += 1;
    }
    let row = |(class, taken): (usize, BTreeMap<usize, usize>)| {
        let wrong = taken.iter().filter(|(decision, _)| **decision != class);
        Row {
            images: taken.values().sum(),
            right: taken.get(&class).copied().unwrap_or(0),
            taken_for: wrong.map(|(decision, n)| (*decision, *n)).rev().max_by_key(|(_, n)| *n),
        }
    };
    taken.into_iter().enumerate().map(row).collect()
}

fn sorted(rows: Vec<Row>) -> Vec<(usize, Row)> {
    let mut rows: Vec<(usize, Row)> = rows.into_iter().enumerate().collect();
    // Fractions are compared crosswise, so that equal ones are equal.
    rows.sort_by(|(_, a), (_, b)| {
        let empty = (a.images == 0).cmp(&(b.images == 0));
        empty.then((a.right * b.images).cmp(&(b.right * a.images)))
    });
    rows
}

fn cells(class: usize, row: &Row, labels: &[String]) -> Vec<String> {
    let name = |class: usize| labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
    let percent = |n: usize| format!("{:.2} %", 100.0 * n as f64 / row.images as f64);
    let accuracy = if row.images == 0 { "-".to_owned() } else { percent(row.right) };
    let taken_for = row.taken_for.map_or_else(
        || "-".to_owned(),
        |(other, n)| format!("{} ({n} of {}, {})", name(other), row.images, percent(n)),
    );
    vec![name(class), row.images.to_string(), accuracy, taken_for]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_accuracy_and_its_commonest_mistake() {
        let pairs = [(0, 0), (0, 1), (0, 2), (0, 2), (1, 1), (1, 0), (1, 2), (3, 3), (9, 0)];
        let rows = count(pairs.into_iter(), 4);
        assert_eq!(rows[0], Row { images: 4, right: 1, taken_for: Some((2, 2)) });
        assert_eq!(rows[1].taken_for, Some((0, 1)), "the first of equal ones");
        assert_eq!((rows[2].images, rows[3].taken_for), (0, None));
        let order: Vec<usize> = sorted(rows.clone()).into_iter().map(|(class, _)| class).collect();
        assert_eq!(order, [0, 1, 3, 2]);
        let labels = ["cat", "dog", "owl", "yak"].map(str::to_owned);
        assert_eq!(cells(0, &rows[0], &labels), ["cat", "4", "25.00 %", "owl (2 of 4, 50.00 %)"]);
        assert_eq!(cells(2, &rows[2], &labels), ["owl", "0", "-", "-"]);
    }
}
